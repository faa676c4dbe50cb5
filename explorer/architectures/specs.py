"""The layers of a network as frozen records: sizes and settings, no arrays.

A tree of records describes a model. A field that holds a record is named as the Flax module
is, so the tree of records is also the tree of parameters: `declare` lists the parameters
from it, and the Flax modules create the same ones.
"""

from typing import Literal

import msgspec

__all__ = [
    "Activation",
    "EmbeddingSpec",
    "ExpertsSpec",
    "LayerSpec",
    "LinearSpec",
    "MaskedHeadSpec",
    "MlpSpec",
    "NormSpec",
    "PatchesSpec",
    "RouterSpec",
    "Shapes",
    "TokenSpec",
]

Activation = Literal[
    "gelu", "gelu_tanh", "quick_gelu", "silu", "relu", "tanh", "sigmoid", "identity"
]
Shapes = dict[str, tuple[int, ...]]


class LayerSpec(msgspec.Struct, frozen=True):
    """A layer: the parameters it owns, by name, and the sublayers in its fields."""

    def parameters(self) -> Shapes:
        """Return the shapes of the arrays that this layer itself owns."""
        return {}


class LinearSpec(LayerSpec, frozen=True):
    """x @ kernel + bias; with `stack`, that many stacked along a leading axis (experts)."""

    inputs: int
    outputs: int
    bias: bool = False
    stack: int = 0

    def parameters(self) -> Shapes:
        """Return kernel [inputs, outputs] and bias [outputs], stacked [stack, ...]."""
        front = (self.stack,) if self.stack else ()
        kernel = {"kernel": (*front, self.inputs, self.outputs)}
        return kernel | ({"bias": (*front, self.outputs)} if self.bias else {})


class NormSpec(LayerSpec, frozen=True):
    """Normalisation over the last axis: LayerNorm ("layer") or RMSNorm ("rms").

    `gain` and `bias` are true where they are learned; `centred` stores a gain minus 1.
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


class EmbeddingSpec(LayerSpec, frozen=True):
    """A lookup table of `rows` vectors; `offset` is added to each index first."""

    rows: int
    size: int
    offset: int = 0

    def parameters(self) -> Shapes:
        """Return the table [rows, size]."""
        return {"embedding": (self.rows, self.size)}


class TokenSpec(LayerSpec, frozen=True):
    """One learned vector prepended to a sequence (a class token)."""

    size: int

    def parameters(self) -> Shapes:
        """Return the vector [1, 1, size]."""
        return {"embedding": (1, 1, self.size)}


class PatchesSpec(LayerSpec, frozen=True):
    """A convolution that maps each patch [patch, patch, channels] to a vector."""

    patch: int
    channels: int
    size: int
    image: int

    @property
    def count(self) -> int:
        """Number of patches in an image."""
        return (self.image // self.patch) ** 2

    def parameters(self) -> Shapes:
        """Return kernel [patch, patch, channels, size] and bias [size]."""
        kernel = (self.patch, self.patch, self.channels, self.size)
        return {"kernel": kernel, "bias": (self.size,)}


class MlpSpec(LayerSpec, frozen=True, kw_only=True):
    """down(act(up x)); with a gate, down(act(gate x) * (up x + up_offset)).

    `limit` clips the gate from above and `up` on both sides.
    """

    gate_proj: LinearSpec | None = None
    up_proj: LinearSpec
    down_proj: LinearSpec
    activation: Activation
    limit: float | None = None
    up_offset: float = 0.0


class RouterSpec(LayerSpec, frozen=True, kw_only=True):
    """The rule that picks `per_token` experts for each token, and their weights.

    Scores are the softmax or sigmoid of the logits. With `correction`, a stored vector (a
    buffer) is added to the scores for the selection only. With `groups`, only experts of
    the `top_groups` best groups are candidates; a group's score is its best expert's, or the
    sum of its two best. Weights are the scores of the selected experts, divided by their
    sum if `normalize`, times `scale`.
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
        if self.bias:
            shapes["bias"] = (self.experts,)
        if self.correction:
            shapes["e_score_correction_bias"] = (self.experts,)
        return shapes


class ExpertsSpec(LayerSpec, frozen=True, kw_only=True):
    """A mixture of experts: router, stacked experts, and experts shared by every token."""

    router: RouterSpec
    experts: MlpSpec
    shared_experts: MlpSpec | None = None


class MaskedHeadSpec(LayerSpec, frozen=True, kw_only=True):
    """Masked-token logits: norm(act(dense x)) @ table + bias, the table tied or its own."""

    dense: LinearSpec
    norm: NormSpec
    activation: Activation
    vocab_size: int
    decoder: LinearSpec | None = None

    def parameters(self) -> Shapes:
        """Return the bias over the vocabulary; an untied `decoder` owns its kernel."""
        return {"bias": (self.vocab_size,)}
