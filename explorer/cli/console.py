"""What every command shares: its arguments, and how its results are printed."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn

import click
import msgspec

from explorer.document.layout import PLAIN, TERMINAL, Style
from explorer.document.records import Document
from explorer.errors import InputError

__all__ = [
    "complete_target",
    "echo",
    "echo_document",
    "echo_part",
    "echo_result",
    "evaluate_options",
    "exit_code_option",
    "format_option",
    "leave_with",
    "path_type",
    "style",
    "target_argument",
    "width",
    "widths_options",
]

_WIDTHS = (60, 250)

# completed as a path by the shell; its reader decides whether it can be read
path_type = click.Path(readable=False)


def complete_target(ctx: click.Context, option: click.Parameter, incomplete: str) -> list:
    """Return what the shell completes a target with; loaded when it asks."""
    from explorer.cli.completion import targets

    return targets(incomplete)


target_argument = click.argument("target", type=path_type, shell_complete=complete_target)


def format_option(function: Callable) -> Callable:
    """Add --format to a command that prints records, and words for what is printed as text.

    `--md` and `--csv` print the tables of the text; `--format md` and `csv` every record.
    """

    @wraps(function)
    def with_form(*args: Any, form: str, table: str | None, **kwargs: Any) -> Any:
        return function(*args, form=table or form, **kwargs)

    options = (
        click.option(
            "--format",
            "form",
            type=click.Choice(["text", "json", "csv", "md"]),
            default="text",
            show_default=True,
            help="How to print.",
        ),
        click.option(
            "--md", "table", flag_value=_MD, help="The text's tables as Markdown."
        ),
        click.option("--csv", "table", flag_value=_CSV, help="The text's tables as CSV."),
        click.option("--json", "table", flag_value="json", help="As --format json."),
    )
    for option in reversed(options):
        with_form = option(with_form)
    return with_form


_MD, _CSV = "md of the text", "csv of the text"


def evaluate_options(function: Callable) -> Callable:
    """Add --evaluate TEXT to a command that changes a model, with how much of it is used."""
    for option in (
        click.option(
            "--eval-sequences", default=8, show_default=True, help="Of that text."
        ),
        click.option(
            "--eval-length", default=256, show_default=True, help="Tokens of each sequence."
        ),
        click.option(
            "--evaluate",
            metavar="TEXT.txt",
            type=path_type,
            help="Text on which the loss is measured before and after.",
        ),
    ):
        function = option(function)
    return function


def exit_code_option(default: bool) -> Callable[[Callable], Callable]:
    """Return what adds --exit-code, "exit 1 if they differ", to a command that compares."""
    return click.option(
        "--exit-code/--no-exit-code",
        "by_exit_code",
        default=default,
        show_default=True,
        help="Whether to exit 1 if they differ.",
    )


def widths_options(function: Callable) -> Callable:
    """Add --bits and --dtype, what "in memory" is printed for, to a command."""
    bits = click.option("--bits", type=float, help="Print memory at so many bits alone.")
    dtype = click.option(
        "--dtype", help="Print memory in this dtype alone: bfloat16, int4."
    )
    return bits(dtype(function))


def width() -> int:
    """Return the width of a line: COLUMNS, or the terminal's, within 60 to 250."""
    try:
        cells = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        try:
            cells = os.get_terminal_size(sys.stdout.fileno()).columns
        except OSError:  # not a terminal
            cells = 100
    return max(_WIDTHS[0], min(cells, _WIDTHS[1]))


def _most() -> int | None:
    """Return the cells to which a table may grow: in a pipe or a file, where no line breaks."""
    if "COLUMNS" in os.environ or sys.stdout.isatty():
        return None
    return _WIDTHS[1]


def style() -> Style:
    """Return a terminal's escape sequences; none for a pipe or a dumb TERM, unless asked for.

    --color and --no-color decide; then NO_COLOR, FORCE_COLOR or CLICOLOR_FORCE, and CLICOLOR.
    """
    wanted = _of_root("color")
    if wanted is None:
        wanted = _by_environment()
    if wanted is None:
        wanted = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return TERMINAL if wanted else PLAIN


def _by_environment() -> bool | None:
    """Return what variables say of colours, which are conventions of many programs."""
    said = os.environ.get
    if said("NO_COLOR"):  # no-color.org: whatever it is
        return False
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if value := said(name):
            return value.casefold() not in ("0", "false")
    return False if said("CLICOLOR") == "0" else None


def _of_root(option: str) -> Any:
    """Return an option of `explorer` itself; None outside a command."""
    context = click.get_current_context(True)
    return None if context is None else context.find_root().params.get(option)


def echo(text: str) -> None:
    """Print text as UTF-8 in every locale; characters that UTF-8 lacks are escaped."""
    data = (text + "\n").encode("utf-8", "backslashreplace")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def echo_part(text: str) -> None:
    """Print a part of a line at once, as `echo` does."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()


def leave_with(errors: Sequence[InputError]) -> NoReturn:
    """Write one line on stderr for each target that could not be read; raise the last."""
    *others, last = errors
    for error in others:
        click.echo(f"explorer: {error}", err=True)
    raise last


def echo_document(document: Document) -> None:
    """Print a document as text that fits the terminal; a longer one than that, in a pager."""
    from explorer.document.text import text_of

    text = text_of(document, width(), style(), _most())
    if _is_paged(text):
        # colours as they are; what fits after all is left on the screen
        os.environ.setdefault("LESS", "-FRX")
        click.echo_via_pager(text + "\n")
    else:
        echo(text)


def _is_paged(text: str) -> bool:
    """Return whether a text is longer than the terminal, and no option or variable refuses
    a pager: --no-pager; PAGER empty or "cat"."""
    unwanted = os.environ.get("PAGER", "less") in ("", "cat")
    if _of_root("no_pager") or unwanted or not (sys.stdout.isatty() and sys.stdin.isatty()):
        return False
    lines = os.get_terminal_size(sys.stdout.fileno()).lines
    return 0 < lines < text.count("\n") + 2  # 0: not known


def echo_result(
    form: str,
    *,
    document: Callable[[], Document],
    records: Callable[[], Sequence[Any]],
    value: Callable[[], Any] | None = None,
    markdown: Callable[[], Document] | None = None,
    fields: Sequence[str] = (),
) -> None:
    """Print a result in a form of --format; only what that form needs is made.

    Args:
        form: what `format_option` gives.
        document: makes what is shown as text, with units and rounded for reading.
        records: make the rows of CSV and Markdown: structs or dicts of equal fields, exact.
        value: makes what JSON holds, where that is more than the records.
        markdown: makes what Markdown holds, where that is not a table of the records.
        fields: the header of CSV and Markdown where there is no record.
    """
    from explorer.views.exports import json_text, records_document

    if form == "text":
        echo_document(document())
    elif form == _MD:
        from explorer.document.markdown import markdown_of

        echo(markdown_of((markdown or document)()))
    elif form == _CSV:
        from explorer.document.csv import csv_of

        made = csv_of((markdown or document)())  # without a table, the records
        echo(made or csv_of(records_document([*map(_fields, records())], fields)))
    elif form == "json":
        echo(json_text((value or records)()))
    elif form == "csv":
        from explorer.document.csv import csv_of

        echo(csv_of(records_document([*map(_fields, records())], fields)))
    else:
        from explorer.document.markdown import markdown_of

        table = markdown or (lambda: records_document([*map(_fields, records())], fields))
        echo(markdown_of(table()))


def _fields(record: Any) -> dict[str, Any]:
    """Return a record, a struct or a dict already, as a dict."""
    return record if isinstance(record, dict) else msgspec.structs.asdict(record)
