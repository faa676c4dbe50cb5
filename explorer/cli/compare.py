"""compare: what differs between the structures of two targets."""

import click

from explorer.api.structure import compare as compare_targets
from explorer.cli.console import complete_target, echo_result, format_option, path_type
from explorer.document.records import Document

__all__ = ["compare"]


@click.command()
@click.argument("a", type=path_type, shell_complete=complete_target)
@click.argument("b", type=path_type, shell_complete=complete_target)
@format_option
@click.pass_context
def compare(ctx: click.Context, a: str, b: str, form: str) -> None:
    """Print how the structure of B differs from that of A; exit 1 if it does.

    Paths, shapes and dtypes, never values: those are compared by `explorer diff`.

    \b
    Examples:
      explorer compare gpt2 gpt2-medium
      explorer compare old/ new/ --format json
    """
    found = compare_targets(a, b)

    def document() -> Document:
        from explorer.views.comparison import comparison_table

        return comparison_table(found, f"{a} -> {b}")

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

    echo_result(form, document=document, records=records, value=value)
    ctx.exit(0 if found.identical else 1)
