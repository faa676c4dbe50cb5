"""What data-parallel copies of a model divide among each other, as ZeRO and DeepSpeed count it.

References:
    Rajbhandari et al., ZeRO (2020), figure 1: 2 + 2 + K bytes a parameter, K = 12 for Adam in
    mixed precision.
    deepspeedai/DeepSpeed deepspeed/runtime/zero/{stage_1_and_2,stage3}.py (2024):
    estimate_zero2_model_states_mem_needs, estimate_zero3_model_states_mem_needs.
"""

__all__ = ["deepspeed_zero2", "deepspeed_zero3", "zero_bytes"]


def zero_bytes(parameters: int, devices: int, stage: int, state: int = 12) -> float:
    """Return the bytes of model state on each device, parameters and gradients in 16 bits.

    Args:
        parameters: of the model.
        devices: that hold copies of it.
        stage: 0 to 3: nothing, optimizer state, gradients too, parameters too are divided.
        state: bytes of optimizer state and master copies a parameter.

    >>> [round(zero_bytes(7_500_000_000, 64, stage) / 1e9, 2) for stage in range(4)]
    [120.0, 31.41, 16.64, 1.88]
    """
    held = [2.0, 2.0, float(state)]  # parameters, gradients, state
    for level in range(stage):
        held[2 - level] /= devices
    return parameters * sum(held)


def deepspeed_zero2(
    parameters: int, devices: int, offload: bool, extra: float = 1.5
) -> tuple[float, float]:
    """Return the bytes of each device and of the host by DeepSpeed's estimator of stage 2.

    Args:
        parameters: of the model.
        devices: of one node.
        offload: whether optimizer state is on the host.
        extra: the estimator's buffer factor.

    >>> gpu, cpu = deepspeed_zero2(2_851_000_000, 8, offload=False)
    >>> round(gpu / 2**30, 2), round(cpu / 2**30, 2)
    (15.93, 127.45)
    """
    if offload:
        gpu = 2.0 * parameters
        cpu = parameters * max(4 * devices, 16) * extra
    else:
        gpu = 4.0 * parameters + 16 * parameters / devices
        cpu = parameters * 4 * devices * extra
    return gpu, cpu


def deepspeed_zero3(
    parameters: int, largest: int, devices: int, offload: str, extra: float = 1.5
) -> tuple[float, float]:
    """Return the bytes of each device and of the host by DeepSpeed's estimator of stage 3.

    The model is made under zero.Init, layer by layer.

    Args:
        parameters: of the model.
        largest: parameters of its largest layer.
        devices: of one node.
        offload: "parameters" (and optimizer state), "optimizer" or "none".
        extra: the estimator's buffer factor.

    >>> for offload in ("parameters", "optimizer", "none"):
    ...     gpu, cpu = deepspeed_zero3(2_851_000_000, 32_000_000, 8, offload)
    ...     print(f"{gpu / 2**30:.2f} {cpu / 2**30:.2f}")
    0.12 71.69
    0.78 63.72
    6.09 1.43
    """
    layer = 4.0 * largest
    if offload == "parameters":
        return layer, parameters * 18 * extra
    if offload == "optimizer":
        return layer + 2 * parameters / devices, parameters * 16 * extra
    return layer + 18 * parameters / devices, largest * 4 * devices * extra
