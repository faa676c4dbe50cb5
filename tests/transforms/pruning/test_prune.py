"""explorer.prune: exact counts, laws, what it refuses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from tests.conformance import configs
from tests.models.drawn import drawn_params


def kernels(tree: Any) -> dict[str, np.ndarray]:
    return {
        t.name: np.asarray(leaf)
        for t in ex.explore(tree)
        for leaf in [_at(tree, t.path)]
        if t.kind.role == "kernel"
    }


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


@pytest.fixture
def params() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "up": {
            "kernel": rng.normal(size=(12, 8)).astype("float32"),
            "bias": rng.normal(size=8).astype("float32"),
        },
        "down": {"kernel": rng.normal(size=(8, 12)).astype("float32")},
    }


def same(a: Any, b: Any) -> bool:
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_the_smallest_half_of_each_matrix(params: dict[str, Any]):
    pruned, change = ex.prune(params, "0.5")
    for name in ("up", "down"):
        before, after = params[name]["kernel"], pruned[name]["kernel"]
        smallest = np.sort(np.abs(before).reshape(-1))[:48]
        assert np.array_equal(np.sort(np.abs(before[after == 0])), smallest)
        assert np.array_equal(after[after != 0], before[after != 0])
    assert np.array_equal(pruned["up"]["bias"], params["up"]["bias"])
    assert {t.name: t.zeros for t in change.tensors} == {
        "down/kernel": 48,
        "up/kernel": 48,
        "up/bias": None,
    }


def test_global_keeps_the_largest_of_all(params: dict[str, Any]):
    params["up"]["kernel"] *= 3
    pruned, change = ex.prune(params, "0.3", scope="global")
    both = [np.abs(params[name]["kernel"]).reshape(-1) for name in ("down", "up")]
    kept = np.concatenate([p[p != 0] for p in map(np.abs, kernels(pruned).values())])
    number = 192 - int(192 * 0.3)
    assert len(kept) == number
    assert np.array_equal(np.sort(kept), np.sort(np.concatenate(both))[-number:])
    assert sum(t.zeros or 0 for t in change.tensors) == 57


@pytest.mark.parametrize("scan", [False, True])
def test_n_of_m_is_along_the_inputs(scan: bool):
    """Flax's kernels are [inputs, outputs]: each four inputs of an output hold two zeros."""
    model = ex.build_model(configs.MIXTRAL, scan=scan)
    params = drawn_params(model, jnp.zeros((1, 4), int))
    pruned, _ = ex.prune(params, "2:4")
    found = kernels(pruned)
    assert len(found) >= 9
    for name, kernel in found.items():
        inputs = np.moveaxis(kernel, -2, -1)
        zeros = (inputs.reshape(-1, 4) == 0).sum(-1)
        untouched = "router" in name or "lm_head" in name
        assert np.all(zeros == (0 if untouched else 2)), name


def test_layouts_prune_the_same(tmp_path: Any):
    """PyTorch's layout in a file, Flax's in memory, stacked or not: the same entries."""
    model = ex.build_model(configs.LLAMA)
    params = drawn_params(model, jnp.zeros((1, 4), int))
    tensors = ex.to_checkpoint(params, configs.LLAMA)
    save_file(
        {k: np.ascontiguousarray(v) for k, v in tensors.items()}, tmp_path / "m.safetensors"
    )
    for pattern, scope in (
        ("2:4", None),
        ("0.5", "group"),
        ("0.5", None),
        ("rows:0.25", None),
    ):
        in_memory, _ = ex.prune(params, pattern, scope=scope)
        in_file, _ = ex.prune(tmp_path / "m.safetensors", pattern, scope=scope)
        expected = ex.to_checkpoint(in_memory, configs.LLAMA)
        for name, array in expected.items():
            assert np.array_equal(_at(in_file, tuple(name.split("."))) == 0, array == 0), (
                name
            )


def test_gpt2_is_stored_as_it_is_used(tmp_path: Any):
    model = ex.build_model(configs.GPT2)
    params = drawn_params(model, jnp.zeros((1, 4), int))
    tensors = ex.to_checkpoint(params, configs.GPT2)
    save_file(
        {k: np.ascontiguousarray(v) for k, v in tensors.items()}, tmp_path / "m.safetensors"
    )
    in_memory, _ = ex.prune(params, "2:4")
    in_file, _ = ex.prune(tmp_path / "m.safetensors", "2:4")
    for name, array in ex.to_checkpoint(in_memory, configs.GPT2).items():
        assert np.array_equal(_at(in_file, tuple(name.split("."))), array), name


@pytest.mark.parametrize("by", ["magnitude", "random"])
@pytest.mark.parametrize("pattern", ["0.37", "2:4", "1:4", "rows:0.25", "columns:0.5"])
@pytest.mark.parametrize("scope", ["tensor", "group"])
def test_twice_changes_nothing(params: dict[str, Any], by: Any, pattern: str, scope: Any):
    once, first = ex.prune(params, pattern, by, scope)
    again, second = ex.prune(once, pattern, by, scope)
    assert same(once, again)
    assert [t.zeros for t in first.tensors] == [t.zeros for t in second.tensors]
    plan = ex.plan_pruning(params, pattern, by, scope)
    assert [t.zeros for t in plan.tensors] == [t.zeros for t in first.tensors]


def test_movement_keeps_what_moves_away_from_zero(params: dict[str, Any]):
    gradients = jax.tree.map(
        lambda p: -np.sign(p) * np.arange(p.size).reshape(p.shape), params
    )
    pruned, _ = ex.prune(params, "0.5", "movement", gradients=gradients)
    scores = np.abs(params["up"]["kernel"]) * np.arange(96).reshape(12, 8)
    kept = pruned["up"]["kernel"] != 0
    assert scores[kept].min() > scores[~kept].max()


def test_the_input_stays(params: dict[str, Any]):
    copy = jax.tree.map(np.copy, params)
    ex.prune(params, "0.5")
    assert same(params, copy)


def test_arrays_of_jax_stay_arrays_of_jax():
    params = {"a": {"kernel": jnp.ones((4, 4), jnp.bfloat16)}}
    pruned, change = ex.prune(params, "2:4")
    assert isinstance(pruned["a"]["kernel"], jax.Array)
    assert pruned["a"]["kernel"].dtype == jnp.bfloat16
    # of equal scores the first are pruned
    assert np.asarray(pruned["a"]["kernel"], float)[:, 0].tolist() == [0, 0, 1, 1]
    assert change.bytes_after == 32


def test_an_nnx_module():
    model = nnx.Linear(8, 4, rngs=nnx.Rngs(0))
    pruned, change = ex.prune(model, "2:4")
    assert isinstance(pruned, nnx.Linear)
    assert int((pruned.kernel[...] == 0).sum()) == 16
    assert int((model.kernel[...] == 0).sum()) == 0
    assert sum(t.zeros or 0 for t in change.tensors) == 16


@pytest.mark.parametrize(
    "optimizer", [optax.adamw(0.1, weight_decay=0.1), optax.sgd(0.1, 0.9)]
)
def test_zeros_stay_in_training(params: dict[str, Any], optimizer: Any):
    pruned, change = ex.prune(jax.tree.map(jnp.asarray, params), "2:4")
    masks = ex.prune_masks(pruned, change)
    masked = ex.apply_masks(masks, optimizer)
    state = masked.init(pruned)
    tree = pruned

    @jax.jit
    def step(tree: Any, state: Any) -> Any:
        x = jnp.ones((3, 12))

        def loss(p: Any) -> jax.Array:
            y = x @ p["up"]["kernel"] + p["up"]["bias"]
            return jnp.square(y).sum() + jnp.square(p["down"]["kernel"]).sum()

        updates, state = masked.update(jax.grad(loss)(tree), state, tree)
        return optax.apply_updates(tree, updates), state

    for _ in range(5):
        tree, state = step(tree, state)
    kept = pruned["up"]["kernel"] != 0
    assert np.array_equal(tree["up"]["kernel"] != 0, kept)
    assert not np.array_equal(tree["up"]["kernel"], pruned["up"]["kernel"])
    moments = [m for m in jax.tree.leaves(state) if getattr(m, "shape", ()) == (12, 8)]
    assert moments
    assert all(np.all(np.asarray(m)[~np.asarray(kept)] == 0) for m in moments)


def test_masks_make_dense_weights_sparse(params: dict[str, Any]):
    pruned, change = ex.prune(params, "0.5")
    masked = ex.apply_masks(ex.prune_masks(pruned, change), optax.sgd(1.0))
    zeros = jax.tree.map(np.zeros_like, params)
    updates, _ = masked.update(zeros, masked.init(params), params)
    assert same(optax.apply_updates(params, updates), pruned)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("0",), "pattern: '0'; expected a share between 0 and 1, n:m"),
        (("1.5",), "pattern: '1.5'; expected a share between 0 and 1"),
        (("rows:1",), "pattern: 'rows:1'"),
        (("colums:0.5",), "did you mean columns:0.5?"),
        (("4:4",), "n of m are kept, 0 < n < m"),
        (("0.5", "wandda"), "by: 'wandda'; expected .*; did you mean wanda?"),
        (("0.5", "magnitude", "globl"), "scope: 'globl'; .*did you mean global?"),
        (
            ("2:4", "magnitude", "global"),
            "'global' with 2:4, which is decided in each matrix",
        ),
        (("3:5",), "down/kernel: 8 inputs, which groups of 5 do not divide"),
        (("0.5", "movement"), "'movement' without gradients"),
    ],
)
def test_bad_requests(params: dict[str, Any], arguments: Any, message: str):
    with pytest.raises(InputError, match=message):
        ex.prune(params, *arguments)


def test_weights_that_are_not_finite(params: dict[str, Any]):
    params["up"]["kernel"][3, 2] = np.nan
    with pytest.raises(InputError, match=r"up/kernel: holds NaN at \[3, 2\]"):
        ex.prune(params, "0.5")
    params["up"]["kernel"][3, 2] = np.inf
    with pytest.raises(InputError, match=r"up/kernel: holds an infinity at \[3, 2\]"):
        ex.prune(params, "0.5", scope="global")


def test_nothing_to_prune():
    with pytest.raises(InputError, match="has no kernel of a linear layer"):
        ex.prune({"bias": np.ones(3, "float32")}, "0.5")
    with pytest.raises(InputError, match="has no kernel that nothing matches"):
        ex.prune({"kernel": np.ones((4, 4), "float32")}, "0.5", select="nothing")
