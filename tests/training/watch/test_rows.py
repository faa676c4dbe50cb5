"""Every tensor is a row, every layer of a stack is one, under names that do not depend on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from explorer.architectures.declaration import declare
from explorer.architectures.families import architecture_of
from explorer.models.stacking import stack_layers
from explorer.training.watch.watch import Watch
from tests.training.watch.test_watch import close, expected, normal, sparse


def drawn(architecture):
    tree: dict = {}
    for seed, leaf in enumerate(declare(architecture)):
        node = tree
        for name in leaf.path[:-1]:
            node = node.setdefault(name, {})
        node[leaf.path[-1]] = normal(*leaf.shape, seed=seed)
    return tree


GPT2 = {"model_type": "gpt2", "n_embd": 8, "n_layer": 11, "n_head": 2, "n_positions": 16, "vocab_size": 10}  # fmt: skip
GEMMA = {
    "model_type": "gemma2", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 4,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "vocab_size": 10,
}  # fmt: skip
DEEPSEEK = {
    "model_type": "deepseek_v2", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3,
    "num_attention_heads": 2, "vocab_size": 10, "q_lora_rank": 4, "kv_lora_rank": 4,
    "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 4, "n_routed_experts": 4,
    "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 6,
    "first_k_dense_replace": 1, "moe_layer_freq": 1,
}  # fmt: skip


@pytest.mark.parametrize("config", [GPT2, GEMMA, DEEPSEEK], ids=lambda c: c["model_type"])
def test_scanned_layers_have_the_names_of_unrolled_ones(config):
    architecture = architecture_of(config)
    unrolled = drawn(architecture)
    rows = Watch().rows(unrolled)
    assert Watch().rows(stack_layers(unrolled, architecture)) == rows
    assert f"layers_{architecture.num_layers - 1}/attention_norm/scale" in rows


def test_scanned_layers_are_measured_as_unrolled_ones_are():
    architecture = architecture_of(GEMMA)
    unrolled = drawn(architecture)
    watch = Watch(every=1, distance=True)
    tables = [
        watch.measure(0, tree, tree, tree, watch.init(tree))
        for tree in (unrolled, stack_layers(unrolled, architecture))
    ]
    np.testing.assert_allclose(*tables, rtol=1e-5, atol=1e-6)


def test_a_scanned_model_is_known_below_params_too():
    tree = {"params": {"stages_0": {"block_0": {"norm": {"scale": np.ones((2, 3), "f4")}}}}}
    assert Watch().rows(tree) == (
        "params/layers_0/norm/scale",
        "params/layers_1/norm/scale",
    )


def test_stages_of_blocks_of_other_models_are_not_stacks():
    convnext = {"stages_0": {"block_0": {"kernel": np.ones((7, 7, 1, 8), "f4"), "bias": np.ones(8, "f4")}}}  # fmt: skip
    names = ("stages_0/block_0/bias", "stages_0/block_0/kernel")
    assert Watch().rows(convnext) == names
    same = {
        "stages_0": {"block_0": {"kernel": np.ones((8, 8), "f4"), "bias": np.ones(8, "f4")}}
    }
    assert Watch(stacks=()).rows(same) == names


def test_stacks_are_rows_and_row_by_row_equal_to_their_parts():
    tree = {
        "blocks": {"kernel": normal(2, 3, 5, 4), "scale": sparse(2, 3)},
        "head": normal(4, 2),
    }
    watch = Watch(every=1, stacks=(("blocks/kernel", 2), ("blocks/**", 1)), distance=True)
    table = np.asarray(watch.measure(0, tree, tree, tree, watch.init(tree)))
    rows = dict(zip(watch.rows(tree), table, strict=True))
    parts = {f"blocks/kernel[{i},{j}]": tree["blocks"]["kernel"][i, j] for i in (0, 1) for j in (0, 1, 2)}  # fmt: skip
    parts |= {f"blocks/scale[{i}]": tree["blocks"]["scale"][i] for i in (0, 1)}
    parts["head"] = tree["head"]
    assert list(rows) == list(parts)
    for name, part in parts.items():
        close(rows[name], expected(part, part, part, part))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(4)(x), None


def test_layers_that_flax_scans_are_rows_once_they_are_reported():
    scanned = nn.scan(
        Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
    )()
    x = np.ones((2, 4), "f4")
    params = scanned.init(jax.random.key(0), x, None)["params"]
    assert Watch().rows(params) == ("Dense_0/bias", "Dense_0/kernel")
    watch = Watch(every=1, stacks=(("Dense_0/*", 1),))
    assert watch == Watch(every=1, stacks=("Dense_0/*", 1))  # pyright: ignore
    assert watch.rows(params) == tuple(
        f"Dense_0/{name}[{layer}]" for name in ("bias", "kernel") for layer in range(3)
    )
    table = np.asarray(watch.measure(0, params, params, params))
    for layer in range(3):
        kernel = np.asarray(params["Dense_0"]["kernel"][layer])
        close(table[3 + layer], expected(kernel, kernel, kernel))


def test_rows_are_in_the_order_of_numbers():
    tree = {f"Dense_{n}": {"bias": np.ones(1, "f4")} for n in range(12)}
    assert Watch().rows(tree) == tuple(f"Dense_{n}/bias" for n in range(12))
    scaled = {name: {"bias": value["bias"] * int(name[6:])} for name, value in tree.items()}
    np.testing.assert_array_equal(
        Watch(every=1).measure(0, scaled, scaled, scaled)[:, 0], np.arange(12)
    )


def test_a_glob_selects_tensors_and_single_layers():
    scanned = stack_layers(drawn(architecture_of(GPT2)), architecture_of(GPT2))
    watch = Watch(every=1, glob="layers_[2-3]/attention/*/kernel", distance=True)
    rows = watch.rows(scanned)
    kernels = ("key", "out", "query", "value")
    assert rows == tuple(
        f"layers_{n}/attention/{k}/kernel" for n in (2, 3) for k in kernels
    )
    kept = watch.init(scanned)
    assert len(jax.tree.leaves(kept)) == len(kernels)
    table = watch.measure(0, scanned, scanned, scanned, kept)
    block = scanned["stages_0"]["block_0"]["attention"]
    for row, name in zip(table, rows, strict=True):
        layer, kernel = int(name[7]), name.split("/")[2]
        part = block[kernel]["kernel"][layer]
        close(row, expected(part, part, part, part))
    assert len(Watch(glob="stages_0/**").rows(scanned)) > len(rows)
    assert Watch(glob="bias").rows(
        {"a": {"bias": jnp.ones(2), "kernel": jnp.ones((2, 2))}}
    ) == ("a/bias",)


def test_only_real_floating_numbers_are_watched():
    tree = {
        "count": jnp.zeros(3, jnp.int32), "key": jax.random.key(0), "mask": jnp.ones(2, bool),
        "phase": jnp.ones(2, jnp.complex64), "weight": jnp.ones(2, jnp.bfloat16),
    }  # fmt: skip
    watch = Watch(every=1, distance=True)
    assert watch.rows(tree) == ("weight",)
    assert watch.measure(0, tree, tree, tree, watch.init(tree)).shape == (1, 9)
