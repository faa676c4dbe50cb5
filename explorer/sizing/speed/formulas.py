"""Bounds of time from bytes and operations: a device can be slower than these, never faster.

References:
    Williams, Waterman, Patterson: Roofline (2009): time is at least bytes over bandwidth, and
    at least operations over the peak.
    Chowdhery et al., PaLM (2022), appendix B: 6 N + 12 L H Q T operations a trained token.
    Kaplan et al., Scaling laws (2020): 2 N operations a token forward, 6 N to train.
    Austin et al., How to Scale Your Model (2025), "Inference": the batch at which a step is
    bound by operations rather than by bandwidth.
    Hu et al., LoRA (2021): frozen matrices have no gradient of their own.
"""

__all__ = [
    "critical_batch",
    "decode_seconds",
    "dollars",
    "expected_share",
    "forward_flops",
    "kilowatt_hours",
    "mfu",
    "roofline_seconds",
    "train_flops",
    "training_seconds",
]


def forward_flops(parameters: int, attention_width: int, context: int) -> int:
    """Return the operations of one token forward.

    Args:
        parameters: active ones that multiply it.
        attention_width: heads x head size, summed over the layers that attend.
        context: tokens that it attends to.

    >>> forward_flops(7_000_000_000, 32 * 4096, 4096)
    16147483648
    """
    return 2 * parameters + 4 * attention_width * context


def train_flops(
    parameters: int,
    attention_width: int,
    context: int,
    trainable: int | None = None,
    recomputed: bool = False,
) -> int:
    """Return the operations of one trained token: forward, and twice that backward.

    The whole square of attention is counted, as PaLM's convention does, though a causal mask
    needs half.

    Args:
        parameters, attention_width, context: as for `forward_flops`.
        trainable: parameters that have a gradient (adapters); None for all of them. Frozen
            ones pass gradients on, which is 2 of their 6 operations less.
        recomputed: whether the forward pass runs again in the backward pass (remat "full"):
            operations that a device makes and that MFU does not count.

    >>> train_flops(1, 0, 0), train_flops(1, 0, 0, recomputed=True)
    (6, 8)
    >>> train_flops(1000, 0, 0, trainable=10)
    4060
    """
    flops = 3 * forward_flops(parameters, attention_width, context)
    if trainable is not None:
        flops += 6 * trainable - 2 * parameters
    if recomputed:
        flops += forward_flops(parameters, attention_width, context)
    return flops


def mfu(
    tokens_per_second: float,
    parameters: int,
    attention_width: int,
    context: int,
    peak: float,
) -> float:
    """Return the share of the peak that a measured rate of training uses.

    Args:
        tokens_per_second: of one device.
        parameters, attention_width, context: as for `train_flops`.
        peak: operations a second of one device.

    >>> round(mfu(10643, 6_658_859_008, 32 * 4096, 2048, 989.5e12), 4)
    0.4644
    """
    return tokens_per_second * train_flops(parameters, attention_width, context) / peak


def decode_seconds(nbytes: float, bandwidth: float) -> float:
    """Return the least time of one decoding step: each byte that it needs is read once.

    >>> decode_seconds(16e9, 1e12)
    0.016
    """
    return nbytes / bandwidth


def roofline_seconds(nbytes: float, bandwidth: float, flops: float, peak: float) -> float:
    """Return the least time of a program that moves bytes and computes at the same time.

    Args:
        nbytes: that are read from memory.
        bandwidth: bytes a second; 0 where it is not known.
        flops: operations.
        peak: operations a second; 0 where it is not known.

    >>> roofline_seconds(16e9, 1e12, 16e9, 1e14), roofline_seconds(16e9, 1e12, 16e12, 1e14)
    (0.016, 0.16)
    """
    moving = nbytes / bandwidth if bandwidth else 0.0
    return max(moving, flops / peak if peak else 0.0)


def critical_batch(peak: float, bandwidth: float, bytes_per_weight: float) -> float:
    """Return the sequences from which on weights are read faster than they are multiplied.

    >>> round(critical_batch(197e12, 819e9, 2)), round(critical_batch(197e12, 819e9, 1))
    (241, 120)
    """
    return peak * bytes_per_weight / (2 * bandwidth)


def expected_share(picked: int, of: int, tokens: int) -> float:
    """Return the expected share of experts that tokens touch which pick evenly.

    1 - (1 - k / n)^tokens.

    >>> expected_share(2, 8, 1), round(expected_share(2, 8, 8), 3)
    (0.25, 0.9)
    """
    return 1.0 - (1.0 - picked / of) ** tokens


def training_seconds(tokens: int, flops: int, devices: int, rate: float) -> float:
    """Return the time to train on tokens.

    Args:
        tokens: how many.
        flops: operations of each.
        devices: that share them evenly.
        rate: operations a second of one device.

    >>> training_seconds(10**9, 6 * 10**9, 8, 1e15)
    750.0
    """
    return tokens * flops / (devices * rate)


def dollars(seconds: float, devices: int, price: float) -> float:
    """Return the cost of devices for a time.

    Args:
        seconds: how long.
        devices: how many.
        price: of one, an hour.

    >>> dollars(3600, 8, 2.0)
    16.0
    """
    return seconds / 3600 * devices * price


def kilowatt_hours(seconds: float, devices: int, watts: float) -> float:
    """Return the energy that boards take at their full power, without hosts and cooling.

    >>> kilowatt_hours(3600, 8, 700)
    5.6
    """
    return seconds / 3600 * devices * watts / 1000
