"""roles: what each parameter of a model does in its forward pass."""

from typing import Any

import click
import msgspec

from explorer.api.models import report_roles
from explorer.cli.console import echo_result, format_option, target_argument
from explorer.document.records import Document

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

    def document() -> Document:
        from explorer.views.roles import roles_document

        return roles_document(report)

    def value() -> dict[str, Any]:
        fields = msgspec.structs.asdict(report)
        return {**fields, "disagreements": list(map(str, report.disagreements))}

    echo_result(form, document=document, records=lambda: report.rows, value=value)
