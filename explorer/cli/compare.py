"""compare: what differs between the structures of two targets."""

import click
import msgspec

from explorer.analyses.comparison import compare as compare_inventories
from explorer.api.structure import explore
from explorer.cli.console import (
    complete_target,
    echo_result,
    exit_code_option,
    format_option,
    path_type,
)
from explorer.document.records import Document
from explorer.errors import printable

__all__ = ["compare"]

_MOST = 40  # differences that are listed below the tree


@click.command()
@click.argument("a", type=path_type, shell_complete=complete_target)
@click.argument("b", type=path_type, shell_complete=complete_target)
@exit_code_option(False)
@click.option("--all", "every", is_flag=True, help="Every difference, however many.")
@format_option
@click.pass_context
def compare(
    ctx: click.Context, a: str, b: str, by_exit_code: bool, every: bool, form: str
) -> None:
    """Print two models side by side and how the structure of B differs.

    The tree is folded as that of `show`; what is equal in both is not opened. Paths, shapes and dtypes, never values: those are compared by `explorer diff`. With --exit-code, exit 1 if they differ.

    \b
    Examples:
      explorer compare gpt2 gpt2-medium
      explorer compare old/ new/ --format json
      explorer compare old/ new/ --exit-code > changes.txt
    """
    old, new = explore(a), explore(b)
    found = compare_inventories(old, new)

    def document() -> Document:
        from explorer.views.comparison import compared_document

        return compared_document(
            found,
            f"A: {printable(a, 300)},\nB: {printable(b, 300)}",
            None if every else _MOST,
        )

    def records() -> list:
        from explorer.views.comparison import comparison_records

        return comparison_records(found)

    def value() -> dict:
        return {
            "a": a,
            "b": b,
            "identical": found.identical,
            "unchanged": found.unchanged,
            "changes": records(),
            "modules": msgspec.to_builtins(found.modules),
        }

    from explorer.views.comparison import CHANGE_FIELDS

    echo_result(form, document=document, records=records, value=value, fields=CHANGE_FIELDS)
    ctx.exit(1 if by_exit_code and not found.identical else 0)
