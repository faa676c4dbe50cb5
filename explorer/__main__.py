"""`python -m explorer`, and where the `explorer` command starts."""

import sys


def main() -> None:
    """Run the command; a Ctrl-C while it is still loading ends it as quietly as later."""
    try:
        from explorer.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
