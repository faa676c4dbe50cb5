"""The layers of a network as frozen records: sizes and rules, no arrays.

One record tree describes one model. A field that holds a layer names the layer's module,
so that the tree of records is the tree of parameters: `declare` lists the parameters from
it, and the Flax modules make the same ones.
"""

from typing import Literal

import msgspec

__all__ = [
    "Activation",
    "Attention",
    "Embedding",
    "Experts",
    "LatentAttention",
    "Layer",
    "Linear",
    "MaskedHead",
    "Mlp",
    "Norm",
    "Patches",
    "Rope",
    "RopeScaling",
    "Router",
    "Sinks",
    "Token",
]

Activation = Literal[
    "gelu", "gelu_tanh", "quick_gelu", "silu", "relu", "tanh", "sigmoid", "identity"
]
Shapes = dict[str, tuple[int, ...]]


class Layer(msgspec.Struct, frozen=True):
    """A layer: its own parameters by name, and the layers that its fields hold."""

    def parameters(self) -> Shapes:
        """Return the shapes of the arrays that this layer itself owns."""
        return {}


class Linear(Layer, frozen=True):
    """x @ kernel + bias; `stack` of them side by side, one an expert, where not 0."""

    inputs: int
    outputs: int
    bias: bool = False
    stack: int = 0

    def parameters(self) -> Shapes:
        """Return kernel [inputs, outputs] and bias [outputs], stacked [stack, ...]."""
        front = (self.stack,) if self.stack else ()
        kernel = {"kernel": (*front, self.inputs, self.outputs)}
        return kernel | ({"bias": (*front, self.outputs)} if self.bias else {})


class Norm(Layer, frozen=True):
    """Normalisation over the last axis: by mean and variance ("layer") or RMS ("rms").

    `gain` and `bias` say what is learned; `centred` stores a gain as its distance from 1.
    """

    size: int
    eps: float
    kind: Literal["rms", "layer"] = "rms"
    gain: bool = True
    bias: bool = False
    centred: bool = False

    def parameters(self) -> Shapes:
        """Return scale and bias, where they are learned."""
        scale = {"scale": (self.size,)} if self.gain else {}
        return scale | ({"bias": (self.size,)} if self.bias else {})


class Embedding(Layer, frozen=True):
    """A table of `rows` vectors, looked up; `offset` is added to an index first."""

    rows: int
    size: int
    offset: int = 0

    def parameters(self) -> Shapes:
        """Return the table."""
        return {"embedding": (self.rows, self.size)}


class Token(Layer, frozen=True):
    """One learned vector put before a sequence (a class token)."""

    size: int

    def parameters(self) -> Shapes:
        """Return the vector [1, 1, size]."""
        return {"embedding": (1, 1, self.size)}


class Patches(Layer, frozen=True):
    """A convolution that makes one vector of each patch [patch, patch, channels]."""

    patch: int
    channels: int
    size: int
    image: int

    @property
    def count(self) -> int:
        """Patches of an image."""
        return (self.image // self.patch) ** 2

    def parameters(self) -> Shapes:
        """Return kernel [patch, patch, channels, size] and bias."""
        kernel = (self.patch, self.patch, self.channels, self.size)
        return {"kernel": kernel, "bias": (self.size,)}


class RopeScaling(msgspec.Struct, frozen=True):
    """How rotary frequencies are stretched beyond the length of training.

    `original` is that length; `factors` are longrope's short and long ones; `magnitude`
    multiplies the rotated vectors (yarn, longrope).
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


class Rope(msgspec.Struct, frozen=True):
    """Rotary positions over the first `size` entries of a head.

    Pairs are halves apart, or neighbours where `interleaved`.
    """

    size: int
    theta: float = 10_000.0
    interleaved: bool = False
    scaling: RopeScaling | None = None


class Sinks(Layer, frozen=True):
    """One learned logit a head that takes attention and gives no value."""

    heads: int

    def parameters(self) -> Shapes:
        """Return the logits."""
        return {"sinks": (self.heads,)}


class Attention(Layer, frozen=True, kw_only=True):
    """Multi-head or grouped attention.

    `heads` of `head_size` entries share `kv_heads` keys and values. `window` is how many
    positions a query sees, itself included. Norms of queries and keys are over a head, or
    over all heads where their size says so. `clip` bounds queries, keys and values,
    `softcap` the logits (cap * tanh(logits / cap)).
    """

    query: Linear
    key: Linear
    value: Linear
    out: Linear
    heads: int
    kv_heads: int
    head_size: int
    scale: float
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    sinks: Sinks | None = None
    rope: Rope | None = None
    causal: bool = True
    window: int | None = None
    softcap: float | None = None
    clip: float | None = None


class LatentAttention(Layer, frozen=True, kw_only=True):
    """Multi-head latent attention (DeepSeek-V2): keys and values from one small vector.

    Queries come from `query`, or through a low rank by `query_down` and `query_up`.
    `latent_down` gives the latent of keys and values and one rotary key that all heads
    share; `latent_up` a head's key (`nope` entries) and value (`value_size`).
    """

    query: Linear | None = None
    query_down: Linear | None = None
    query_norm: Norm | None = None
    query_up: Linear | None = None
    latent_down: Linear
    latent_norm: Norm
    latent_up: Linear
    out: Linear
    heads: int
    nope: int
    value_size: int
    rope: Rope
    scale: float


class Mlp(Layer, frozen=True, kw_only=True):
    """down(act(up x)), or down(act(gate x) * (up x + up_offset)) with a gate.

    `limit` bounds the gate from above and `up` on both sides.
    """

    gate_proj: Linear | None = None
    up_proj: Linear
    down_proj: Linear
    activation: Activation
    limit: float | None = None
    up_offset: float = 0.0


class Router(Layer, frozen=True, kw_only=True):
    """Which `per_token` of the experts see a token, and with what weight.

    Scores are softmax or sigmoid of the logits. With `correction` a stored vector, no
    parameter, is added for the choice alone. With `groups`, only the `top_groups` groups of
    the largest score (their best, or the sum of their two best) take part. Weights
    are the scores of those chosen, divided by their sum where `normalize`, times `scale`.
    """

    size: int
    experts: int
    per_token: int
    score: Literal["softmax", "sigmoid"] = "softmax"
    normalize: bool = False
    scale: float = 1.0
    groups: int = 1
    top_groups: int = 1
    group_score: Literal["best", "two_best"] = "best"
    bias: bool = False
    correction: bool = False

    def parameters(self) -> Shapes:
        """Return kernel [size, experts], bias and the buffer e_score_correction_bias."""
        shapes: Shapes = {"kernel": (self.size, self.experts)}
        for name, present in (
            ("bias", self.bias),
            ("e_score_correction_bias", self.correction),
        ):
            if present:
                shapes[name] = (self.experts,)
        return shapes


class Experts(Layer, frozen=True, kw_only=True):
    """A mixture of experts: a router, stacked experts, and those that every token sees."""

    router: Router
    experts: Mlp
    shared_experts: Mlp | None = None


class MaskedHead(Layer, frozen=True, kw_only=True):
    """Logits of masked tokens: norm(act(dense x)) times the tied or own table, plus bias."""

    dense: Linear
    norm: Norm
    activation: Activation
    vocab_size: int
    decoder: Linear | None = None

    def parameters(self) -> Shapes:
        """Return the bias over the vocabulary; a decoder of its own has its kernel."""
        return {"bias": (self.vocab_size,)}
