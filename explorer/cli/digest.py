"""digest: the hash of each tensor's content."""

from typing import TYPE_CHECKING

import click

from explorer.api.values import digest as digest_of
from explorer.cli.console import echo, target_argument
from explorer.cli.writing_progress import reading_bar

if TYPE_CHECKING:
    from explorer.values.digest import Algorithm

__all__ = ["digest"]


@click.command()
@target_argument
@click.option("--select", "glob", metavar="GLOB", help='Only these: "**/attention/**".')
@click.option(
    "--hash",
    "algorithm",
    type=click.Choice(["xxh3_128", "blake2b"]),
    default="xxh3_128",
    show_default=True,
    help="xxh3_128 finds every accidental change, at the speed of memory; nobody can make "
    "other content of the same blake2b.",
)
def digest(target: str, glob: str | None, algorithm: "Algorithm") -> None:
    """Print a hash of each tensor's content: HASH  dtype  shape  name.

    The same tensor has the same hash in every file format, however it is split, ordered or
    sharded. Two lists are compared by `explorer diff --digests A B`.

    \b
    Examples:
      explorer digest model.safetensors > model.digests
      explorer digest model/ --hash blake2b
    """
    with reading_bar() as progress:
        found = digest_of(target, select=glob, algorithm=algorithm, progress=progress)
    if found.tensors:
        echo(str(found))
    for note in found.notes:
        click.echo(f"explorer: {note}", err=True)
