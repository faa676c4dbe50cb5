"""diff: what changed between the values of two checkpoints."""

from typing import TYPE_CHECKING

import click

from explorer.cli.console import (
    complete_target,
    echo_result,
    exit_code_option,
    format_option,
    path_type,
)
from explorer.cli.writing_progress import reading_bar
from explorer.document.records import Document
from explorer.errors import InputError

if TYPE_CHECKING:
    from explorer.values.compare_digests import DigestComparison
    from explorer.values.differences import Difference

__all__ = ["diff"]


@click.command()
@click.argument("a", type=path_type, shell_complete=complete_target)
@click.argument("b", type=path_type, shell_complete=complete_target)
@click.option("--rtol", type=float, default=0.0, help="Accept |b - a| <= atol + rtol |a|.")
@click.option("--atol", type=float, default=0.0, help="Accept that much as it is.")
@click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="NAME=OTHER",
    help="This tensor of A, or all below this name, is that of B.",
)
@click.option(
    "--digests", is_flag=True, help="A and B are files that `explorer digest` printed."
)
@exit_code_option(True)
@format_option
@click.pass_context
def diff(
    ctx: click.Context,
    a: str,
    b: str,
    rtol: float,
    atol: float,
    matches: tuple[str, ...],
    digests: bool,
    by_exit_code: bool,
    form: str,
) -> None:
    """Print what changed from A to B, tensor by tensor; exit 1 if something did.

    A and B may be of other formats, and name and lay out their tensors in other ways. Each
    tensor is identical; or the other one rounded, quantized, plus an update of low rank, or in
    another order; or different, missing or added. With a tolerance, exit 1 only if a number
    is beyond it; with --no-exit-code, never.

    \b
    Examples:
      explorer diff base/ finetuned/
      explorer diff model/ model.gguf --format json
      explorer diff a.safetensors b.npz --atol 1e-6
      explorer diff --digests a.txt b.txt
      explorer diff a.npz b.npz --no-exit-code
    """
    if digests:
        if rtol or atol or matches:
            raise click.UsageError("--digests takes no tolerance and no --match", ctx)
        same = _compare_digests(a, b, form)
        ctx.exit(1 if by_exit_code and not same else 0)
    from explorer.api.values import diff as diff_of

    renamed = _renamed(ctx, matches)
    with reading_bar() as progress:
        found = diff_of(a, b, match=renamed, rtol=rtol, atol=atol, progress=progress)
    _print(found, form)
    ctx.exit(1 if by_exit_code and not found.within_tolerance else 0)


def _renamed(ctx: click.Context, matches: tuple[str, ...]) -> dict[str, str] | None:
    pairs = [each.partition("=") for each in matches]
    for old, _, new in pairs:
        if not (old and new):
            raise click.UsageError(f"--match {old} is not NAME=OTHER", ctx)
    return {old: new for old, _, new in pairs} or None


def _print(found: "Difference", form: str) -> None:
    def document() -> Document:
        from explorer.views.diff import diff_document

        return diff_document(found)

    def records() -> list:
        from explorer.views.diff import diff_records

        return diff_records(found)

    def value() -> dict:
        from explorer.views.diff import diff_value

        return diff_value(found)

    echo_result(form, document=document, records=records, value=value, markdown=document)


def _compare_digests(a: str, b: str, form: str) -> bool:
    """Print what differs between two lists of hashes; return whether nothing does."""
    from explorer.storage.local import read_whole
    from explorer.values.compare_digests import compare_digests
    from explorer.values.digest import read_digests
    from explorer.views import diff as views

    sides = [
        read_digests(place, read_whole(place, _MOST).decode("utf-8", "backslashreplace"))
        for place in (a, b)
    ]
    if not (sides[0].tensors or sides[1].tensors):
        raise InputError(
            a,
            found=f"holds no hash, and neither does {b}",
            expected="what `explorer digest` prints",
        )
    found: DigestComparison = compare_digests(*sides)
    echo_result(
        form,
        document=lambda: views.digest_changes_document(found),
        records=lambda: found.changes,
        value=lambda: views.digest_changes_value(found),
    )
    return found.identical


_MOST = 1 << 30  # bytes of a list of hashes
