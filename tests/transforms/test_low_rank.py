"""Truncated decompositions: Eckart and Young's error, exact counts, stacks, models that run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import explorer as ex
from explorer.errors import InputError
from explorer.transforms.low_rank import Factors, expand, factorise
from tests.models.drawn import drawn_params


def _normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("rank", [1, 3, 7])
def test_no_matrix_of_that_rank_is_nearer(rank: int):
    kernel = _normal(40, 24)
    tree, change = factorise({"mlp": {"kernel": kernel}}, rank=rank)
    sizes = np.linalg.svd(kernel.astype(np.float64), compute_uv=False)
    wanted = np.sqrt((sizes[rank:] ** 2).sum() / (sizes**2).sum())
    assert change.tensors[0].relative_error == pytest.approx(wanted, rel=1e-5)
    assert change.parameters_after == rank * (40 + 24) == ex.count_parameters(tree)
    assert np.linalg.matrix_rank(np.asarray(tree["mlp"]["kernel"].kernel), tol=1e-4) == rank


@given(st.floats(0.05, 1))
def test_energy_keeps_at_least_its_share(energy: float):
    kernel = _normal(20, 30)
    _, change = factorise({"mlp": {"kernel": kernel}}, energy=energy)
    error = change.tensors[0].relative_error or 0.0
    assert error**2 <= 1 - energy + 1e-6


def test_stacked_layers_are_a_batch():
    stack = _normal(3, 16, 16)
    tree, change = factorise({"mlp": {"kernel": stack}}, rank=2)
    for layer in range(3):
        alone, _ = factorise({"mlp": {"kernel": stack[layer]}}, rank=2)
        np.testing.assert_allclose(
            tree["mlp"]["kernel"].kernel[layer], alone["mlp"]["kernel"].kernel, atol=1e-5
        )
    assert change.tensors[0].note == "rank 2 in each of 3"


def test_a_model_runs_and_is_counted():
    config = {
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "vocab_size": 50, "max_position_embeddings": 16,
    }  # fmt: skip
    module, ids = ex.build_model(config), jnp.zeros((1, 8), int)
    params = drawn_params(module, ids)
    tree, change = factorise(params, rank=4)
    assert ex.count_parameters(tree) == change.parameters_after
    assert ex.count_parameters(params) == change.parameters_before
    kept = [
        each for each in change.tensors if each.component in ("embedding", "head", "norm")
    ]
    assert all(each.parameters_after == each.parameters_before for each in kept)
    logits = module.apply({"params": expand(tree)}, ids).logits
    assert logits.shape == (1, 8, 50)


def test_factors_contract_without_their_product():
    x, factors = _normal(5, 16), Factors(_normal(16, 2), _normal(2, 9, seed=1))
    np.testing.assert_allclose(
        jax.jit(Factors.dot)(factors, x), x @ factors.kernel, rtol=1e-4
    )
    shapes = str(jax.make_jaxpr(Factors.dot)(factors, x))
    assert "16,9" not in shapes


def test_what_does_not_pay_stays():
    kernel = _normal(8, 8)
    tree, change = factorise({"mlp": {"kernel": kernel}}, rank=4)
    assert tree["mlp"]["kernel"] is kernel
    assert change.tensors[0].note.startswith("rank 4 takes no fewer parameters")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "neither rank nor energy"),
        ({"rank": 1, "energy": 0.5}, "both rank and energy"),
        ({"rank": 0}, "rank: is 0"),
        ({"energy": 1.5}, "energy: is 1.5; expected a share above 0, up to 1"),
        ({"rank": 9}, "9, and mlp/kernel is 8 x 8; expected at most 8"),
        ({"rank": 1, "select": "attn/*"}, "attn/*"),
    ],
)
def test_slips(settings: dict, message: str):
    with pytest.raises(InputError) as error:
        factorise({"mlp": {"kernel": _normal(8, 8)}}, **settings)
    assert message in str(error.value)


def test_what_is_not_finite_is_named():
    kernel = _normal(8, 8)
    kernel[2, 3] = np.nan
    with pytest.raises(InputError, match=r"mlp/kernel: holds nan at \[2, 3\]"):
        factorise({"mlp": {"kernel": kernel}}, rank=1)
