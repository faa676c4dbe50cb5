"""What a model reads and computes, on a device -> the bounds of its speed."""

import msgspec

from explorer.sizing.devices.catalog import Device
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Speed, Workload
from explorer.sizing.speed.formulas import (
    decode_seconds,
    forward_flops,
    train_flops,
    training_seconds,
)

__all__ = ["ModelWork", "speed_of"]


class ModelWork(msgspec.Struct, frozen=True, kw_only=True):
    """What one step of a model reads and computes.

    Attributes:
        active_parameters: that one token multiplies; None where nothing says it.
        attention_width: heads x head size, summed over the layers.
        read_bytes: of weights that one decoding step of all sequences reads, at least; None
            where nothing says which experts there are.
        cache_bytes: of the cache at full context, which a step reads.
        is_causal: whether tokens are generated one by one.
    """

    active_parameters: int | None
    attention_width: int
    read_bytes: float | None
    cache_bytes: int
    is_causal: bool


def speed_of(
    work: ModelWork, workload: Workload, device: Device, placement: Placement
) -> Speed:
    """Return the bounds: no run on these devices is faster; a good one is within a third.

    Args:
        work: of the model.
        workload: with its context set.
        device: of which there are as many as the placement has.
        placement: the mesh, over which work is taken to divide evenly.
    """
    count = placement.devices
    peak, measured, dtype = _peaks(device, workload)
    decode = None
    if work.is_causal and work.read_bytes is not None and device.bandwidth:
        nbytes = work.read_bytes + work.cache_bytes
        decode = workload.batch / decode_seconds(nbytes / count, device.bandwidth)
    assert workload.context is not None
    prefill = prefill_measured = None
    flops = train = None
    if work.active_parameters is not None:
        # a causal mask leaves half of the square of attention
        each = forward_flops(
            work.active_parameters, work.attention_width, workload.context // 2
        )
        flops = each * workload.context * workload.batch
        train = train_flops(work.active_parameters, work.attention_width, workload.context)
        if peak and not workload.train:
            prefill = flops / (peak * count)
            prefill_measured = None if measured is None else flops / (measured * count)
    train_seconds = train_measured = None
    if workload.train and train is not None and peak and workload.tokens:
        train_seconds = training_seconds(workload.tokens, train, count, peak)
        if measured is not None:
            train_measured = training_seconds(workload.tokens, train, count, measured)
    generate = None
    if not workload.train and workload.tokens and decode:
        generate = workload.tokens / decode
    return Speed(
        decode_tokens_per_second=decode,
        prefill_seconds=prefill,
        prefill_seconds_measured=prefill_measured,
        training_flops_per_token=train if workload.train else None,
        seconds_for_tokens=train_seconds if workload.train else generate,
        seconds_for_tokens_measured=train_measured,
        peak_dtype=dtype,
    )


def _peaks(device: Device, workload: Workload) -> tuple[float | None, float | None, str]:
    """Return the peak and the best measured rate in the workload's dtype, and which it is."""
    wanted = ("bf16", "fp16")
    if (workload.dtype or "").startswith("float8") or (workload.quantize or "").startswith(
        "fp8"
    ):
        wanted = ("fp8", *wanted)
    for dtype in wanted:
        if dtype in device.teraflops:
            measured = device.measured.get(dtype)
            return (
                device.teraflops[dtype] * 1e12,
                None if measured is None else measured * 1e12,
                dtype,
            )
    return None, None, ""
