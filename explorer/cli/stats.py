"""stats: what the numbers of a checkpoint look like."""

from typing import TYPE_CHECKING

import click

from explorer.api.values import check_values, describe
from explorer.cli.console import echo_result, format_option, path_type, target_argument
from explorer.cli.writing_progress import reading_bar
from explorer.document.records import Document

if TYPE_CHECKING:
    from explorer.values.describe import GroupBy
    from explorer.values.records import Description

__all__ = ["stats"]


@click.command()
@target_argument
@click.option(
    "--select", "glob", metavar="GLOB", help='Only these tensors: "**/attention/**".'
)
@click.option(
    "--all", "every", is_flag=True, help="Every tensor, equal layers not together."
)
@click.option(
    "--check", is_flag=True, help="Print what is wrong; exit with 1 if anything is."
)
@click.option(
    "--by",
    type=click.Choice(["name", "component", "role", "dtype"]),
    default="name",
    show_default=True,
    help="What the rows have in common; name: equal layers.",
)
@click.option(
    "--moments",
    is_flag=True,
    help="Leave out quantiles and magnitudes, which take most of the time.",
)
@click.option(
    "--lines",
    is_flag=True,
    help="Count zero, equal and outlying rows and columns too.",
)
@click.option(
    "--resume",
    metavar="FILE",
    type=path_type,
    help="Keep in FILE what was found; a pass that was killed goes on there.",
)
@click.option("--plot", "picture", metavar="FILE.png", help="Draw it: .png, .svg or .pdf.")
@format_option
def stats(
    target: str,
    glob: str | None,
    every: bool,
    check: bool,
    by: "GroupBy",
    moments: bool,
    lines: bool,
    resume: str | None,
    picture: str | None,
    form: str,
) -> None:
    """Print what the numbers of a target look like, tensor by tensor.

    \b
    Examples:
      explorer stats model.safetensors
      explorer stats model/ --select "**/attention/**"
      explorer stats model.gguf --format csv
      explorer stats model/ --by component --plot model.png
      explorer stats model/ --moments
      explorer stats model/ --resume model.pass
      explorer stats model/ --check
    """
    if check:
        if resume is not None:
            raise click.UsageError("--check takes no --resume: it looks at whole tensors")
        _check(target, glob, form)
        return
    if moments and picture is not None:
        raise click.UsageError("--plot draws magnitudes, which --moments leaves out")
    if moments and lines:
        raise click.UsageError("--lines and --moments exclude each other")
    with reading_bar() as progress:
        found = describe(
            target,
            glob,
            "moments" if moments else "lines" if lines else "all",
            by,
            resume=resume,
            progress=progress,
        )
    if picture is not None:
        from explorer.views.stats_plot import plot_stats

        plot_stats(found, picture)
    _print(found, form, every, by_name=by == "name")


def _print(found: "Description", form: str, every: bool, by_name: bool) -> None:
    def document(nest: bool = True) -> Document:
        from explorer.views.stats import stats_document

        return stats_document(found, every, nest)

    def records() -> list:
        from explorer.views.stats import group_records, stats_records

        return stats_records(found) if by_name else group_records(found)

    def value() -> dict:
        from explorer.views.stats import stats_records

        return {
            "target": found.target,
            "tensors": stats_records(found),
            "groups": found.groups,
            "totals": found.totals,
            "notes": found.notes,
        }

    echo_result(
        form,
        document=document,
        records=records,
        value=value,
        markdown=lambda: document(nest=False),
    )


def _check(target: str, glob: str | None, form: str) -> None:
    with reading_bar() as progress:
        found = check_values(target, glob, progress=progress)

    def document() -> Document:
        from explorer.views.stats import check_document

        return check_document(found)

    def records() -> list:
        from explorer.views.stats import finding_records

        return finding_records(found)

    echo_result(
        form, document=document, records=records, value=lambda: found, markdown=document
    )
    if not found.is_sound:
        raise click.exceptions.Exit(1)
