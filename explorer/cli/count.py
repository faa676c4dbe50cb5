"""count: one row of counts for each target."""

import click

from explorer.analyses.ledger import Ledger, ledger_of
from explorer.analyses.widths import widths_of
from explorer.api.structure import explore
from explorer.cli.console import (
    complete_target,
    echo_result,
    format_option,
    leave_with,
    widths_options,
)
from explorer.document.records import Document
from explorer.errors import InputError

__all__ = ["count"]


@click.command()
@click.argument(
    "targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target
)
@widths_options
@format_option
def count(
    targets: tuple[str, ...], bits: float | None, dtype: str | None, form: str
) -> None:
    """Print one row of counts for each target, side by side.

    A target that cannot be read is one line on stderr; the others are printed, and the exit
    code is 2.

    \b
    Examples:
      explorer count model.safetensors
      explorer count a.gguf b/ c.pt
      explorer count llama-3.1-8b --bits 4
      explorer count model/ --format json
    """
    ledgers, errors = _ledgers(targets, widths_of(bits, dtype))
    if ledgers:
        _print(ledgers, form)
    if errors:
        leave_with(errors)


def _ledgers(
    targets: tuple[str, ...], widths: tuple[str, ...]
) -> tuple[list[Ledger], list[InputError]]:
    ledgers, errors = [], []
    for target in targets:
        try:
            ledgers.append(ledger_of(explore(target), widths))
        except InputError as error:
            errors.append(error)
    return ledgers, errors


def _print(ledgers: list[Ledger], form: str) -> None:
    def document() -> Document:
        from explorer.views.counts import counts_document

        return counts_document(ledgers)

    echo_result(form, document=document, records=lambda: ledgers)
