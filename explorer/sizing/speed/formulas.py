"""Bounds of time from bytes and operations: a device can be slower than these, never faster.

References:
    Williams, Waterman, Patterson: Roofline (2009): time is at least bytes over bandwidth, and
    at least operations over the peak.
    Chowdhery et al., PaLM (2022), appendix B: 6 N + 12 L H Q T operations a trained token.
    Kaplan et al., Scaling laws (2020): 2 N operations a token forward, 6 N to train.
"""

__all__ = [
    "decode_seconds",
    "expected_share",
    "forward_flops",
    "mfu",
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


def train_flops(parameters: int, attention_width: int, context: int) -> int:
    """Return the operations of one trained token: forward, and twice that backward.

    The whole square of attention is counted, as PaLM's convention does, though a causal mask
    needs half.

    >>> train_flops(1, 0, 0)
    6
    """
    return 3 * forward_flops(parameters, attention_width, context)


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
