"""The records of sizing: what one term takes, what fits, what a whole plan is."""

from math import floor
from typing import Any, Literal

import msgspec

from explorer.document.exporting import Exportable
from explorer.sizing.device_records import CompiledMemory
from explorer.sizing.settings import Lora, Variation, Workload

__all__ = [
    "TERMS",
    "Concurrency",
    "DeviceFit",
    "Lora",
    "MemoryPlan",
    "Speed",
    "Term",
    "TypeTotal",
    "Variation",
    "Workload",
]

TermName = Literal[
    "parameters",
    "quantization",
    "kv_cache",
    "recurrent_state",
    "gradients",
    "optimizer",
    "master_parameters",
    "activations",
    "logits",
    "workspace",
    "reserve",
]
TERMS: tuple[TermName, ...] = TermName.__args__


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of one thing that memory is needed for, over all devices.

    Those of a plan on a mesh are what one device needs, the fullest, times the number of devices.

    Attributes:
        name: what it is.
        bytes: the best figure; `low` and `high` are equal to it where it is exact.
        low, high: bounds of an estimate.
        provenance: "exact", "inferred (rule)", "estimated (how)" or "assumed (why)".
        note: what explains the figure.
        per_device: bytes on the fullest device; None for `bytes` of one device.

    >>> Term.exact("kv_cache", 64, "2 layers x 4 heads").high
    64
    """

    name: TermName
    bytes: int
    low: int
    high: int
    provenance: str
    note: str = ""
    per_device: int | None = None

    @classmethod
    def exact(
        cls, name: TermName, nbytes: int, note: str = "", per_device: int | None = None
    ) -> "Term":
        """Return a term that shapes, formats or a compiler decide."""
        return cls(
            name=name,
            bytes=nbytes,
            low=nbytes,
            high=nbytes,
            provenance="exact",
            note=note,
            per_device=per_device,
        )

    @property
    def is_exact(self) -> bool:
        """Whether nothing about it is estimated."""
        return self.provenance.startswith("exact")

    @property
    def on_device(self) -> int:
        """Bytes on the fullest device."""
        return self.bytes if self.per_device is None else self.per_device

    def of_each(self) -> "Term":
        """Return what the fullest device needs of it, its range in proportion.

        >>> term = Term(name="logits", bytes=64, low=32, high=96, provenance="", per_device=16)
        >>> each = term.of_each()
        >>> each.bytes, each.low, each.high
        (16, 8, 24)
        """
        if self.per_device is None:
            return self
        held, whole = self.per_device, self.bytes or 1
        low, high = (-(-held * side // whole) for side in (self.low, self.high))
        return msgspec.structs.replace(
            self, bytes=held, low=low, high=high, per_device=None
        )

    def on_all(self, devices: int) -> "Term":
        """Return what all devices need of it, each as much as the fullest one.

        >>> term = Term(name="logits", bytes=64, low=32, high=96, provenance="", per_device=16)
        >>> every = term.on_all(8)
        >>> every.bytes, every.low, every.high, every.per_device
        (128, 64, 192, 16)
        """
        each = self.of_each()
        low, best, high = (devices * side for side in (each.low, each.bytes, each.high))
        return msgspec.structs.replace(
            self, bytes=best, low=low, high=high, per_device=each.bytes
        )


class TypeTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What the tensors of one storage type add up to, scales included."""

    tensors: int
    elements: int
    bytes: int


class DeviceFit(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a plan fits one kind of device.

    Attributes:
        name: of the device.
        count: how many of them, each with its share of the plan.
        memory: bytes that one of them offers.
        fits: whether the best figure fits; None where the plan has no figure.
        longest_context: the longest context with which it fits; None where none does.
    """

    name: str
    count: int
    memory: int
    fits: bool | None
    longest_context: int | None


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of speed: what bytes and operations allow; no run is faster.

    Attributes:
        decode_tokens_per_second: of all sequences together, by bandwidth.
        prefill_seconds: to read the prompts of all sequences, at the device's peak.
        prefill_seconds_measured: the same at the best rate that a matrix product reached.
        train_tokens_per_second: of all devices together, at their peak.
        training_flops_per_token: forward and backward, and forward again with full remat.
        seconds_for_tokens: to train on the workload's tokens or to generate them.
        seconds_for_tokens_measured: training at the best rate that a matrix product reached.
        peak_dtype: of the peak.
    """

    decode_tokens_per_second: float | None = None
    prefill_seconds: float | None = None
    prefill_seconds_measured: float | None = None
    train_tokens_per_second: float | None = None
    training_flops_per_token: int | None = None
    seconds_for_tokens: float | None = None
    seconds_for_tokens_measured: float | None = None
    peak_dtype: str = ""


class Concurrency(msgspec.Struct, frozen=True, kw_only=True):
    """What fits in a number of bytes.

    Attributes:
        sequences: of the workload's length; vllm's log has the same number with its fraction.
        tokens: of all sequences together, as the engine counts them.
        blocks: of vllm's pages; None for other engines.
    """

    sequences: float
    tokens: int
    blocks: int | None = None

    @property
    def whole(self) -> int:
        """Sequences that fit at full length."""
        return floor(self.sequences)


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """The same plan without adapters and variations: what the changes are measured from."""

    parameters: int
    trainable_parameters: int
    terms: dict[str, int]
    total_bytes: int
    per_device_bytes: int


class MemoryPlan(Exportable, frozen=True, kw_only=True):
    """What a model needs for a workload, term by term.

    Attributes:
        target: what was asked about.
        workload: for which workload.
        variation: of which variation of the model.
        engine: whose rules the cache follows.
        device: the device asked about, with its number ("h200:8"); None for none.
        mesh: the axes of several devices, asked for or implied by their number; {} for one.
        parameters: of the model.
        trainable_parameters: of them, or of the adapters, those that are trained.
        bits_per_weight: bits of stored weights over parameters.
        by_type: what the stored weights of each type add up to.
        terms: each thing that needs memory; their bytes add up to `total_bytes`.
        total_bytes: of all devices, each as the fullest one; `low_bytes` and `high_bytes` are
            its bounds.
        per_device_bytes: on the fullest device.
        fits: whether that is at most what a device offers; None without a device.
        longest_context: the longest context with which it fits; None without a device.
        concurrency: how many sequences of the context fit a device; None without one.
        devices: common devices, each with whether one of it suffices; on a mesh those that
            meshes are made of, each with whether it suffices for what each device needs.
        before: the plan without adapters and variations; None where there are none.
        compiled: what a compiler says, where it was asked.
        notes: what to know about how the model is placed.
        not_modelled: what the figures leave out.
        advice: the options that would make it fit.
        decode_tokens_per_second: a bound for one step over all sequences.
        prefill_seconds: a bound for the prompts of all sequences.
        speed: all bounds of speed; None without a device.
        cost: price, device hours, dollars and energy of the workload's tokens.

    >>> import explorer as ex
    >>> found = ex.plan("llama-2-7b", context=4096, dtype="float16")
    >>> found.parameters, found.terms[0].bytes
    (6738415616, 13476831232)
    """

    target: str
    workload: Workload
    variation: Variation = Variation()
    engine: str
    device: str | None = None
    mesh: dict[str, int] = msgspec.field(default_factory=dict)
    parameters: int
    trainable_parameters: int
    bits_per_weight: float | None
    by_type: dict[str, TypeTotal] = msgspec.field(default_factory=dict)
    terms: tuple[Term, ...]
    total_bytes: int
    low_bytes: int
    high_bytes: int
    per_device_bytes: int
    fits: bool | None = None
    longest_context: int | None = None
    concurrency: Concurrency | None = None
    devices: tuple[DeviceFit, ...] = ()
    before: Before | None = None
    compiled: CompiledMemory | None = None
    notes: tuple[str, ...] = ()
    not_modelled: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    decode_tokens_per_second: float | None = None
    prefill_seconds: float | None = None
    speed: Speed | None = None
    cost: dict[str, Any] = msgspec.field(default_factory=dict)
