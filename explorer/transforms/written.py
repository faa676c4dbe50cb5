"""What was written: a file or folder, and what casting its tensors lost."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from explorer.document.words import counted

if TYPE_CHECKING:
    from explorer.formats.casting import Loss
    from explorer.formats.writing import OutgoingTensor

__all__ = ["Casts", "SavedFile", "casts_of"]


class Casts(msgspec.Struct, frozen=True, kw_only=True):
    """The tensors that were cast from one dtype to another.

    Attributes:
        before, after: the dtypes.
        tensors: how many.
        relative_error: the largest of one tensor: the L2 norm of its change over its own.
        worst: that tensor; empty where none changed.
        overflows: finite numbers that became infinite.
        not_finite: NaN and infinities, kept.
        damaged: a tensor with overflows, or one that is not finite.

    >>> print(Casts(before="float32", after="bfloat16", tensors=12, relative_error=0.0017))
    float32 -> bfloat16: 12 tensors, largest relative error 0.0017
    """

    before: str
    after: str
    tensors: int
    relative_error: float
    worst: str = ""
    overflows: int = 0
    not_finite: int = 0
    damaged: str = ""

    def __str__(self) -> str:
        text = f"{self.before} -> {self.after}: {counted(self.tensors, 'tensor')}, "
        error = f"{self.relative_error:.2g}"
        text += f"largest relative error {error}" if self.relative_error else "nothing lost"
        text += f" ({self.worst})" if self.worst else ""
        if self.overflows:
            text += f"; {self.overflows:,} numbers became infinite ({self.damaged})"
        if self.not_finite:
            text += f"; {self.not_finite:,} NaN or infinities before ({self.damaged})"
        return text


class SavedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What was written.

    Attributes:
        path: of the file or folder.
        format: of it.
        names: whose names its tensors have: "hf", "gguf", "flax" or "source".
        tensors: how many.
        nbytes: of them.
        casts: of each pair of dtypes, how many tensors and what they lost.
        notes: one line each.
    """

    path: str
    format: str
    names: str
    tensors: int
    nbytes: int
    casts: tuple[Casts, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        # the view stands above this room: it is found by name when it is printed
        return import_module("explorer.views.saved").saved_text(self)

    def __repr__(self) -> str:
        return f"SavedFile({self.path}: {self.tensors:,} tensors, {self.nbytes:,} bytes, {self.format})"


def casts_of(
    before: Mapping[str, str],
    tensors: "Sequence[OutgoingTensor]",
    losses: "Mapping[str, Loss]",
) -> tuple[Casts, ...]:
    """Return what casting changed, most tensors first.

    Args:
        before: the dtype of each tensor before, by its new name.
        tensors: as they were written.
        losses: of each, by its new name.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for each in tensors:
        if before.get(each.name, each.dtype) != each.dtype:
            groups.setdefault((before[each.name], each.dtype), []).append(each.name)
    found = [_casts(*pair, names, losses) for pair, names in groups.items()]
    return tuple(sorted(found, key=lambda each: -each.tensors))


def _casts(
    before: str, after: str, names: Sequence[str], losses: "Mapping[str, Loss]"
) -> Casts:
    found = {name: losses[name] for name in names if name in losses}
    worst = max(found, key=lambda name: found[name].relative_error, default="")
    damaged = (n for n, loss in found.items() if loss.overflows or loss.not_finite)
    error = found[worst].relative_error if worst else 0.0
    return Casts(
        before=before,
        after=after,
        tensors=len(names),
        relative_error=error,
        worst=worst if error else "",
        overflows=sum(loss.overflows for loss in found.values()),
        not_finite=sum(loss.not_finite for loss in found.values()),
        damaged=next(damaged, ""),
    )
