"""Tensors -> a new file or folder, in any of the formats; complete, or not there."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, NamedTuple

from explorer.conversion.settings import SaveSettings
from explorer.errors import InputError
from explorer.formats.gguf.key_values import GgufValue
from explorer.formats.writing import OutgoingTensor
from explorer.storage.writing import new_file, new_folder, open_new

__all__ = ["Outgoing", "write_outgoing"]

_SHARD = 5_000_000_000  # bytes, as Hugging Face's libraries cut them

Done = Callable[[int], object] | None


class Outgoing(NamedTuple):
    """What is to be written.

    Attributes:
        tensors: in their order.
        pairs: a GGUF file's metadata.
        words: a safetensors file's own words.
        files: other files of a folder, by name.
    """

    tensors: Sequence[OutgoingTensor]
    pairs: Mapping[str, GgufValue] = {}
    words: Mapping[str, str] = {}
    files: Mapping[str, bytes] = {}


def write_outgoing(
    path: str, form: str, is_folder: bool, outgoing: Outgoing, settings: SaveSettings
) -> None:
    """Write a file or folder.

    Raises:
        InputError: its path exists or cannot be written, or the format cannot hold a tensor.
    """
    check_free(path)
    if settings.total is not None:
        settings.total(sum(each.nbytes for each in outgoing.tensors))
    try:
        if not is_folder:
            with new_file(path) as out:
                _write_file(out, path, form, outgoing, settings.done)
            return
        with new_folder(path, make=form != "orbax") as folder:
            if form == "orbax":
                from explorer.formats.orbax import writing as orbax

                orbax.write(folder, path, outgoing.tensors, settings.done)
            else:
                _write_shards(folder, path, outgoing, settings)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise InputError(
            path,
            found=f"cannot be written: {error.strerror or error}",
            expected="room for "
            f"{sum(each.nbytes for each in outgoing.tensors):,} bytes in an existing folder",
        ) from None


def check_free(path: str) -> None:
    """Refuse a path that anything has.

    Raises:
        InputError: it exists, as a link or a folder too.
    """
    if os.path.lexists(path):
        raise _exists(path)


def _exists(path: str) -> InputError:
    kind = (
        "a link" if os.path.islink(path) else "a folder" if os.path.isdir(path) else "there"
    )
    return InputError(
        path,
        found=f"is {kind} already" if kind == "there" else f"exists already, as {kind}",
        expected="a name that nothing has",
        cure="choose another one, or move it away",
    )


def _write_file(
    out: BinaryIO, place: str, form: str, outgoing: Outgoing, done: Done
) -> None:
    if form == "gguf":
        from explorer.formats.gguf import writing as gguf

        gguf.write(out, place, outgoing.tensors, outgoing.pairs, done)
    elif form == "safetensors":
        from explorer.formats.safetensors import writing as safetensors

        safetensors.write(out, place, outgoing.tensors, outgoing.words, done)
    elif form == "npz":
        from explorer.formats.numpy_files import writing as npz

        npz.write(out, place, outgoing.tensors, done)
    else:
        from explorer.formats.flax_msgpack import writing as msgpack

        msgpack.write(out, place, outgoing.tensors, done)


def _write_shards(
    folder: str, place: str, outgoing: Outgoing, settings: SaveSettings
) -> None:
    from explorer.formats.safetensors import writing as safetensors

    most = _SHARD if settings.shard_bytes is None else settings.shard_bytes
    shards = safetensors.shards_of(outgoing.tensors, most)
    files = dict(outgoing.files)
    if len(shards) > 1:
        files[safetensors.INDEX] = safetensors.index_of(shards)
    for name, part in shards.items():
        with open_new(os.path.join(folder, name)) as out:
            safetensors.write(out, place, part, outgoing.words, settings.done)
            out.flush()
            os.fsync(out.fileno())
    for name, raw in files.items():
        with open_new(os.path.join(folder, name)) as out:
            out.write(raw)
