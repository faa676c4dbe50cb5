"""Roles and components from names: a truth table, and trees that libraries build."""

import re
from typing import get_args

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax.tree_util import tree_flatten_with_path

from explorer.inventory.tensor import Component, Role
from explorer.paths import path_of
from explorer.roles import spellings
from explorer.roles.names import classify, component_of_module
from tests.roles.truth import ROWS

# ---- the truth table


@pytest.mark.parametrize(("name", "shape", "role", "component"), ROWS, ids=lambda x: str(x))
def test_truth_table(name, shape, role, component):
    assert classify(path_of(name), shape) == (role, component)


_WORDS = [
    word.replace("*", "pre") for _, words in spellings.WORDS for word in words.split()
]


@given(
    st.lists(st.sampled_from([*_WORDS, "x", "foo", "block", "7"]), min_size=2, max_size=4)
)
def test_a_name_of_several_words_has_the_first_tag_of_the_table(words):
    """As the table reads from its first row to its last: a word, or "*" and its ending."""
    name = "_".join(words)
    if any(name in names.split() for names in spellings.MODULES.values()):
        return  # a name of its own
    parts = [word for word in words if not word.isdigit()]
    expected = next(
        (
            tag
            for tag, known in spellings.WORDS
            for word in known.split()
            if any(p.endswith(word[1:]) if word[0] == "*" else p == word for p in parts)
        ),
        None,
    )
    assert component_of_module(name) == expected


@pytest.mark.parametrize("prefix", ["params/", "model/", "module/", "params/model/"])
def test_what_wraps_a_whole_model_changes_nothing(prefix):
    for name, shape, role, component in ROWS:
        path = (*path_of(prefix.rstrip("/")), *path_of(name))
        assert classify(path, shape) == (role, component), path


def test_names_joined_in_one_element_are_split():
    for name, shape, role, component in ROWS:
        path = path_of(name)
        halves = ("/".join(path[:-1]), path[-1])
        assert classify(halves, shape) == (role, component)
        assert classify((".".join(path),), shape) == (role, component)


def test_the_number_of_a_layer_does_not_matter():
    for name, shape, role, component in ROWS:
        other = re.sub(r"(?<=[/.])\d+(?=[/.])|(?<=[a-z]_)\d+(?=/)", "91", name)
        assert classify(path_of(other), shape) == (role, component), other


def test_boxed_leaves_and_tensorflow_names():
    assert classify(("Dense_0", "kernel", "value"), (3, 4)) == ("kernel", "other")
    assert classify(("attention", "value", "bias", "value"), (2, 4)) == (
        "bias",
        "attention",
    )
    assert classify(("attention", "value"), (8, 8)) == ("kernel", "attention")
    assert classify(("dense/bias:0",), (4,)) == ("bias", "other")


def test_a_tree_that_is_one_array():
    assert classify((), (3, 4)) == ("kernel", "other")
    assert classify((), ()) == ("other", "other")


@given(
    st.lists(st.text(max_size=12), max_size=5).map(tuple),
    st.lists(st.integers(0, 9), max_size=5).map(tuple),
)
def test_any_name_has_a_role_and_a_component(path, shape):
    role, component = classify(path, shape)
    assert role in get_args(Role)
    assert component in get_args(Component)


# ---- trees that the libraries themselves build


def leaves(tree):
    """Return {joined path: (path, shape)} of a tree."""
    found = {}
    for keys, leaf in tree_flatten_with_path(tree)[0]:
        path = tuple(
            str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in keys
        )
        found["/".join(path)] = (path, leaf.shape)
    return found


def check(tree, truth):
    """Check every leaf against rows "path ... role component" and that none is missing."""
    rows = [row.split() for row in truth.strip().splitlines()]
    expected = {
        path: (role, component) for *paths, role, component in rows for path in paths
    }
    found = {name: classify(path, shape) for name, (path, shape) in leaves(tree).items()}
    assert found == expected


class Linen(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(11, 8)(tokens)
        x = nn.MultiHeadDotProductAttention(2, normalize_qk=True)(nn.LayerNorm()(x))
        x = nn.BatchNorm(use_running_average=False)(nn.GroupNorm(4)(nn.RMSNorm()(x)))
        x = nn.DenseGeneral(8, axis=(-2, -1))(nn.DenseGeneral((2, 4))(x))
        x = nn.PReLU()(nn.Conv(8, (3,))(x))
        x = nn.RNN(nn.OptimizedLSTMCell(8))(nn.RNN(nn.GRUCell(8))(x))
        return nn.WeightNorm(nn.Dense(8, name="embedding"))(x)


def test_linen():
    tokens = jax.ShapeDtypeStruct((2, 5), jnp.int32)
    variables = jax.eval_shape(Linen().init, jax.random.key(0), tokens)
    check(
        variables["params"],
        """
        Embed_0/embedding embedding embedding
        LayerNorm_0/scale RMSNorm_0/scale GroupNorm_0/scale BatchNorm_0/scale scale norm
        LayerNorm_0/bias GroupNorm_0/bias BatchNorm_0/bias bias norm
        MultiHeadDotProductAttention_0/query/kernel kernel attention
        MultiHeadDotProductAttention_0/key/kernel kernel attention
        MultiHeadDotProductAttention_0/value/kernel kernel attention
        MultiHeadDotProductAttention_0/out/kernel kernel attention
        MultiHeadDotProductAttention_0/query/bias bias attention
        MultiHeadDotProductAttention_0/key/bias bias attention
        MultiHeadDotProductAttention_0/value/bias bias attention
        MultiHeadDotProductAttention_0/out/bias bias attention
        MultiHeadDotProductAttention_0/query_ln/scale scale norm
        MultiHeadDotProductAttention_0/key_ln/scale scale norm
        DenseGeneral_0/kernel DenseGeneral_1/kernel Conv_0/kernel kernel other
        DenseGeneral_0/bias DenseGeneral_1/bias Conv_0/bias bias other
        PReLU_0/negative_slope scale other
        OptimizedLSTMCell_0/ii/kernel OptimizedLSTMCell_0/if/kernel kernel other
        OptimizedLSTMCell_0/ig/kernel OptimizedLSTMCell_0/io/kernel kernel other
        OptimizedLSTMCell_0/hi/kernel OptimizedLSTMCell_0/hf/kernel kernel other
        OptimizedLSTMCell_0/hg/kernel OptimizedLSTMCell_0/ho/kernel kernel other
        OptimizedLSTMCell_0/hi/bias OptimizedLSTMCell_0/hf/bias bias other
        OptimizedLSTMCell_0/hg/bias OptimizedLSTMCell_0/ho/bias bias other
        GRUCell_0/in/kernel GRUCell_0/ir/kernel GRUCell_0/iz/kernel kernel other
        GRUCell_0/hn/kernel GRUCell_0/hr/kernel GRUCell_0/hz/kernel kernel other
        GRUCell_0/in/bias GRUCell_0/ir/bias GRUCell_0/iz/bias GRUCell_0/hn/bias bias other
        embedding/kernel kernel embedding
        embedding/bias bias embedding
        WeightNorm_0/embedding/kernel/scale scale embedding
        """,
    )


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(11, 8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, rngs=rngs, normalize_qk=True)
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.bn = nnx.BatchNorm(8, rngs=rngs)
        self.conv = nnx.Conv(8, 8, (3,), rngs=rngs)
        self.lstm = nnx.OptimizedLSTMCell(8, 8, rngs=rngs)
        self.mlp = nnx.LoRALinear(8, 8, lora_rank=1, rngs=rngs)
        self.dense = nnx.LinearGeneral(8, (2, 4), rngs=rngs)


@pytest.mark.parametrize("boxed", [False, True])
def test_nnx(boxed):
    state = nnx.state(nnx.eval_shape(lambda: Nnx(nnx.Rngs(0))), nnx.Param)
    truth = """
        embed/embedding embedding embedding
        attention/query/kernel attention/key/kernel attention/value/kernel kernel attention
        attention/out/kernel kernel attention
        attention/query/bias attention/key/bias attention/value/bias bias attention
        attention/out/bias bias attention
        attention/query_ln/scale attention/key_ln/scale norm/scale bn/scale scale norm
        norm/bias bn/bias bias norm
        conv/kernel dense/kernel lstm/dense_i/kernel lstm/dense_h/kernel kernel other
        conv/bias dense/bias lstm/dense_h/bias bias other
        mlp/kernel mlp/lora/lora_a mlp/lora/lora_b kernel mlp
        mlp/bias bias mlp
        """
    if boxed:  # as Orbax stores a State
        truth = re.sub(r"(\S+/\S+)", r"\1/value", truth)
        check(jax.tree.map(lambda leaf: {"value": leaf}, nnx.to_pure_dict(state)), truth)
    else:
        check(nnx.to_pure_dict(state), truth)


def haiku_net(x):
    x = x + hk.Embed(11, 8)(jnp.zeros((2, 5), int))
    x = hk.LayerNorm(-1, create_scale=True, create_offset=True)(x)
    init = hk.initializers.Constant(1.0)
    x = hk.MultiHeadAttention(2, 4, w_init=init, model_size=8)(x, x, x)
    x = hk.BatchNorm(create_scale=True, create_offset=True, decay_rate=0.9)(x, True)
    x = hk.Conv1D(8, 3)(hk.nets.MLP([8, 8])(x))
    y, _ = hk.GRU(8)(x[:, 0], jnp.zeros((2, 8)))
    lstm = hk.LSTM(8)
    return lstm(y, lstm.initial_state(2))


def test_haiku():
    x = jax.ShapeDtypeStruct((2, 5, 8), jnp.float32)
    init = hk.transform_with_state(haiku_net).init
    params, _ = jax.eval_shape(init, jax.random.PRNGKey(0), x)
    check(
        params,
        """
        embed/embeddings embedding embedding
        layer_norm/scale batch_norm/scale scale norm
        layer_norm/offset batch_norm/offset bias norm
        multi_head_attention/query/w multi_head_attention/key/w kernel attention
        multi_head_attention/value/w multi_head_attention/linear/w kernel attention
        multi_head_attention/query/b multi_head_attention/key/b bias attention
        multi_head_attention/value/b multi_head_attention/linear/b bias attention
        mlp/~/linear_0/w mlp/~/linear_1/w kernel mlp
        mlp/~/linear_0/b mlp/~/linear_1/b bias mlp
        conv1_d/w lstm/linear/w gru/w_i gru/w_h kernel other
        conv1_d/b lstm/linear/b gru/b bias other
        """,
    )


class Equinox(eqx.Module):
    token_embedding: eqx.nn.Embedding
    attn: eqx.nn.MultiheadAttention
    norm1: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP
    conv: eqx.nn.Conv2d
    gru: eqx.nn.GRUCell
    lstm: eqx.nn.LSTMCell
    act: eqx.nn.PReLU

    def __init__(self, key):
        self.token_embedding = eqx.nn.Embedding(3, 8, key=key)
        self.attn = eqx.nn.MultiheadAttention(
            2, 8, use_query_bias=True, use_output_bias=True, key=key
        )
        self.norm1 = eqx.nn.LayerNorm(8)
        self.mlp = eqx.nn.MLP(8, 8, 8, 1, key=key)
        self.conv = eqx.nn.Conv2d(3, 8, 3, key=key)
        self.gru = eqx.nn.GRUCell(8, 8, key=key)
        self.lstm = eqx.nn.LSTMCell(8, 8, key=key)
        self.act = eqx.nn.PReLU()


def test_equinox():
    abstract = eqx.filter_eval_shape(Equinox, jax.random.key(0))
    check(
        eqx.filter(abstract, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)),
        """
        token_embedding/weight embedding embedding
        attn/query_proj/weight attn/key_proj/weight attn/value_proj/weight kernel attention
        attn/output_proj/weight kernel attention
        attn/query_proj/bias attn/output_proj/bias bias attention
        norm1/weight scale norm
        norm1/bias bias norm
        mlp/layers/0/weight mlp/layers/1/weight kernel mlp
        mlp/layers/0/bias mlp/layers/1/bias bias mlp
        conv/weight gru/weight_ih gru/weight_hh lstm/weight_ih lstm/weight_hh kernel other
        conv/bias gru/bias gru/bias_n lstm/bias bias other
        act/negative_slope scale other
        """,
    )
