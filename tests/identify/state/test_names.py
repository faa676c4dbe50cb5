"""Stored arrays that are not parameters, by name, shape and format."""

from math import prod

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax.tree_util import tree_flatten_with_path

from explorer.identify.state import state_of
from explorer.paths import path_of
from tests.facts import listing, models
from tests.roles.truth import ROWS

F32 = "float32"

# name, shape, format -> collection, rule
_STATE = [
    ("h.0.attn.bias", (1, 1, 1024, 1024), F32, "buffers", "causal masks"),
    ("h.0.attn.bias", (1, 1, 1024, 1024), "uint8", "buffers", "causal masks"),
    ("h.0.attn.attention.bias", (1, 1, 2048, 2048), "bool", "buffers", "causal masks"),
    ("layers.0.attention.bias", (1, 1, 2048, 2048), "float16", "buffers", "causal masks"),
    ("h.0.attn.masked_bias", (), F32, "buffers", "mask fill values"),
    (
        "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
        (32, 8),
        F32,
        "unused",
        "cross-attention position tables",
    ),
    (
        "dec.blk.0.cross_attn_rel_b.weight",
        (32, 8),
        F32,
        "unused",
        "cross-attention position tables",
    ),
    ("blocks.0.attn.mask", (1, 1, 128, 128), F32, "buffers", "causal masks"),
    ("blocks.0.attn.mask", (128, 128), "bool", "buffers", "attention masks"),
    ("layers.0.blocks.1.attn_mask", (64, 49, 49), F32, "buffers", "attention masks"),
    ("layers.0.self_attn.rotary_emb.inv_freq", (64,), F32, "buffers", "rotary frequencies"),
    ("rope_freqs.weight", (64,), F32, "buffers", "rotary frequencies"),
    ("rope_factors_long.weight", (48,), F32, "buffers", "rotary factors"),
    ("attn.rotary_emb.cos_cached", (1, 1, 2048, 64), F32, "buffers", "rotary tables"),
    ("embeddings.position_ids", (1, 512), "int64", "buffers", "position ids"),
    ("embeddings.position_ids", (1, 512), F32, "buffers", "position ids"),
    ("embeddings.token_type_ids", (1, 512), "int64", "buffers", "token type ids"),
    ("bn1.num_batches_tracked", (), "int64", "buffers", "batch counters"),
    ("bn1.running_mean", (64,), F32, "batch_stats", "running statistics"),
    ("bn1.running_var", (64,), F32, "batch_stats", "running statistics"),
    ("bn/moving_mean", (64,), F32, "batch_stats", "running statistics"),
    ("bn/moving_variance:0", (64,), F32, "batch_stats", "running statistics"),
    ("batch_stats/BatchNorm_0/mean", (8,), F32, "batch_stats", "running statistics"),
    ("state/batch_stats/BatchNorm_0/var", (8,), F32, "batch_stats", "running statistics"),
    (
        "mlp.gate.e_score_correction_bias",
        (256,),
        F32,
        "buffers",
        "router correction biases",
    ),
    ("blk.3.exp_probs_b.bias", (256,), F32, "buffers", "router correction biases"),
    (
        "attn.relative_position_index",
        (49, 49),
        "int64",
        "buffers",
        "relative position indices",
    ),
    ("final_logits_bias", (1, 50265), F32, "buffers", "logit biases"),
    ("fc.weight_mask", (8, 4), F32, "buffers", "pruning masks"),
    ("conv.weight_u", (8,), F32, "buffers", "power iteration vectors"),
    ("conv.parametrizations.weight.0._v", (36,), F32, "buffers", "power iteration vectors"),
    ("anything.indices", (5,), "int32", "buffers", "integer arrays"),
    ("anything.flags", (5,), "bool", "buffers", "boolean arrays"),
    (
        "layers/0/self_attn/k_scale",
        (),
        "float32",
        "quantization",
        "activation and cache scales",
    ),
    (
        "layers/0/fc1/input_scale",
        (1,),
        "float32",
        "quantization",
        "activation and cache scales",
    ),
    ("anything", (), "key<fry>", "rng_state", "random keys"),
    ("betas", (1000,), F32, "buffers", "noise schedules"),
    ("alphas_cumprod", (1000,), F32, "buffers", "noise schedules"),
    ("model_ema.decay", (), F32, "ema", "moving averages of parameters"),
    ("names", (3,), "str", "buffers", "text arrays"),
    ("seed_generator/seed_generator_state", (2,), "uint32", "rng_state", "random state"),
    ("cache/layers_0/attention/cached_key", (1, 8, 2, 4), F32, "cache", "decoding caches"),
    ("intermediates/Dense_0/0", (2, 8), F32, "intermediates", "sown intermediates"),
    ("rngs/dropout/count", (), "uint32", "rng_state", "random state"),
    ("drop/rngs/count/value", (), "uint32", "rng_state", "random state"),
]


@pytest.mark.parametrize(("name", "shape", "dtype", "collection", "rule"), _STATE)
def test_state(name, shape, dtype, collection, rule):
    assert state_of(path_of(name), shape, dtype) == (collection, rule)


_STATE_IN_TRUTH = {
    "blk.0.exp_probs_b.bias",
    "model.layers.0.self_attn.rotary_emb.inv_freq",
    "rope_factors_long.weight",
    "rope_factors_short.weight",
    "rope_freqs.weight",
}


def test_parameters_are_not_state():
    found = {name for name, shape, *_ in ROWS if state_of(path_of(name), shape, F32)}
    assert found == _STATE_IN_TRUTH


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("h.0.attn.c_attn.bias", (2304,)),
        ("h.0.attn.bias", (2304,)),  # of a fused projection
        ("attention/bias", (12, 64)),
        ("attention/bias", (1, 12, 64, 64)),  # learned, by head
        ("conv/bias", (1, 1, 8, 8)),  # outside attention
        ("conv.weight_v", (8, 4, 3)),  # a weight-normed layer's direction
        ("BatchNorm_0/mean", (8,)),  # what mean and var are, their collection says
        ("cache", (8, 8)),  # a leaf, not a collection
        ("encoder/cache/kernel", (8, 8)),
    ],
)
def test_lookalikes_are_parameters(name, shape):
    assert state_of(path_of(name), shape, "bfloat16") is None


def test_a_tree_that_is_one_array():
    assert state_of((), (3, 4), F32) is None
    assert state_of((), (3, 4), "int32") == ("buffers", "integer arrays")
    assert state_of((), (), "key<fry>") == ("rng_state", "random keys")


@given(
    st.lists(st.text(max_size=12), max_size=5).map(tuple),
    st.lists(st.integers(0, 9), max_size=5).map(tuple),
    st.sampled_from(["int8", "bool", "uint32", "key<fry>", "object"]),
)
def test_what_no_gradient_changes_is_always_state(path, shape, dtype):
    state = state_of(path, shape, dtype)
    assert state is not None
    assert state[0] != "params"


# ---- trees that the libraries themselves build


def verdicts(tree):
    """Return {joined path: collection} of the leaves that are state."""
    found = {}
    for keys, leaf in tree_flatten_with_path(tree)[0]:
        path = tuple(str(getattr(k, "key", getattr(k, "name", k))) for k in keys)
        state = state_of(path, leaf.shape, str(leaf.dtype))
        if state is not None:
            found["/".join(path)] = state[0]
    return found


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=False)(x)
        x = nn.MultiHeadDotProductAttention(2, decode=True)(x)
        return nn.SpectralNorm(nn.Dense(8))(x, update_stats=True)


def test_linen_collections():
    x = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)
    attention = "cache/MultiHeadDotProductAttention_0/"
    assert verdicts(jax.eval_shape(Linen().init, jax.random.key(0), x)) == {
        "batch_stats/BatchNorm_0/mean": "batch_stats",
        "batch_stats/BatchNorm_0/var": "batch_stats",
        "batch_stats/SpectralNorm_0/Dense_0/kernel/u": "batch_stats",
        "batch_stats/SpectralNorm_0/Dense_0/kernel/sigma": "batch_stats",
        attention + "cached_key": "cache",
        attention + "cached_value": "cache",
        attention + "cache_index": "cache",
    }


def test_nnx_random_state():
    module = nnx.eval_shape(lambda: nnx.Dropout(0.1, rngs=nnx.Rngs(0)))
    state = nnx.to_pure_dict(nnx.state(module))
    assert verdicts(state) == {"rngs/count": "rng_state", "rngs/key": "rng_state"}


def test_haiku_statistics():
    def net(x):
        return hk.BatchNorm(True, True, 0.9)(x, True)

    x = jax.ShapeDtypeStruct((2, 8), jnp.float32)
    init = hk.transform_with_state(net).init
    params, state = jax.eval_shape(init, jax.random.PRNGKey(0), x)
    assert verdicts(params) == {}
    assert set(verdicts(state).values()) == {"batch_stats"}
    assert len(verdicts(state)) == 6  # average, hidden and counter, of mean and variance


# ---- published counts


def test_published_buffers():
    for model in models():
        facts = listing(model["id"])
        found = {
            name
            for name, shape in facts["tensors"].items()
            if state_of(path_of(name), tuple(shape), F32)
        }
        assert found == set(facts.get("buffers", ())), model["id"]


def test_gpt2_file_holds_causal_masks():
    model = next(model for model in models() if model["id"] == "openai-community/gpt2")
    masks = [
        prod(shape)
        for name, (shape, _) in listing(model["id"], ondisk=True)["tensors"].items()
        if state_of(path_of(name), tuple(shape), F32) == ("buffers", "causal masks")
    ]
    assert masks == [1024 * 1024] * 12
    assert sum(masks) == model["hub_safetensors_total"] - model["total_parameters"]
