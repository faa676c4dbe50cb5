"""What a transform changed: each tensor, each component, all together, and what it cost."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from explorer.document.exporting import Exportable

__all__ = ["Change", "ComponentChange", "Evaluation", "TensorChange", "grown_notes"]


class TensorChange(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor before and after.

    Attributes:
        name: its path, joined by "/".
        component: the part of the network it belongs to.
        shape: logical; of the result, where structural pruning made it smaller.
        before, after: the formats: a dtype, a block format or a scheme.
        parameters_before, parameters_after: logical elements.
        bytes_before, bytes_after: stored, scales and other companions included.
        zeros: elements that are zero afterwards; None where they were not counted.
        relative_error: the L2 norm of the change over that before; None where not measured.
        snr: the signal-to-noise ratio in decibels; None where nothing changed, or not measured.
        cosine: of the angle between both; None where not measured.
        max_abs: the largest magnitude of the change.
        note: one line, where something is to be said of this tensor.
    """

    name: str
    component: str
    shape: tuple[int, ...]
    before: str
    after: str
    parameters_before: int
    parameters_after: int
    bytes_before: int
    bytes_after: int
    zeros: int | None = None
    relative_error: float | None = None
    snr: float | None = None
    cosine: float | None = None
    max_abs: float | None = None
    note: str = ""


def grown_notes(tensors: Sequence[TensorChange]) -> tuple[str, ...]:
    """Return a line where quantised tensors take more bytes than before, together or some of them.

    >>> wide = TensorChange(name="embed", component="embedding", shape=(4, 8), before="q8_0",
    ...     after="float32", parameters_before=32, parameters_after=32, bytes_before=34,
    ...     bytes_after=128)
    >>> grown_notes([wide])
    ('larger than the source: 34 -> 128 bytes; embed grows most, from q8_0 to float32',)
    """
    matrices = [each for each in tensors if len(each.shape) > 1]
    grown = [each for each in matrices if each.bytes_after > each.bytes_before]
    if not grown:
        return ()
    most = max(grown, key=lambda each: each.bytes_after - each.bytes_before)
    what = f"{most.name} grows most, from {most.before} to {most.after}"
    before = sum(each.bytes_before for each in tensors)
    after = sum(each.bytes_after for each in tensors)
    if after > before:
        return (f"larger than the source: {before:,} -> {after:,} bytes; {what}",)
    return (
        f"{len(grown):,} of {len(matrices):,} matrices take more bytes than before; {what}",
    )


class ComponentChange(msgspec.Struct, frozen=True, kw_only=True):
    """The tensors of a component before and after; bits are those of one parameter.

    `relative_error` is the root of the mean squared ones of its tensors, weighted by parameters.
    """

    component: str
    tensors: int
    parameters_before: int
    parameters_after: int
    bytes_before: int
    bytes_after: int
    relative_error: float | None

    @property
    def bits_before(self) -> float:
        """Stored bits of a parameter before."""
        return _bits(self.bytes_before, self.parameters_before)

    @property
    def bits_after(self) -> float:
        """Stored bits of a parameter afterwards."""
        return _bits(self.bytes_after, self.parameters_after)


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What a model loses on given tokens.

    Attributes:
        tokens: how many were predicted.
        loss_before, loss_after: mean negative log-likelihood of a token, in nats.
        agreement: the share of tokens for which both rank the same token first.
        divergence: mean Kullback-Leibler divergence of the result from the original, in nats.
    """

    tokens: int
    loss_before: float
    loss_after: float
    agreement: float
    divergence: float


class Change(Exportable, frozen=True, kw_only=True):
    """What a transform changed, to the last parameter and byte.

    Attributes:
        transform: what was done, as the command spells it: "quantize Q4_K_M".
        target: to what.
        tensors: each tensor, changed or not.
        trainable: parameters that are trained afterwards; None for all.
        evaluation: what the model loses on given tokens; None where none were given.
        notes: one line each.
        config: the Hugging Face config of the result, where that of the target is not its own.

    >>> tensor = TensorChange(name="kernel", component="mlp", shape=(4, 8), before="float32",
    ...     after="int8", parameters_before=32, parameters_after=32, bytes_before=128, bytes_after=48)
    >>> change = Change(transform="quantize int8", target="dict", tensors=(tensor,))
    >>> change.bits_before, change.bits_after
    (32.0, 12.0)
    """

    transform: str
    target: str
    tensors: tuple[TensorChange, ...]
    trainable: int | None = None
    evaluation: Evaluation | None = None
    notes: tuple[str, ...] = ()
    config: dict[str, Any] | None = None

    @property
    def parameters_before(self) -> int:
        """Parameters before."""
        return sum(each.parameters_before for each in self.tensors)

    @property
    def parameters_after(self) -> int:
        """Parameters afterwards."""
        return sum(each.parameters_after for each in self.tensors)

    @property
    def bytes_before(self) -> int:
        """Stored bytes before."""
        return sum(each.bytes_before for each in self.tensors)

    @property
    def bytes_after(self) -> int:
        """Stored bytes afterwards, scales and other companions included."""
        return sum(each.bytes_after for each in self.tensors)

    @property
    def zeros(self) -> int | None:
        """Elements that are zero afterwards, of tensors whose zeros were counted; None of none."""
        counted = [each.zeros for each in self.tensors if each.zeros is not None]
        return sum(counted) if counted else None

    @property
    def bits_before(self) -> float:
        """Stored bits of a parameter before."""
        sizes = [(t.bytes_before, t.parameters_before) for t in self.tensors]
        return _bits_of(sizes)

    @property
    def bits_after(self) -> float:
        """Stored bits of a parameter afterwards; buffers are left out, as everywhere."""
        return _bits_of([(t.bytes_after, t.parameters_after) for t in self.tensors])

    @property
    def relative_error(self) -> float | None:
        """The error of all tensors that changed, as the root of their mean squared ones."""
        return _error(self.tensors)

    @property
    def by_component(self) -> tuple[ComponentChange, ...]:
        """The components, largest first; their rows add up to the totals."""
        groups: dict[str, list[TensorChange]] = {}
        for each in self.tensors:
            groups.setdefault(each.component, []).append(each)
        rows = [_component(name, group) for name, group in groups.items()]
        return tuple(sorted(rows, key=lambda row: -row.parameters_before))

    @property
    def by_type(self) -> dict[str, int]:
        """Stored bytes afterwards of each format."""
        found: dict[str, int] = {}
        for each in self.tensors:
            found[each.after] = found.get(each.after, 0) + each.bytes_after
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))

    def __repr__(self) -> str:
        what = f"{self.target}: {self.transform}" if self.target else self.transform
        words = f"{what}, {len(self.tensors):,} tensors"
        bits = f"{self.bits_before:.5g} -> {self.bits_after:.5g} bits per weight"
        error = self.relative_error
        lost = "" if error is None else f", relative error {error:.3g}"
        return f"Change({words}, {bits}{lost})"

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON holds, of dicts, lists and numbers: totals first, then tensors."""
        found = {
            "transform": self.transform,
            "target": self.target,
            "parameters": self.parameters_after,
            "trainable_parameters": self.parameters_after
            if self.trainable is None
            else self.trainable,
            "stored_bytes": self.bytes_after,
            "bits_per_weight": self.bits_after,
            "by_type": self.by_type,
            "zeros": self.zeros,
            "before": {
                "parameters": self.parameters_before,
                "stored_bytes": self.bytes_before,
                "bits_per_weight": self.bits_before,
            },
            "relative_error": self.relative_error,
            "evaluation": self.evaluation,
            "tensors": self.tensors,
            "notes": self.notes,
        }
        return msgspec.to_builtins(found)

    def to_json(self, indent: int | None = 2) -> str:
        """Return the same as JSON.

        >>> Change(transform="prune 0.5", target="dict", tensors=()).to_json(None)[:26]
        '{"transform": "prune 0.5",'
        """
        return json.dumps(self.to_dict(), indent=indent)


def _bits(size: int, parameters: int) -> float:
    return 8 * size / parameters if parameters else 0.0


def _bits_of(sizes: list[tuple[int, int]]) -> float:
    """Return stored bits of a parameter, of the bytes and parameters of tensors."""
    of_parameters = [each for each in sizes if each[1]]
    return _bits(sum(n for n, _ in of_parameters), sum(n for _, n in of_parameters))


def _component(name: str, group: list[TensorChange]) -> ComponentChange:
    return ComponentChange(
        component=name,
        tensors=len(group),
        parameters_before=sum(each.parameters_before for each in group),
        parameters_after=sum(each.parameters_after for each in group),
        bytes_before=sum(each.bytes_before for each in group),
        bytes_after=sum(each.bytes_after for each in group),
        relative_error=_error(group),
    )


def _error(tensors: Iterable[TensorChange]) -> float | None:
    """Return the root of the mean squared relative errors, weighted by parameters."""
    measured = [
        (each.parameters_before, each.relative_error)
        for each in tensors
        if each.relative_error is not None
    ]
    total = sum(size for size, _ in measured)
    if not total:
        return None
    return (sum(size * error**2 for size, error in measured) / total) ** 0.5
