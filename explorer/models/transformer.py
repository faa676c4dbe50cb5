"""The Flax module of any architecture."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from explorer.architectures.architecture import Architecture
from explorer.architectures.declaration import layer_name
from explorer.errors import InputError
from explorer.models.attention import Implementation, unsupported, uses_cudnn
from explorer.models.block import Block, Stage
from explorer.models.cache import Cache, CacheView
from explorer.models.embeddings import Embedding, Patches, Token
from explorer.models.heads import Outputs, outputs_of
from explorer.models.masks import (
    AttentionInputs,
    attention_inputs,
    prefill_inputs,
    step_inputs,
)
from explorer.models.norms import normed
from explorer.models.packing import starts_of_runs
from explorer.models.remat import rematerialised

__all__ = ["Outputs", "Transformer"]


class Transformer(nn.Module):
    """The model of an architecture: tokens or pixels in, logits and hidden states out.

    `scan` stacks identical layers along a leading axis of their parameters and scans over
    them. `dtype` is that of the hidden states, None for the embedding's; norms, routers and
    softmaxes are always computed in float32. `remat` names what the backward pass recomputes
    in each layer: "full" everything but a layer's input, "dots" everything but matrix
    products, "dots_no_batch" everything but products with parameters. `implementation` is
    that of attention: "cudnn" for NVIDIA's fused kernels, otherwise XLA's.

    >>> from explorer.architectures.families import architecture_of
    >>> config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
    ...           "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    >>> model = Transformer(architecture_of(config))
    >>> ids = jnp.zeros((1, 8), int)
    >>> params = model.init(jax.random.key(0), ids)
    >>> model.apply(params, ids).logits.shape
    (1, 8, 100)
    """

    architecture: Architecture
    scan: bool = False
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32
    remat: str | None = None
    implementation: Implementation | None = None

    def __post_init__(self) -> None:
        """Raise if the architecture can only be counted."""
        self.architecture.check_built()
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        input_ids: jax.Array,
        *,
        attention_mask: jax.Array | None = None,
        position_ids: jax.Array | None = None,
        token_type_ids: jax.Array | None = None,
        segment_ids: jax.Array | None = None,
        cache: Cache | None = None,
        prompt_lengths: jax.Array | None = None,
    ) -> Outputs:
        """Return logits and hidden states.

        With a cache, those of each sequence's last token alone, [batch, 1, ...]; and the cache.

        Args:
            input_ids: [batch, length]; pixels [batch, height, width, channels] for vision
                models.
            attention_mask: [batch, length], 0 for padding, which no query attends to.
            position_ids: [batch or 1, length]; by default each token's index (RoBERTa: its
                number among the tokens that are not padding, from 1).
            token_type_ids: [batch, length], for models that embed them; 0 by default.
            segment_ids: [batch, length], for rows that several sequences share: each is a run
                of one number, 0 for padding; a token attends to its own sequence, and its
                position is counted in it. Pooled outputs are of each row's first token.
            cache: of `make_cache`: an empty one that prompts fill, or that of the tokens
                before, to which `input_ids` [batch, 1] are the next.
            prompt_lengths: [batch], tokens of each prompt, which padding follows; None where
                `input_ids` are the next tokens.

        Raises:
            InputError: an input of the wrong dtype or shape, a row longer than the position
                embedding, `segment_ids` where they cannot be, an unknown `remat`, or attention
                that cuDNN does not support.
        """
        spec, dtype = self.architecture, self.param_dtype
        embed = None
        if spec.patch_embed is not None:
            x = Patches(spec.patch_embed, self.dtype, dtype, name="patch_embed")(input_ids)
        else:
            _check_kind(input_ids)
            embed = self._embedding("embed")
            x = embed(input_ids)
        if spec.embed_scale is not None:
            x = x * jnp.asarray(spec.embed_scale, x.dtype)
        if spec.cls_token is not None:
            x = Token(spec.cls_token, dtype, name="cls_token")(x)
        batch, length = x.shape[:2]
        _check_shape("attention_mask", attention_mask, (batch, length))
        _check_shape("position_ids", position_ids, (batch, length), (1, length))
        _check_shape("token_type_ids", token_type_ids, (batch, length))
        runs = self._runs(segment_ids, attention_mask, cache, (batch, length))
        if cache is not None:
            position_ids = _cached_positions(cache, prompt_lengths, length)
        elif position_ids is None:
            position_ids = _default_positions(spec, input_ids, length, runs)
        x = self._add_positions(x, position_ids, token_type_ids)
        if cache is None:
            inputs = attention_inputs(spec, position_ids, attention_mask, runs)
            x, _ = self._layers(x, inputs)
            hidden = normed(spec.final_norm, x, dtype, "final_norm")
            return outputs_of(spec, hidden, embed, dtype)
        if prompt_lengths is not None:
            inputs = prefill_inputs(spec, position_ids, prompt_lengths)
            lengths = prompt_lengths
        else:
            inputs, lengths = step_inputs(spec, cache, self.scan), cache.lengths + 1
        x, layers = self._layers(x, inputs, cache.layers)
        if prompt_lengths is not None:
            x = jnp.take_along_axis(x, (lengths - 1)[:, None, None], 1)
        hidden = normed(spec.final_norm, x, dtype, "final_norm")
        outputs = outputs_of(spec, hidden, embed, dtype)
        return outputs._replace(cache=Cache(layers, lengths))

    @nn.nowrap
    def _runs(
        self,
        segment_ids: jax.Array | None,
        attention_mask: jax.Array | None,
        cache: Cache | None,
        shape: tuple[int, ...],
    ) -> jax.Array | None:
        """Return where each token's sequence starts in its row; None for one a row."""
        if segment_ids is None:
            return None
        for name, given in (("attention_mask", attention_mask), ("a cache", cache)):
            if given is not None:
                found = f"given with {name}"
                cure = "0 in segment_ids is padding" if name == "attention_mask" else ""
                raise InputError("segment_ids", found=found, expected="without", cure=cure)
        if self.architecture.patch_embed is not None:
            raise InputError("segment_ids", found="given for images", expected="tokens")
        if uses_cudnn(self.implementation):
            raise unsupported("its rows hold several sequences")
        _check_shape("segment_ids", segment_ids, shape)
        return starts_of_runs(segment_ids)

    @nn.nowrap
    def _embedding(self, name: str) -> Embedding:
        spec = getattr(self.architecture, name)
        return Embedding(spec, self.dtype, self.param_dtype, name=name)

    @nn.nowrap
    def _add_positions(
        self, x: jax.Array, positions: jax.Array, types: jax.Array | None
    ) -> jax.Array:
        """Return the embeddings with learned positions and token types added."""
        spec = self.architecture
        if spec.type_embed is not None:
            types = jnp.zeros((1, 1), jnp.int32) if types is None else types
            x = x + self._embedding("type_embed")(types)
        if spec.position_embed is not None:
            x = x + self._embedding("position_embed")(positions)
        return normed(spec.embed_norm, x, self.param_dtype, "embed_norm")

    @nn.nowrap
    def _layers(
        self,
        x: jax.Array,
        inputs: list[tuple[AttentionInputs, ...]],
        caches: tuple[Any, ...] | None = None,
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        """Return the hidden states after all blocks, and the caches of all layers."""
        settings = (self.param_dtype, self.implementation)
        repeated = rematerialised(Stage, self.remat, scanned=True)
        single = rematerialised(Block, self.remat, scanned=False)
        stored: list[Any] = []
        layer = 0
        for number, (stage, own) in enumerate(
            zip(self.architecture.stages, inputs, strict=True)
        ):
            if self.scan:
                scanned = nn.scan(
                    repeated,
                    variable_axes={"params": 0, "intermediates": 0},
                    split_rngs={"params": True},
                    in_axes=(nn.broadcast, 0),  # pyright: ignore[reportArgumentType]
                    length=stage.repeats,
                )
                body = scanned(stage.blocks, *settings, name=f"stages_{number}")
                kept = None if caches is None else caches[number]
                repeat = None if caches is None else jnp.arange(stage.repeats)
                (x, kept), _ = body((x, kept), own, repeat)
                stored.append(kept)
                continue
            for block, each in zip(stage.blocks * stage.repeats, own * stage.repeats):
                module = single(block, *settings, name=layer_name(layer))
                if caches is None:
                    x = module(x, each)
                else:
                    x, kept = module(x, each, CacheView(caches[layer]))
                    stored.append(kept)
                layer += 1
        return x, tuple(stored)


def _cached_positions(
    cache: Cache, prompt_lengths: jax.Array | None, length: int
) -> jax.Array:
    """Return each token's index; that of a prompt's last token in the padding after it."""
    if prompt_lengths is None:
        return cache.lengths[:, None]
    return jnp.minimum(jnp.arange(length), prompt_lengths[:, None] - 1)


def _default_positions(
    spec: Architecture, ids: jax.Array, length: int, runs: jax.Array | None
) -> jax.Array:
    """Return each token's index, or its number among the tokens that are not padding.

    Both are counted from where the token's sequence starts.
    """
    table = spec.position_embed
    if table is not None:
        # numbers of tokens start from 1, indices from 0
        longest = table.rows - table.offset - (spec.pad_token is not None)
        if length > longest:
            raise InputError(
                "input_ids",
                found=f"a sequence of {length} tokens",
                expected=f"at most {longest}, the number of positions",
            )
    if spec.pad_token is None:
        index = jnp.arange(length)[None]
        return index if runs is None else index - runs
    real = (ids != spec.pad_token).astype(jnp.int32)
    numbers = jnp.cumsum(real, -1)
    if runs is not None:
        before = jnp.take_along_axis(numbers - real, runs, -1)
        numbers = numbers - before
    return numbers * real


def _check_kind(ids: jax.Array) -> None:
    if ids.ndim != 2 or not jnp.issubdtype(ids.dtype, jnp.integer):
        raise InputError(
            "input_ids",
            found=f"{ids.dtype} of shape {ids.shape}",
            expected="integers [batch, length]",
        )


def _check_shape(name: str, array: jax.Array | None, *shapes: tuple[int, ...]) -> None:
    if array is None:
        return
    shape = getattr(array, "shape", None)
    if shape not in shapes:
        found = f"a {type(array).__name__}" if shape is None else f"shape {shape}"
        allowed = " or ".join(map(str, shapes))
        raise InputError(name, found=found, expected=f"shape {allowed}")
