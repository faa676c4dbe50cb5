"""Two lists of hashes -> what differs: two checkpoints compared without either of them."""

from typing import Literal

import msgspec

from explorer.document.exporting import Exportable
from explorer.errors import InputError
from explorer.values.digest import Digests, TensorDigest

__all__ = ["DigestChange", "DigestComparison", "compare_digests"]


class DigestChange(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor that differs: `moved` has the same content under another name."""

    name: str
    verdict: Literal["different", "missing", "added", "moved"]
    before: TensorDigest | None = None
    after: TensorDigest | None = None


class DigestComparison(Exportable, frozen=True, kw_only=True):
    """What differs between two lists of hashes, and how many tensors are the same."""

    a: str
    b: str
    changes: tuple[DigestChange, ...]
    same: int

    @property
    def identical(self) -> bool:
        """Whether every tensor is in both lists under one name with one hash."""
        return not self.changes


def compare_digests(a: Digests, b: Digests) -> DigestComparison:
    """Return what differs between two lists of hashes.

    Raises:
        InputError: they are of two kinds, which cannot be compared.

    >>> old = Digests(target="a", tensors=(TensorDigest("0" * 32, "int8", (3,), "x"),))
    >>> new = Digests(target="b", tensors=(TensorDigest("0" * 32, "int8", (3,), "y"),))
    >>> compare_digests(old, new).changes[0].verdict
    'moved'
    """
    if a.algorithm != b.algorithm and a.tensors and b.tensors:
        raise InputError(
            b.target,
            found=f"holds hashes of {b.algorithm}",
            expected=f"{a.algorithm}, as {a.target}",
            cure=f"run explorer digest --hash {a.algorithm}",
        )
    old = {each.name: each for each in a.tensors}
    new = {each.name: each for each in b.tensors}
    both = old.keys() & new.keys()
    changes = [
        DigestChange(name=name, verdict="different", before=old[name], after=new[name])
        for name in sorted(both)
        if old[name] != new[name]
    ]
    same = len(both) - len(changes)
    come: dict[tuple, list[TensorDigest]] = {}
    for name in sorted(new.keys() - both):
        come.setdefault(_content(new[name]), []).append(new[name])
    for name in sorted(old.keys() - both):
        others = come.get(_content(old[name]), [])
        after = others.pop(0) if others else None
        verdict = "moved" if after else "missing"
        changes.append(
            DigestChange(name=name, verdict=verdict, before=old[name], after=after)
        )
    changes += [
        DigestChange(name=each.name, verdict="added", after=each)
        for others in come.values()
        for each in others
    ]
    return DigestComparison(a=a.target, b=b.target, changes=tuple(changes), same=same)


def _content(each: TensorDigest) -> tuple:
    return each.hash, each.dtype, each.shape
