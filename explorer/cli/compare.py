"""compare: what differs between the structures of two targets."""

import click

from explorer.analyses.comparison import compare as compare_inventories
from explorer.api.structure import explore
from explorer.cli.console import (
    complete_target,
    echo_result,
    exit_code_option,
    format_option,
    path_type,
)
from explorer.document.records import Document, Paragraph

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
        from explorer.views.comparison import comparison_records, comparison_table

        changes = comparison_table(found, f"A: {a}, B: {b}")
        if found.identical:
            return changes
        from explorer.analyses.side_by_side import side_by_side
        from explorer.views.side_by_side import side_by_side_blocks

        blocks = side_by_side_blocks(side_by_side(old, new))
        counts, *table = changes.blocks
        if len(comparison_records(found)) > _MOST and not every and table:
            table = [Paragraph("Tensor by tensor: --all")]
        return Document(changes.title, (*blocks, counts, *table))

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
        }

    from explorer.views.comparison import CHANGE_FIELDS

    echo_result(form, document=document, records=records, value=value, fields=CHANGE_FIELDS)
    ctx.exit(1 if by_exit_code and not found.identical else 0)
