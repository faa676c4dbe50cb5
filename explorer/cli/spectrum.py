"""spectrum: norms, ranks and tails of the singular values of each matrix."""

import os

import click

from explorer.api.values import spectrum as find
from explorer.cli.console import echo_result, format_option, target_argument
from explorer.cli.writing_progress import reading_bar
from explorer.document.records import Document

__all__ = ["spectrum"]


@click.command()
@target_argument
@click.option(
    "--select", "glob", metavar="GLOB", help='Only these tensors: "**/attention/**".'
)
@click.option(
    "--rank",
    type=click.IntRange(1),
    help="Keep so many singular values, and find so many of a large matrix.",
)
@format_option
def spectrum(target: str, glob: str | None, rank: int | None, form: str) -> None:
    """Print the spectral norm, the ranks and the tail exponent of each matrix of a target.

    \b
    Examples:
      explorer spectrum model.safetensors
      explorer spectrum model/ --select "**/attention/**"
      explorer spectrum model.gguf --format csv
    """
    # threads that decompose one small matrix together mostly wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with reading_bar() as progress:
        found = find(target, glob, rank, progress=progress)

    def document(nest: bool = True) -> Document:
        from explorer.views.spectrum import spectrum_document

        return spectrum_document(found, nest)

    echo_result(
        form,
        document=document,
        records=lambda: found.matrices,
        value=lambda: found,
        markdown=lambda: document(nest=False),
    )
