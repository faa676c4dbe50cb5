"""What a model reads and computes, on devices -> the bounds of its speed."""

import msgspec

from explorer.sizing.devices.catalog import Device
from explorer.sizing.records import Speed, Workload
from explorer.sizing.speed.formulas import (
    forward_flops,
    roofline_seconds,
    train_flops,
    training_seconds,
)

__all__ = ["ModelWork", "Peaks", "peaks_of", "speed_of"]

_TERA = 1e12


class ModelWork(msgspec.Struct, frozen=True, kw_only=True):
    """What a model reads and computes.

    Attributes:
        active_parameters: that one token multiplies; None where nothing says it.
        trainable_parameters: that are trained where others are frozen; None for all.
        attention_width: heads x head size, summed over the layers.
        sequences: that are decoded together.
        step_bytes: of weights and cache at full context that the fullest device reads for one
            token of each sequence; None where nothing says which experts there are.
        weight_bytes: of weights that it reads for whole prompts, at least.
        is_causal: whether tokens are generated one by one.
        stored_as: the type of most of the weights ("fp8").
        tokens: of each sequence; None for the context.
    """

    active_parameters: int | None
    trainable_parameters: int | None
    attention_width: int
    sequences: int
    step_bytes: float | None
    weight_bytes: float
    is_causal: bool
    stored_as: str = ""
    tokens: int | None = None


class Peaks(msgspec.Struct, frozen=True):
    """Operations a second of one device: its peak, the best measured, in which dtype."""

    peak: float = 0.0
    measured: float | None = None
    dtype: str = ""


def speed_of(work: ModelWork, workload: Workload, device: Device, count: int) -> Speed:
    """Return bounds that no run on these devices beats: work is taken to divide evenly.

    Args:
        work: of the model.
        workload: with its context set.
        device: of which there are `count`.
        count: how many.
    """
    peaks = peaks_of(device, work.stored_as)
    if workload.train:
        return _training(work, workload, peaks, count)
    decode = _decode(work, workload, device, peaks, count)
    prefill = _prefill(work, workload, device, peaks, count)
    tokens = workload.tokens
    return Speed(
        decode_tokens_per_second=decode,
        prefill_seconds=None if prefill is None else prefill[0],
        prefill_seconds_measured=None if prefill is None else prefill[1],
        seconds_for_tokens=tokens / decode if tokens and decode else None,
        peak_dtype=peaks.dtype,
    )


def _decode(
    work: ModelWork, workload: Workload, device: Device, peaks: Peaks, count: int
) -> float | None:
    """Return tokens a second of all sequences: each byte is read once in a step."""
    if not work.is_causal or work.step_bytes is None or not device.bandwidth:
        return None
    assert workload.context is not None
    flops = 0
    if work.active_parameters is not None:
        flops = forward_flops(
            work.active_parameters, work.attention_width, work.tokens or workload.context
        )
    each = flops * work.sequences / count
    return work.sequences / roofline_seconds(
        work.step_bytes, device.bandwidth, each, peaks.peak
    )


def _prefill(
    work: ModelWork, workload: Workload, device: Device, peaks: Peaks, count: int
) -> tuple[float, float | None] | None:
    """Return seconds for the prompts of all sequences, at the peak and at the best measured."""
    if work.active_parameters is None or not peaks.peak:
        return None
    assert workload.context is not None
    # a causal mask leaves half of the square of attention
    tokens = work.tokens or workload.context
    seen = tokens // 2 if work.is_causal else tokens
    token = forward_flops(work.active_parameters, work.attention_width, seen)
    each = token * tokens * work.sequences / count

    def at(rate: float) -> float:
        return roofline_seconds(work.weight_bytes, device.bandwidth, each, rate)

    return at(peaks.peak), None if peaks.measured is None else at(peaks.measured)


def _training(work: ModelWork, workload: Workload, peaks: Peaks, count: int) -> Speed:
    if work.active_parameters is None:
        return Speed(peak_dtype=peaks.dtype)
    assert workload.context is not None
    flops = train_flops(
        work.active_parameters,
        work.attention_width,
        workload.context,
        work.trainable_parameters,
        recomputed=workload.remat == "full",
    )

    def at(rate: float | None) -> float | None:
        if not rate or not workload.tokens:
            return None
        return training_seconds(workload.tokens, flops, count, rate)

    return Speed(
        train_tokens_per_second=peaks.peak * count / flops if peaks.peak else None,
        training_flops_per_token=flops,
        seconds_for_tokens=at(peaks.peak),
        seconds_for_tokens_measured=at(peaks.measured),
        peak_dtype=peaks.dtype,
    )


def peaks_of(device: Device, stored_as: str = "") -> Peaks:
    """Return the peak in the dtype that weights are multiplied in: fp8 as such, or 16 bits.

    >>> from explorer.sizing.devices.catalog import find_device
    >>> peaks_of(find_device("h100")).peak, peaks_of(find_device("t4")).dtype
    (989400000000000.0, 'fp16')
    >>> peaks_of(find_device("h100"), "fp8").dtype, peaks_of(find_device("a100"), "fp8").dtype
    ('fp8', 'bf16')
    """
    is_fp8 = stored_as.startswith(("float8", "fp8"))
    for dtype in ("fp8", "bf16", "fp16") if is_fp8 else ("bf16", "fp16"):
        if dtype in device.teraflops:
            measured = device.measured.get(dtype)
            return Peaks(
                device.teraflops[dtype] * _TERA,
                None if measured is None else measured * _TERA,
                dtype,
            )
    return Peaks()
