"""Attention and rotary positions as frozen records."""

from typing import Literal

import msgspec

from explorer.architectures.specs import LayerSpec, LinearSpec, NormSpec, Shapes

__all__ = ["AttentionSpec", "LatentAttentionSpec", "RopeScaling", "RopeSpec", "SinksSpec"]


class RopeScaling(msgspec.Struct, frozen=True):
    """How rotary frequencies are scaled for sequences longer than in training.

    `original` is the training length; `short` and `long` are longrope's factors;
    `magnitude` multiplies the rotated vectors (yarn, longrope).
    """

    kind: Literal["linear", "dynamic", "llama3", "yarn", "longrope"]
    factor: float = 1.0
    original: int = 0
    low: float = 1.0
    high: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    magnitude: float = 1.0
    short: tuple[float, ...] = ()
    long: tuple[float, ...] = ()


class RopeSpec(msgspec.Struct, frozen=True):
    """Rotary positions over the first `size` entries of a head.

    Entry i is paired with entry i + size / 2, or with its neighbour if `interleaved`.
    """

    size: int
    theta: float = 10_000.0
    interleaved: bool = False
    scaling: RopeScaling | None = None


class SinksSpec(LayerSpec, frozen=True):
    """One learned logit per head that takes part in the softmax and has no value."""

    heads: int

    def parameters(self) -> Shapes:
        """Return the logits [heads]."""
        return {"sinks": (self.heads,)}


class AttentionSpec(LayerSpec, frozen=True, kw_only=True):
    """Multi-head or grouped-query attention.

    `heads` query heads of `head_size` entries share `kv_heads` keys and values. `window` is
    the number of positions that a query attends to, its own included. Norms of queries and
    keys are per head, or over all heads if their size is that of all heads. `clip` clips
    queries, keys and values; `softcap` bounds the logits: cap * tanh(logits / cap).
    """

    query: LinearSpec
    key: LinearSpec
    value: LinearSpec
    out: LinearSpec
    heads: int
    kv_heads: int
    head_size: int
    scale: float
    query_norm: NormSpec | None = None
    key_norm: NormSpec | None = None
    sinks: SinksSpec | None = None
    rope: RopeSpec | None = None
    causal: bool = True
    window: int | None = None
    softcap: float | None = None
    clip: float | None = None


class LatentAttentionSpec(LayerSpec, frozen=True, kw_only=True):
    """Multi-head latent attention (DeepSeek-V2): keys and values from one small vector.

    Queries come from `query`, or through a low rank by `query_down` and `query_up`.
    `latent_down` gives the latent and one rotary key shared by all heads; `latent_up` gives
    each head's key (`nope` entries without rotation) and value (`value_size` entries).
    """

    query: LinearSpec | None = None
    query_down: LinearSpec | None = None
    query_norm: NormSpec | None = None
    query_up: LinearSpec | None = None
    latent_down: LinearSpec
    latent_norm: NormSpec
    latent_up: LinearSpec
    out: LinearSpec
    heads: int
    nope: int
    value_size: int
    rope: RopeSpec
    scale: float
