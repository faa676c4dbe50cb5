"""The heads of a model: outputs from its last hidden states."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.architecture import Architecture
from explorer.architectures.specs import LinearSpec, MaskedHeadSpec
from explorer.models.cache import Cache
from explorer.models.embeddings import Embedding
from explorer.models.feedforward import ACTIVATIONS
from explorer.models.linear import Linear
from explorer.models.norms import Norm

__all__ = ["MaskedHead", "Outputs", "outputs_of"]


class Outputs(NamedTuple):
    """The outputs of a model, None for heads that it lacks.

    `logits` [batch, length, vocabulary], or [batch, classes] of a classifier; `hidden`
    [batch, length, size] after the final norm; `pooled` [batch, size] of the first token;
    `relationship` [batch, 2] (BERT's next-sentence head); `cache` with these tokens, where
    one was given.
    """

    logits: jax.Array | None
    hidden: jax.Array
    pooled: jax.Array | None
    relationship: jax.Array | None
    cache: Cache | None = None


class MaskedHead(nn.Module):
    """Logits of masked tokens, with its own table or the input embedding's."""

    spec: MaskedHeadSpec
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, embed: Embedding | None) -> jax.Array:
        """Return [batch, length, vocabulary] for hidden states [batch, length, size]."""
        spec, dtype = self.spec, self.param_dtype
        x = ACTIVATIONS[spec.activation](Linear(spec.dense, dtype, name="dense")(x))
        x = Norm(spec.norm, dtype, name="norm")(x)
        zeros = nn.initializers.zeros
        bias = self.param("bias", zeros, (spec.vocab_size,), dtype).astype(x.dtype)
        return _by_table(spec.decoder, "decoder", x, embed, dtype) + bias


def outputs_of(
    architecture: Architecture,
    hidden: jax.Array,
    embed: Embedding | None,
    param_dtype: DTypeLike,
) -> Outputs:
    """Return the outputs of a model; the heads become submodules of the calling module.

    Args:
        architecture: the model.
        hidden: [batch, length, size] after the final norm.
        embed: the module of the input embedding, for a tied head.
        param_dtype: of the heads.
    """
    spec = architecture
    pooled = relationship = logits = None
    if spec.pooler is not None:
        pooled = jnp.tanh(Linear(spec.pooler, param_dtype, name="pooler")(hidden[:, 0]))
    first = hidden[:, 0] if pooled is None else pooled
    if spec.relationship is not None:
        relationship = Linear(spec.relationship, param_dtype, name="relationship")(first)
    if spec.predictions is not None:
        logits = MaskedHead(spec.predictions, param_dtype, name="predictions")(
            hidden, embed
        )
    elif spec.classifier is not None:
        logits = Linear(spec.classifier, param_dtype, name="classifier")(first)
    elif spec.lm_head is not None or spec.tied:
        logits = _by_table(spec.lm_head, "lm_head", hidden, embed, param_dtype)
    return Outputs(_bounded(spec, logits), hidden, pooled, relationship)


def _by_table(
    own: LinearSpec | None,
    name: str,
    x: jax.Array,
    embed: Embedding | None,
    param_dtype: DTypeLike,
) -> jax.Array:
    """Return the products with a head's own table or, if tied, with the embedding's."""
    if own is not None:
        return Linear(own, param_dtype, name=name)(x)
    assert embed is not None, "a head without its own table is tied"
    return embed.logits(x)


def _bounded(spec: Architecture, logits: jax.Array | None) -> jax.Array | None:
    if logits is None:
        return None
    if spec.logit_scale is not None:
        logits = logits * spec.logit_scale
    if spec.logit_softcap is not None:
        logits = spec.logit_softcap * jnp.tanh(logits / spec.logit_softcap)
    return logits
