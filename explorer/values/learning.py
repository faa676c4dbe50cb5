"""Parameters before and after training -> where they changed, layer by layer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from explorer.errors import TreeError
from explorer.inventory.own_names import component_word
from explorer.paths import Key, name_of
from explorer.values.blocks import widened
from explorer.values.changes import changes_of
from explorer.values.describe import NamedValues
from explorer.values.learned import Learned, LearnedPart

__all__ = ["learned_of"]

_LARGEST = 1024  # the shorter side up to which the norm of a change is decomposed
_NUMBERED = re.compile(r"[0-9]")


def learned_of(
    names: tuple[str, str], before: Iterable[NamedValues], after: Iterable[NamedValues]
) -> Learned:
    """Return where parameters changed.

    Args:
        names: what both sides are called.
        before, after: the same tensors; what is not a parameter is left out.

    Raises:
        TreeError: a tensor is on one side alone, or of another shape.

    >>> old = [NamedValues(("layer_0", "kernel"), np.ones((2, 2)), "float64")]
    >>> new = [old[0]._replace(array=np.array([[1.0, 1.0], [1.0, 3.0]]))]
    >>> learned_of(("a", "b"), old, new).total.change
    1.0
    """
    old = {each.key: each for each in before if each.is_parameter}
    parts: dict[tuple[str, str], _LearnedSums] = {}
    for named in after:
        if not named.is_parameter:
            continue
        there = old.pop(named.key, None)
        if there is None or there.array.shape != named.array.shape:
            raise _unlike(named.key, names[0])
        name = name_of(named.key)
        part = component_word(named.component or "other", named.role, name.split("/"))
        sums = parts.setdefault((_block_of(name), part), _LearnedSums())
        sums.add(np.asarray(there.array), np.asarray(named.array))
    if old:
        raise _unlike(next(iter(old)), names[1])
    whole = _LearnedSums()
    for sums in parts.values():
        whole.merge(sums)
    make = partial(_part, squares=whole.dd)
    ordered = sorted(parts.items(), key=lambda pair: list(map(str, _natural(pair[0][0]))))
    return Learned(
        before=names[0],
        after=names[1],
        parts=tuple(make(*key, sums) for key, sums in ordered),
        total=make("", "", whole),
    )


def _unlike(key: Key, place: str) -> TreeError:
    return TreeError(
        place,
        found=f"has no {name_of(key)} of one shape with the other side's",
        expected="the same tensors before and after training",
        cure="compare other models with explorer diff",
    )


def _block_of(name: str) -> str:
    """Return a path down to the part of it that has a number, or its first part.

    >>> _block_of("encoder/layer/3/attention/bias"), _block_of("embed/embedding")
    ('encoder/layer/3', 'embed')
    """
    parts = name.split("/")
    holders = parts[:-1] or parts
    numbered = [at for at, part in enumerate(holders) if _NUMBERED.search(part)]
    return "/".join(holders[: numbered[0] + 1 if numbered else 1])


def _natural(name: str) -> list[str]:
    return [
        part.zfill(9) if part.isdecimal() else part for part in re.split("([0-9]+)", name)
    ]


@dataclass(slots=True)
class _LearnedSums:
    """Sums of squares before, after and of the change; the ranks of matrices that changed."""

    tensors: int = 0
    count: int = 0
    aa: float = 0.0
    bb: float = 0.0
    dd: float = 0.0
    ranks: list[tuple[float, int]] = field(default_factory=list)

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """Add a tensor."""
        found = changes_of(before, after, is_part=True)
        self.tensors += 1
        self.count += before.size
        self.aa, self.bb = self.aa + found.aa, self.bb + found.bb
        self.dd += found.dd
        if before.ndim == 2 and found.dd and 1 < min(before.shape) <= _LARGEST:
            change = widened(after).astype(np.float64) - widened(before)
            if np.isfinite(change).all():
                largest = float(np.linalg.norm(change, 2))
                self.ranks.append((found.dd / largest**2, min(before.shape)))

    def merge(self, other: "_LearnedSums") -> None:
        """Add the sums of other tensors."""
        self.tensors += other.tensors
        self.count += other.count
        self.aa, self.bb = self.aa + other.aa, self.bb + other.bb
        self.dd += other.dd
        self.ranks += other.ranks


def _part(name: str, component: str, sums: _LearnedSums, squares: float) -> LearnedPart:
    number = max(sums.count, 1)
    change = (sums.dd / sums.aa) ** 0.5 if sums.aa else None if sums.dd else 0.0
    ranks, sides = zip(*sums.ranks, strict=True) if sums.ranks else ((), ())
    return LearnedPart(
        name=name,
        component=component,
        tensors=sums.tensors,
        parameters=sums.count,
        rms_before=(sums.aa / number) ** 0.5,
        rms_after=(sums.bb / number) ** 0.5,
        change=change,
        share=sums.dd / squares if squares else 0.0,
        rank=sum(ranks) / len(ranks) if ranks else None,
        full_rank=sum(sides) / len(sides) if sides else None,
    )
