"""Weights from biases: exact halves for every kind of parameters; masks that optax takes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import core, nnx
from flax import linen as nn

import explorer as ex
from explorer.errors import TreeError
from explorer.objects.splitting import decay_mask, split_weights_biases
from explorer.tree.partition import combine
from tests import zoo


def paths_of(tree):
    return {"/".join(t.path) for t in ex.explore(tree)}


def test_biases_are_what_is_added_and_weights_are_all_else():
    weights, biases = split_weights_biases(zoo.params())
    assert paths_of(biases) == {"BatchNorm_0/bias", "Dense_0/bias", "head/bias"}
    assert paths_of(weights) == {"BatchNorm_0/scale", "Dense_0/kernel", "head/kernel"}


def test_both_halves_hold_the_same_objects():
    params = zoo.params()
    weights, biases = split_weights_biases(params)
    assert weights["head"]["kernel"] is params["head"]["kernel"]
    assert biases["head"]["bias"] is params["head"]["bias"]
    assert weights["head"]["bias"] is biases["head"]["kernel"] is None
    whole = combine(weights, biases)
    assert whole["head"]["kernel"] is params["head"]["kernel"]


@pytest.mark.parametrize(
    "tree",
    [
        {"layer": zoo.Pair(bias=1.0, kernel=2.0)},
        [{"bias": 1.0, "kernel": 2.0}],
        core.freeze({"bias": 1.0, "kernel": 2.0}),
        {"linear": {"b": 1.0, "w": 2.0}},
        {"bias": 1.0, "kernel": 2.0, "absent": None},
    ],
    ids=["namedtuple", "list", "frozen dict", "haiku", "none"],
)
def test_every_container_keeps_its_structure(tree):
    weights, biases = split_weights_biases(tree)
    assert jax.tree.leaves(biases) == [1.0]
    assert jax.tree.leaves(weights) == [2.0]
    assert jax.tree.structure(combine(weights, biases)) == jax.tree.structure(tree)
    assert type(weights) is type(biases) is type(tree)


def test_a_box_is_a_leaf():
    params = zoo.params(zoo.boxed())
    weights, biases = split_weights_biases(params)
    assert weights["kernel"] is params["kernel"]
    assert biases["kernel"] is None
    assert combine(weights, biases)["kernel"].names == ("embed", "mlp")


def test_nnx_states_keep_their_variables():
    module = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    params = nnx.state(module, nnx.Param)
    weights, biases = split_weights_biases(params)
    assert (ex.count_parameters(weights), ex.count_parameters(biases)) == (6, 3)
    whole = combine(weights, biases)
    assert whole["kernel"] is params["kernel"]
    nnx.update(module, whole)


def test_equinox_modules_split_with_their_functions():
    mlp = eqx.nn.MLP(2, 3, 4, 1, key=jax.random.key(0))
    weights, biases = split_weights_biases(mlp)
    assert (ex.count_parameters(weights), ex.count_parameters(biases)) == (20, 7)
    x = jnp.ones(2)
    np.testing.assert_array_equal(combine(weights, biases)(x), mlp(x))


def test_a_multi_head_bias_of_rank_two_is_a_bias():
    module = nn.MultiHeadDotProductAttention(2, qkv_features=4)
    params = zoo.variables(module, zoo.array(1, 5, 4))["params"]
    _, biases = split_weights_biases(params)
    assert sorted(x.shape for x in jax.tree.leaves(biases)) == [
        (2, 2),
        (2, 2),
        (2, 2),
        (4,),
    ]


def test_given_roles_decide_over_names():
    tree = {"a": {"x": 1.0, "y": 2.0}, "b": {"bias": 3.0}}
    _, biases = split_weights_biases(tree, roles={"a/x": "bias", ("b", "bias"): "kernel"})
    assert jax.tree.leaves(biases) == [1.0]
    inventory = ex.explore({"a": {"x": 1.0, "y": 2.0}, "b": {"bias": 3.0}})
    assert split_weights_biases(tree, roles=inventory)[1]["b"]["bias"] == 3.0


def test_both_halves_can_be_trained_separately_under_jit():
    params = zoo.params()

    @jax.jit
    def loss(weights, biases):
        whole = combine(weights, biases)
        return sum(jnp.sum(x) for x in jax.tree.leaves(whole))

    weights, biases = split_weights_biases(params)
    gradients = jax.grad(loss)(weights, biases)
    assert jax.tree.structure(gradients) == jax.tree.structure(weights)


def test_kernels_and_embeddings_decay_and_nothing_else():
    params = {
        "Embed_0": {"embedding": jnp.ones((5, 3))},
        "Dense_0": {"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3)},
        "LayerNorm_0": {"scale": jnp.ones(3), "bias": jnp.ones(3)},
        "ids": {"kernel": jnp.zeros((3, 3), jnp.int32)},
        "absent": None,
    }
    assert decay_mask(params) == {
        "Embed_0": {"embedding": True},
        "Dense_0": {"kernel": True, "bias": False},
        "LayerNorm_0": {"scale": False, "bias": False},
        "ids": {"kernel": False},
        "absent": None,
    }


@pytest.mark.parametrize(
    "make", [zoo.params, lambda: zoo.params(zoo.boxed())], ids=["bare", "boxed"]
)
def test_optax_decays_what_the_mask_says(make):
    params = make()
    tx = optax.adamw(1.0, weight_decay=0.5, mask=decay_mask)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(tx.update)(zeros, tx.init(params), params)
    for (path, update), value in zip(
        jax.tree_util.tree_leaves_with_path(nn.unbox(updates)),
        jax.tree.leaves(params),
        strict=True,
    ):
        decays = path[-1].key == "kernel"
        np.testing.assert_allclose(update, -0.5 * value if decays else 0 * value)


def test_nnx_optimizers_take_the_mask():
    module = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    module.bias[...] = jnp.ones(3)
    kernel = module.kernel[...]
    tx = optax.adamw(1.0, weight_decay=0.5, mask=decay_mask)
    optimizer = nnx.Optimizer(module, tx, wrt=nnx.Param)
    optimizer.update(module, jax.tree.map(jnp.zeros_like, nnx.state(module, nnx.Param)))
    np.testing.assert_allclose(module.kernel[...], 0.5 * kernel)
    np.testing.assert_allclose(module.bias[...], 1.0)


@pytest.mark.parametrize("call", [split_weights_biases, decay_mask])
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: {"params": {"kernel": 1.0}, "batch_stats": {"mean": 2.0}},
            "batch_stats/mean: batch_stats among the parameters; expected a tree of "
            'parameters only; pass variables["params"]',
        ),
        (
            lambda: nnx.state(nnx.BatchNorm(3, rngs=nnx.Rngs(0))),
            "mean: nnx.BatchStat among the parameters; expected a tree of parameters only; "
            "pass nnx.state(module, nnx.Param)",
        ),
        (
            lambda: nnx.Linear(2, 3, rngs=nnx.Rngs(0)),
            "Linear: is an NNX module; expected a tree of parameters; "
            "pass nnx.state(module, nnx.Param)",
        ),
        (
            lambda: {"params": {"kernel": 1.0}, "opt_state": {"mu": {"kernel": 2.0}}},
            "opt_state/mu/kernel: opt_state among the parameters; expected a tree of "
            'parameters only; pass variables["params"]',
        ),
    ],
)
def test_more_than_parameters_is_refused(call, build, message):
    with pytest.raises(TreeError) as caught:
        call(build())
    assert str(caught.value) == message
