"""The trees of parameters that modules make, in both layouts."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from explorer.architectures.declaration import declare
from explorer.architectures.families import SUPPORTED, architecture_of
from explorer.errors import TreeError
from explorer.models.stacking import stack_layers
from explorer.models.transformer import Transformer
from tests.facts import models
from tests.models.tiny import (
    CONFIGS,
    IDS,
    inputs_of,
    model_of,
    random_params,
    run,
    shapes_of,
)

KEY = jax.random.key(0)
PUBLISHED = {
    m["id"]: m["config"] for m in models() if m["config"].get("model_type") in SUPPORTED
}
# one of each tree: most settings change what is computed, and no shape
TREES = {tuple(declare(architecture_of(c))): name for name, c in CONFIGS.items()}.values()


@pytest.mark.parametrize("scan", [False, True], ids=["unrolled", "scanned"])
@pytest.mark.parametrize("name", TREES)
def test_init_makes_what_is_declared(name, scan):
    architecture = architecture_of(CONFIGS[name])
    model = Transformer(architecture, scan=scan)
    made = jax.eval_shape(model.init, KEY, inputs_of(architecture))
    assert made.keys() == {"params"}
    declared = {leaf.path: leaf.shape for leaf in declare(architecture, scan)}
    assert shapes_of(made["params"]) == declared


@pytest.mark.slow  # traces models of published size
@pytest.mark.parametrize("name", PUBLISHED)
def test_init_of_published_models_makes_what_is_declared(name):
    architecture = architecture_of(PUBLISHED[name])
    inputs = jax.ShapeDtypeStruct((1, 8), jnp.int32)
    if (patches := architecture.patch_embed) is not None:
        inputs = jax.ShapeDtypeStruct((1, patches.image, patches.image, 3), jnp.float32)
    model = Transformer(architecture, scan=True, param_dtype=architecture.dtype)
    made = jax.eval_shape(model.init, KEY, inputs)["params"]
    declared = {leaf.path: leaf.shape for leaf in declare(architecture, scan=True)}
    assert shapes_of(made) == declared
    assert {leaf.dtype.name for leaf in jax.tree.leaves(made)} == {architecture.dtype}


def test_init_starts_gains_at_one_biases_at_zero_and_kernels_small():
    model, _ = model_of("llama_biases", scan=True)
    params = jax.jit(model.init)(KEY, IDS)["params"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        match path[-1].key:
            case "scale":
                assert (np.asarray(leaf) == 1).all()
            case "bias":
                assert (np.asarray(leaf) == 0).all()
            case _:
                assert 0.01 < np.std(leaf) < 0.03


@pytest.mark.slow  # compiles models
@pytest.mark.parametrize("name", ["gemma2", "gpt_oss", "deepseek_v3_yarn", "vit_classes"])
def test_both_layouts_compute_the_same(name):
    model, params = model_of(name, scan=True)
    inputs = inputs_of(model.architecture)
    stacked = jax.jit(model.apply)(params, inputs).logits
    unrolled = run(name)(inputs)
    np.testing.assert_allclose(stacked, unrolled, atol=5e-5 * np.abs(unrolled).max())


def unrolled(stacked, architecture):
    """Return stacked parameters layer by layer: row r of block b of a stage of period p is
    its layer r * p + b."""
    layers, first = {}, 0
    for number, stage in enumerate(architecture.stages):
        blocks = stacked[f"stages_{number}"]
        for layer in range(stage.layers):
            row, block = divmod(layer, len(stage.blocks))
            layers[f"layers_{first + layer}"] = {
                path: leaf[row]
                for path, leaf in flatten_dict(blocks[f"block_{block}"]).items()
            }
        first += stage.layers
    return layers


@pytest.mark.parametrize("name", TREES)
def test_stacked_layers_are_the_rows_of_the_stacks(name):
    architecture = architecture_of(CONFIGS[name])
    params = random_params(architecture)
    stacked = stack_layers(params, architecture)
    assert shapes_of(stacked) == {d.path: d.shape for d in declare(architecture, scan=True)}
    for layer, leaves in unrolled(stacked, architecture).items():
        chex.assert_trees_all_equal(leaves, flatten_dict(params[layer]))
    others = {name: tree for name, tree in params.items() if "layers_" not in name}
    assert others == {name: tree for name, tree in stacked.items() if "stages_" not in name}
    assert len(params) - len(others) == architecture.num_layers
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(stacked))


def test_layers_of_jax_arrays_are_stacked_as_jax_arrays():
    architecture = architecture_of(CONFIGS["gemma2"])
    params = jax.tree.map(jnp.asarray, random_params(architecture))
    stacked = stack_layers(params, architecture)
    for layer, leaves in unrolled(stacked, architecture).items():
        chex.assert_trees_all_equal(leaves, flatten_dict(params[layer]))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(stacked))


def test_a_layout_without_a_layer_says_which():
    architecture = architecture_of(CONFIGS["llama"])
    params = random_params(architecture)
    with pytest.raises(TreeError) as error:
        stack_layers({k: v for k, v in params.items() if k != "layers_1"}, architecture)
    assert str(error.value) == (
        "params: layers_1 is missing; "
        "expected the parameters of this architecture, unrolled"
    )
