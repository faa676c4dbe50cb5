"""The records of what was learned: where parameters changed, layer by layer; saved and read."""

import os

import msgspec

from explorer.document.exporting import Exportable
from explorer.errors import InputError
from explorer.storage.documents import read_json
from explorer.storage.local import exists
from explorer.storage.writing import publish, replace_file

__all__ = ["Learned", "LearnedPart", "read_learned"]

_MOST = 1 << 26  # bytes of a saved record


class LearnedPart(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in one component of one layer, or in the whole.

    Attributes:
        name: the path down to the layer.
        component: of its tensors; empty for the whole.
        tensors, parameters: how many there are.
        rms_before, rms_after: root of the mean square of the parameters.
        change: norm of the change relative to that before; None where all were zero.
        share: of the squared norm of all changes.
        rank: mean stable rank (squared Frobenius over squared spectral norm) of the changes of
            its matrices: how many directions changed; None without one that is small enough.
        full_rank: mean shorter side of those matrices.
    """

    name: str
    component: str
    tensors: int
    parameters: int
    rms_before: float
    rms_after: float
    change: float | None
    share: float
    rank: float | None = None
    full_rank: float | None = None


class Learned(Exportable, frozen=True, kw_only=True):
    """Where learning happened: parts in the order of the layers, and the whole."""

    before: str
    after: str
    parts: tuple[LearnedPart, ...]
    total: LearnedPart

    def save(self, path: str | os.PathLike) -> None:
        """Write the record as JSON, in the place of an earlier one.

        Raises:
            InputError: what is there is not such a record, or it cannot be written.
        """
        raw = msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"
        try:
            if exists(os.fspath(path)):
                read_learned(path)  # and nothing else is replaced
                replace_file(path, raw)
            else:
                publish(path, raw)
        except OSError as error:
            raise InputError(path, found=f"cannot be written: {error.strerror}") from None


def read_learned(path: str | os.PathLike) -> Learned:
    """Return what `Learned.save` wrote.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    return read_json(
        os.fspath(path),
        _MOST,
        Learned,
        found="is not a record of what was learned",
        expected="what `Learned.save` wrote",
        cure="",
    )
