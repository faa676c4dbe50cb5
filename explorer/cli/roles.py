"""roles: what each parameter of a model does in its forward pass."""

import click
import msgspec

from explorer.api import report_roles
from explorer.cli.console import (
    echo_document,
    echo_json,
    echo_records,
    format_option,
    target_argument,
)

__all__ = ["roles"]


@click.command()
@target_argument
@click.option("--length", type=click.IntRange(1), help="Tokens of the sequence.")
@format_option
def roles(target: str, length: int | None, form: str) -> None:
    """Print what each parameter does in a forward pass, and its FLOPs.

    \b
    Examples:
      explorer roles deepseek-v3
      explorer roles path/to/config.json --length 1024
      explorer roles my_package.models:make_model
    """
    report = report_roles(target, length=length)
    if form == "text":
        from explorer.views.roles import roles_document

        echo_document(roles_document(report))
    elif form == "json":
        fields = msgspec.structs.asdict(report)
        echo_json({**fields, "disagreements": list(map(str, report.disagreements))})
    else:
        echo_records([msgspec.structs.asdict(row) for row in report.rows], form)
