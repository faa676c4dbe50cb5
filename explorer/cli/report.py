"""report: one target, or two, as one HTML file that needs no network."""

import click

from explorer.api.reporting import report as report_of
from explorer.cli.console import complete_target, echo, path_type

__all__ = ["report"]


@click.command()
@click.argument("target", type=path_type, shell_complete=complete_target)
@click.argument("other", type=path_type, shell_complete=complete_target, required=False)
@click.option(
    "-o",
    "--out",
    "path",
    type=click.Path(),
    default="report.html",
    show_default=True,
    metavar="FILE.html",
    help="The file to write; nothing may be there.",
)
@click.option(
    "--values/--no-values",
    default=None,
    help="Whether the numbers are read and described.  [default: up to 1 GB of them]",
)
@click.option(
    "--roles", is_flag=True, help="Trace the model: roles by use, work by component."
)
def report(
    target: str, other: str | None, path: str, values: bool | None, roles: bool
) -> None:
    """Write one HTML file about a target, or about two and how they differ.

    A map of the parameters to zoom and search, every figure with how it is known, the tree,
    memory with sliders for bits, context, batch and device, and statistics of the values. It
    is at most 500 kB, and asks for nothing from any network: it can be sent to a colleague.

    \b
    Examples:
      explorer report llama-3.1-8b
      explorer report model.safetensors -o model.html
      explorer report gpt2 gpt2-medium -o two.html
      explorer report gpt-oss-20b --roles -o roles.html
    """
    report_of(target, other, path=path, values=values, roles=roles)
    echo(f"{path}: open it in a browser, or send it; it needs nothing else")
