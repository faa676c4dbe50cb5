"""The `explorer` command, and the way out on an error.

Results go to stdout, warnings to stderr. Exit 0: done; 1: the answer is "no"; 2: bad input.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, NoReturn

import click

from explorer.cli.commands import COMMANDS
from explorer.errors import ExplorerError, MismatchError

__all__ = ["cli", "main"]


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Stop quietly when nobody reads on (`| head`); click would say 1, which is a "no"."""
    try:
        yield
    except BrokenPipeError:
        _drop_output()
        raise click.exceptions.Exit(0) from None


def _drop_output() -> None:
    """See to it that what could not be written is not tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# the order in which a newcomer meets them
_ORDER = ("show", "count", "catalog", "roles", "train", "lock", "check")
# what others need not load
_APART = {"catalog": "explorer.cli.catalog", "train": "explorer.cli.train"}


class _Group(click.Group):
    """Commands in order, some loaded when they are asked for, with near misses named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_ORDER)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _APART:
            return getattr(import_module(_APART[cmd_name]), cmd_name)
        return super().get_command(ctx, cmd_name)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _reader_may_leave():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_may_leave():
            return super().invoke(ctx)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if args and (os.path.lexists(args[0]) or ":" in args[0]):
                hint = f"{error.message} To see what is in it: explorer show {args[0]}"
                raise click.UsageError(hint, ctx) from None
            raise


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="jax-explorer", prog_name="explorer")
def cli() -> None:
    """What is in this model? Tensors, parameters, weights and biases, counted right.

    A TARGET is a checkpoint file or folder (safetensors, GGUF, PyTorch, Orbax, Flax
    msgpack, npy, npz), a name of `explorer catalog` or a config.json, or
    package.module:attribute for a model in Python code.

    \b
    Examples:
      explorer show model.safetensors
      explorer count model-a/ model-b.gguf llama-2-70b
      explorer roles deepseek-v3
      explorer lock model/ > params.lock
      explorer check model/ params.lock
      explorer show my_package.models:make_model

    Shell completion: eval "$(_EXPLORER_COMPLETE=bash_source explorer)", or zsh, fish.
    """


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the command; turn every error into one line on stderr and an exit code."""
    if sys.stdout is None:
        _leave("explorer: standard output: is closed", 2)
    try:
        sys.exit(cli(prog_name="explorer", standalone_mode=False) or 0)
    except MismatchError as error:
        _leave(str(error), 1)
    except ExplorerError as error:
        _leave(f"explorer: {error}", 2)
    except click.ClickException as error:
        if sys.stderr is not None:  # or it would be shown on stdout
            error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _leave("explorer: stopped", 130)
    except OSError as error:  # readers turn theirs into explorer's: this is of the output
        _drop_output()
        _leave(f"explorer: standard output: cannot be written: {error.strerror}", 2)


def _leave(message: str, code: int) -> NoReturn:
    # closed or full, there is nobody to tell: the code says enough
    with suppress(OSError, AttributeError):
        sys.stderr.write(message.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.exit(code)
