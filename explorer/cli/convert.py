"""convert: a checkpoint written in another format."""

import click

from explorer.cli.console import complete_target, echo_result, path_type
from explorer.document.records import Document

__all__ = ["convert"]


@click.command()
@click.argument("source", metavar="IN", type=path_type, shell_complete=complete_target)
@click.argument("path", metavar="OUT", type=click.Path())
@click.option("--dtype", help="Of parameters in float formats: bf16, float16, float32.")
@click.option(
    "--to",
    "--format",
    "kind",
    metavar="FORMAT",
    help="safetensors, gguf, npz, msgpack or orbax; by default by the suffix of OUT.",
)
@click.option("--names", help="hf, gguf, flax or source: whose names tensors get.")
@click.option("--like", type=path_type, help="A checkpoint with the config and tokenizer.")
@click.option("--select", metavar="GLOB", help="Only these tensors.")
@click.option("--shard-bytes", type=int, help="The most that a file of a folder holds.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def convert(
    source: str,
    path: str,
    dtype: str | None,
    kind: str | None,
    names: str | None,
    like: str | None,
    select: str | None,
    shard_bytes: int | None,
    as_json: bool,
) -> None:
    """Write the tensors of IN to OUT, a new file or folder of another format.

    OUT is .safetensors, .gguf, .npz, .msgpack, .orbax, or a folder of safetensors. A model that
    explorer knows is renamed and laid out as OUT's own users expect: Hugging Face's names and
    config.json, or llama.cpp's with metadata and tokenizer. Everything else keeps its names.
    Tied tensors are written once, buffers are kept, quantised blocks are decoded. A tensor at a
    time is in memory, no pickle is executed, and OUT is complete or not there.

    \b
    Examples:
      explorer convert pytorch_model.bin model.safetensors --dtype bf16
      explorer convert model/ model.gguf
      explorer convert model.gguf model/
      explorer convert run/ weights.npz --select 'params/**'
    """
    from explorer.api.writing import save
    from explorer.cli.writing_progress import progress_bar

    with progress_bar() as (total, done):
        saved = save(
            source,
            path,
            like=like,
            format=kind,
            names=names,
            dtype=dtype,
            shard_bytes=shard_bytes,
            select=select,
            progress=None if total is None or done is None else (total, done),
        )

    def document() -> Document:
        from explorer.views.saved import saved_document

        return saved_document(saved)

    form = "json" if as_json else "text"
    echo_result(form, document=document, records=lambda: [saved], value=lambda: saved)
