"""count: one row of counts for each target."""

import click
import msgspec

from explorer.analyses.ledger import ledger_of
from explorer.api import explore
from explorer.cli.console import (
    complete_target,
    echo_document,
    echo_json,
    echo_records,
    format_option,
)

__all__ = ["count"]


@click.command()
@click.argument(
    "targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_target
)
@format_option
def count(targets: tuple[str, ...], form: str) -> None:
    """Print one row of counts for each target, side by side.

    \b
    Examples:
      explorer count model.safetensors
      explorer count a.gguf b/ c.pt
      explorer count model/ --format json
    """
    ledgers = [ledger_of(explore(target)) for target in targets]
    if form == "text":
        from explorer.views.counts import counts_document

        echo_document(counts_document(ledgers))
    elif form == "json":
        echo_json(ledgers)
    else:
        echo_records([msgspec.structs.asdict(ledger) for ledger in ledgers], form)
