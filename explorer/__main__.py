"""`python -m explorer`, and the entry point of the `explorer` command."""

import gc
import sys


def main() -> None:
    """Run the command; Ctrl-C during its imports exits without a traceback, as later."""
    # imported modules stay: collecting among their objects takes 5% of a short command
    gc.set_threshold(200_000)
    try:
        from explorer.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        run()
    finally:
        # the process ends: to look for cycles among all that was imported would take 15%
        gc.freeze()


if __name__ == "__main__":
    main()
