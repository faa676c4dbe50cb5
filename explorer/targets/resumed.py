"""A pass over a checkpoint that goes on where one that was killed stopped."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from explorer.errors import InputError
from explorer.paths import Key
from explorer.storage.journal import Journal
from explorer.targets.records import Checkpoint, Target
from explorer.targets.unchanged import stamps_of

if TYPE_CHECKING:
    from explorer.values.arrays import NamedValues
    from explorer.values.parts import KnownSums

__all__ = ["Resumed", "resumed"]

_VERSION = 3  # of what is written: another one is not read


class Resumed(NamedTuple):
    """What earlier passes found, by key, and the file that takes what this one finds."""

    known: "dict[Key, NamedValues]"
    journal: Journal | None = None

    def keep(self, named: "NamedValues", found: "KnownSums") -> None:
        """Write what was found of a tensor."""
        from explorer.values.parts import encode_part, part_of

        if self.journal is not None:
            shape = tuple(named.array.shape)
            inventory = (named.is_packed, named.remark)
            part = part_of(named.key, named.dtype, shape, found, *inventory)
            self.journal.append(encode_part(part))
            self.journal.flush()


@contextmanager
def resumed(
    path: str | os.PathLike | None, target: Target, settings: dict[str, object]
) -> Iterator[Resumed]:
    """Give what earlier passes over a checkpoint wrote to a file, which is then written on.

    Args:
        path: of the file; None for none.
        target: the checkpoint.
        settings: of the pass; those of the earlier ones must be the same.

    Raises:
        InputError: the target is not a checkpoint; or the file is of another pass, of files that
            were written since, in use, or not of a pass.
    """
    if path is None:
        yield Resumed({})
        return
    if not isinstance(target, Checkpoint):
        raise InputError(
            os.fspath(path),
            found="would keep a pass over arrays in memory",
            expected="a checkpoint, which is the same the next time",
        )
    head = {"version": _VERSION, "files": stamps_of(target.path), **settings}
    try:
        journal = Journal(path)
    except OSError as error:
        raise InputError(
            os.fspath(path),
            found=f"cannot be written: {error.strerror or error}",
            expected="a file that this pass can write",
        ) from None
    with journal:
        known = _known(journal, msgspec.json.decode(msgspec.json.encode(head)))
        yield Resumed(known, journal)


def _known(journal: Journal, head: dict[str, object]) -> "dict[Key, NamedValues]":
    """Return what is in a journal, by key; a new one gets its head."""
    if not journal.records:
        journal.append(msgspec.json.encode(head))
        journal.flush()
        return {}
    from explorer.values.parts import decode_part

    first, *rest = journal.records
    try:
        _check_head(journal.place, msgspec.json.decode(first), head)
        found = [_named(decode_part(raw)) for raw in rest]
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(
            journal.place,
            found=f"holds records that are not of a pass ({error})",
            expected="a file that an earlier pass wrote",
            cure="delete it, or take another name",
        ) from None
    return {each.key: each for each in found}


def _check_head(place: str, found: object, head: dict[str, object]) -> None:
    """Refuse a pass over something else."""
    before = found if isinstance(found, dict) else {}
    other = [name for name, value in head.items() if before.get(name) != value]
    if not other:
        return
    if other == ["files"]:
        what = "is of other files, or of files that were written since"
    else:
        what = f"is of a pass with another {' and another '.join(other)}"
    raise InputError(
        place,
        found=what,
        expected="an earlier pass over the same files, with the same settings",
        cure="delete it, or take another name",
    )


def _named(part) -> "NamedValues":
    """Return what takes the place of a tensor that was read before; it has a shape alone."""
    import numpy as np

    from explorer.values.arrays import NamedValues

    return NamedValues(
        key=part.key,
        array=np.broadcast_to(np.float32(0), part.shape),
        dtype=part.dtype,
        is_packed=part.is_packed,
        remark=part.remark,
        known=part.known(),
    )
