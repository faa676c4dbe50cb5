"""The layout of leaves in stored tensors: laid out and back, bit by bit, as NumPy says."""

import numpy as np
import pytest

from explorer.architectures.declaration import declare
from explorer.architectures.families import architecture_of, checkpoint_names_of
from explorer.architectures.stored_tensors import stored_tensors
from explorer.architectures.tensor_layout import KEEP, TRANSPOSED, TensorLayout

_SIZE, _HEADS = 12, 3
_WORDS = {
    "hidden_size": _SIZE,
    "num_hidden_layers": 1,
    "num_attention_heads": _HEADS,
    "intermediate_size": 20,
    "vocab_size": 30,
    "max_position_embeddings": 8,
}
_CONFIGS = {
    "gpt2": {"n_embd": _SIZE, "n_layer": 1, "n_head": _HEADS, "n_positions": 8, "vocab_size": 30},
    "gpt_neox": _WORDS | {"rotary_pct": 0.5},
    "vit": _WORDS | {"image_size": 12, "patch_size": 4, "num_channels": 2},
    "bert": _WORDS | {"architectures": ["BertForPreTraining"]},
}  # fmt: skip


def leaves_and_stored(family):
    """Return random leaves of a small model by path, and what its checkpoint stores."""
    architecture = architecture_of({"model_type": family} | _CONFIGS[family])
    rng = np.random.default_rng(0)
    leaves = {
        leaf.path: rng.standard_normal(leaf.shape, np.float32)
        for leaf in declare(architecture)
    }
    return leaves, stored_tensors(architecture, checkpoint_names_of(architecture))


def parts(leaves, leaf):
    """Return the queries', keys' and values' kernels or biases of the only layer."""
    return [leaves["layers_0", "attention", n, leaf] for n in ("query", "key", "value")]


def laid(leaves, stored, name):
    return stored[name].layout.store([leaves[path] for path in stored[name].leaves])


@pytest.mark.parametrize("family", _CONFIGS)
def test_every_tensor_comes_back_bit_by_bit(family):
    leaves, stored = leaves_and_stored(family)
    again = {}
    for name, tensor in stored.items():
        array = laid(leaves, stored, name)
        assert array.shape == tensor.shape
        shapes = [leaves[path].shape for path in tensor.leaves]
        again |= dict(zip(tensor.leaves, tensor.layout.leaves(array, shapes), strict=True))
    assert again.keys() == leaves.keys()
    for path, leaf in leaves.items():
        assert again[path].dtype == leaf.dtype
        np.testing.assert_array_equal(again[path], leaf)


def test_gpt2_puts_queries_keys_and_values_side_by_side():
    leaves, stored = leaves_and_stored("gpt2")
    x = np.random.default_rng(1).standard_normal((5, _SIZE), np.float32)
    fused = x @ laid(leaves, stored, "transformer.h.0.attn.c_attn.weight")
    fused += laid(leaves, stored, "transformer.h.0.attn.c_attn.bias")
    kernels, biases = parts(leaves, "kernel"), parts(leaves, "bias")
    for got, kernel, bias in zip(np.split(fused, 3, axis=1), kernels, biases, strict=True):
        np.testing.assert_allclose(got, x @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_gpt_neox_puts_them_head_by_head():
    leaves, stored = leaves_and_stored("gpt_neox")
    name = "gpt_neox.layers.0.attention.query_key_value"
    kernel, bias = (laid(leaves, stored, f"{name}.{n}") for n in ("weight", "bias"))
    each = _SIZE // _HEADS
    assert kernel.shape == (3 * _SIZE, _SIZE)
    for part, (k, b) in enumerate(zip(parts(leaves, "kernel"), parts(leaves, "bias"))):
        for head in range(_HEADS):
            mine = slice(head * each, (head + 1) * each)
            start = (head * 3 + part) * each
            np.testing.assert_array_equal(kernel[start : start + each], k[:, mine].T)
            np.testing.assert_array_equal(bias[start : start + each], b[mine])


def test_vit_stores_its_convolution_outputs_first():
    leaves, stored = leaves_and_stored("vit")
    weight = laid(leaves, stored, "vit.embeddings.patch_embeddings.projection.weight")
    kernel = leaves["patch_embed", "kernel"]
    assert weight.shape == (_SIZE, 2, 4, 4)
    for row, column, channel, output in np.ndindex(kernel.shape):
        assert weight[output, channel, row, column] == kernel[row, column, channel, output]


def test_vit_stores_its_positions_as_a_batch_of_one():
    leaves, stored = leaves_and_stored("vit")
    positions = laid(leaves, stored, "vit.embeddings.position_embeddings")
    assert positions.shape == (1, 10, _SIZE)
    np.testing.assert_array_equal(positions[0], leaves["position_embed", "embedding"])


@pytest.mark.parametrize("layout", [KEEP, TRANSPOSED, TensorLayout(axes=(1, 0), axis=1)])
def test_one_leaf_is_not_copied(layout):
    leaf = np.arange(6.0).reshape(2, 3)
    stored = layout.store([leaf])
    assert np.shares_memory(stored, leaf)
    (again,) = layout.leaves(stored, [leaf.shape])
    assert np.shares_memory(again, leaf)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("axes", [None, (1, 0)])
def test_leaves_of_different_sizes_share_a_tensor(axis, groups, axes):
    layout = TensorLayout(axes=axes, axis=axis, groups=groups)
    widths = (4, 2, 6)
    joined = (axis if axes is None else 1 - axis % 2) % 2
    shapes = [(w, 8) if joined == 0 else (8, w) for w in widths]
    leaves = [np.random.default_rng(w).standard_normal(s) for w, s in zip(widths, shapes)]
    stored = layout.store(leaves)
    assert stored.shape == layout.shape(shapes)
    assert sorted(stored.ravel()) == sorted(np.concatenate([x.ravel() for x in leaves]))
    for again, leaf in zip(layout.leaves(stored, shapes), leaves, strict=True):
        np.testing.assert_array_equal(again, leaf)
