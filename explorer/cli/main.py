"""The `explorer` command: which module holds a command, and how each one ends.

Results go to stdout, errors to stderr. Exit 0: done; 1: the answer is "no"; 2: bad input.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, NoReturn

import click

from explorer.cli.terminating import Terminated, terminated_in_order
from explorer.errors import ExplorerError, MismatchError, printable

__all__ = ["cli", "main"]

# the module of each command, imported when it is needed; in the order of --help
_MODULES = {
    "explain": "explain",
    "show": "show",
    "browse": "browse",
    "count": "count",
    "plan": "plan",
    "devices": "devices",
    "stats": "stats",
    "report": "report",
    "compare": "compare",
    "diff": "diff",
    "digest": "digest",
    "spectrum": "spectrum",
    "prune": "prune",
    "catalog": "catalog",
    "roles": "roles",
    "convert": "convert",
    "quantize": "quantize",
    "merge": "merge",
    "lora": "lora",
    "train": "train",
    "generate": "generate",
    "lock": "lock",
    "check": "lock",
    "doctor": "doctor",
}


_ANYWHERE = ("--color", "--no-color", "--no-pager")  # of all commands: before one or behind

# of libraries that cannot be loaded, of threads, and of XLA, where memory has run out
_NO_ROOM = (
    "failed to map segment",
    "annot allocate memory",
    "can't start new thread",
    "RESOURCE_EXHAUSTED",
)


class _Explorer(click.Group):
    """The commands, in order; any error is one line on stderr and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        return getattr(import_module(f"explorer.cli.{_MODULES[cmd_name]}"), cmd_name)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _closed_pipe_is_the_end():
            return super().make_context(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        own = [word for word in args[:end] if word in _ANYWHERE]
        rest = [word for word in args[:end] if word not in _ANYWHERE]
        return super().parse_args(ctx, [*own, *rest, *args[end:]])

    def invoke(self, ctx: click.Context) -> Any:
        with _closed_pipe_is_the_end():
            return super().invoke(ctx)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name in _MODULES or name.startswith("-"):
            return super().resolve_command(ctx, args)
        import difflib  # seldom needed, and start-up is counted in milliseconds

        message = f"no such command {name!r}"
        if os.path.lexists(name) or ":" in name:
            message += f"; to see what is in it: explorer show {name}"
        elif near := difflib.get_close_matches(name, _MODULES):
            message += f"; did you mean {near[0]}?"
        raise click.UsageError(message, ctx)

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Run a command and exit."""
        if sys.stdout is None:
            _leave("explorer: standard output: is closed", 2)
        kwargs |= {"prog_name": "explorer", "standalone_mode": False}
        try:
            with terminated_in_order():
                sys.exit(super().main(*args, **kwargs) or 0)
        except MismatchError as error:
            _leave(str(error), 1)
        except ExplorerError as error:
            _leave(f"explorer: {error}", 2)
        except click.exceptions.NoArgsIsHelpError as error:
            _leave(error.format_message(), 2)
        except click.UsageError as error:
            _leave(_usage(error), 2)
        except (KeyboardInterrupt, click.Abort) as error:
            came = error.__cause__ or error  # click raises its own from what came
            _leave("explorer: stopped", 143 if isinstance(came, Terminated) else 130)
        except (MemoryError, RecursionError) as error:
            what = "memory" if isinstance(error, MemoryError) else "depth of calls"
            _leave(f"explorer: this needs more {what} than there is", 2)
        except (ImportError, RuntimeError) as error:
            if not any(words in str(error) for words in _NO_ROOM):
                raise
            _leave("explorer: this needs more memory than there is", 2)
        except OSError as error:  # from writing: readers raise explorer's own errors
            _drop_output()
            _leave(f"explorer: standard output: cannot be written: {error.strerror}", 2)


@contextmanager
def _closed_pipe_is_the_end() -> Iterator[None]:
    """Exit with 0 when the reader closed the pipe (`| head`); click would exit with 1."""
    try:
        yield
    except BrokenPipeError:
        _drop_output()
        raise click.exceptions.Exit(0) from None


def _drop_output() -> None:
    """Discard what could not be written, so that Python does not try again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: click.UsageError) -> str:
    """Return one line for a wrong command line: the command, the error, where to look."""
    command = error.ctx.command_path if error.ctx else "explorer"
    message = " ".join(error.format_message().split()).removesuffix(".")
    return f"{command}: {printable(message, 1000)}; see {command} --help"


def _leave(message: str, code: int) -> NoReturn:
    # where stderr is closed or full, only the exit code is left
    with suppress(OSError, AttributeError):
        sys.stderr.write(message.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.exit(code)


@click.group(
    name="explorer",
    cls=_Explorer,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="jax-explorer", prog_name="explorer")
@click.option("--no-pager", is_flag=True, help="Print long results as they are.")
@click.option(
    "--color/--no-color",
    default=None,
    help="Colours and bold text; by default in a terminal alone.",
)
@click.pass_context
def cli(ctx: click.Context, no_pager: bool, color: bool | None) -> None:
    """What is in this model? Tensors, parameters, weights and biases, counted right.

    A TARGET is a checkpoint file or folder (safetensors, GGUF, PyTorch, Orbax, Flax
    msgpack, npy, npz), a name of `explorer catalog` or a config.json, or
    package.module:attribute for a model in Python code.

    \b
    Examples:
      explorer explain bias
      explorer show model.safetensors
      explorer browse llama-3.1-8b
      explorer count model-a/ model-b.gguf llama-2-70b
      explorer plan llama-3.1-8b --quantize Q4_K_M --device rtx-4090
      explorer diff model/ model.gguf
      explorer report model/ -o model.html
      explorer roles deepseek-v3
      explorer generate model.gguf "The capital of France is"
      explorer lock model/ > params.lock
      explorer check model/ params.lock
      explorer show my_package.models:make_model

    Shell completion: eval "$(_EXPLORER_COMPLETE=bash_source explorer)", or zsh, fish.
    """
    if ctx.invoked_subcommand is None:
        from explorer.cli.console import echo_document
        from explorer.cli.questions import questions_document

        echo_document(questions_document())


def main() -> NoReturn:
    """Run the command line of this process."""
    cli.main()
