"""Spectra against scipy, against matrices of known spectra, and against sampled power laws."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError
from explorer.values import spectrum as passes
from explorer.values.spectra import leading_values, power_law, singular_values
from tests.cli.in_process import printed


def random(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def with_values(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a matrix whose singular values are given, between random orthonormal bases."""
    left = np.linalg.qr(random((shape[0], values.size)).astype(np.float64))[0]
    right = np.linalg.qr(random((shape[1], values.size), 1).astype(np.float64))[0]
    return (left * values) @ right.T


@pytest.mark.parametrize("shape", [(7, 7), (3, 40), (500, 20), (64, 48)])
def test_exact_spectra_are_scipys(shape: tuple[int, int]):
    matrix = random(shape)
    right = scipy.linalg.svdvals(matrix.astype(np.float64))
    np.testing.assert_allclose(singular_values(matrix), right, rtol=1e-9)
    found = ex.spectrum({"w": matrix}).matrices[0]
    assert found.method == "exact"
    assert found.spectral_norm == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-5)
    assert found.frobenius_norm == pytest.approx(np.linalg.norm(matrix), rel=1e-5)
    assert found.stable_rank == pytest.approx((right**2).sum() / right[0] ** 2)
    entropy = scipy.stats.entropy(right)
    assert found.effective_rank == pytest.approx(np.exp(entropy))
    assert (found.error, len(found.values)) == (0, min(*shape, 64))


def test_ranks_of_known_matrices():
    found = ex.spectrum({"identity": np.eye(10), "one": np.ones((5, 8))}).matrices
    ranks = [(each.stable_rank, each.effective_rank) for each in found]
    np.testing.assert_allclose(ranks, [(10, 10), (1, 1)], rtol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.3, 1.0, 3.0])
def test_leading_values_are_within_their_bound(decay: float):
    values = np.arange(1, 301.0) ** -decay
    matrix = with_values(values, (400, 300)).astype(np.float32)
    found, error = leading_values(matrix, 20)
    assert values[0] - 1e-5 <= found[0] + error
    assert (found <= values[:20] * (1 + 1e-5)).all()
    assert error < 0.4
    if decay >= 1:
        assert error < 0.01
        np.testing.assert_allclose(found, values[:20], rtol=1e-3)


def test_large_matrices_are_randomised_and_so_are_those_memory_is_short_for(
    monkeypatch: pytest.MonkeyPatch,
):
    matrix = with_values(np.arange(1, 101.0) ** -1.0, (150, 100))
    exact = ex.spectrum({"w": matrix}).matrices[0]
    monkeypatch.setattr(passes, "EXACT", 50)
    large = ex.spectrum({"w": matrix}, rank=10).matrices[0]
    assert (large.method, large.effective_rank, len(large.values)) == (
        "randomised",
        None,
        10,
    )
    assert large.spectral_norm == pytest.approx(exact.spectral_norm, rel=1e-4)
    assert large.stable_rank == pytest.approx(exact.stable_rank, rel=1e-3)
    monkeypatch.undo()

    def full(_: np.ndarray) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr(passes, "singular_values", full)
    short = ex.spectrum({"w": matrix})
    assert short.matrices[0].method == "randomised"
    assert short.notes == ("w: too little memory for all singular values: randomised",)


@pytest.mark.parametrize("alpha", [1.8, 2.5, 4.0])
def test_the_exponent_of_a_power_law_is_found(alpha: float):
    rng = np.random.default_rng(7)
    sample = (1 - rng.random(4000)) ** (1 / (1 - alpha))  # Clauset et al., appendix D
    body = rng.random(2000)  # below the start of the law
    law = power_law(np.concatenate([body, sample]))
    assert law is not None
    assert abs(law.alpha - alpha) < 4 * law.error
    assert law.error == pytest.approx((law.alpha - 1) / law.size**0.5)
    assert law.start == pytest.approx(1, abs=0.5)


def test_a_spectrum_without_a_tail_has_no_exponent():
    assert power_law(np.ones(50)) is None
    assert power_law(np.array([3.0, 1.0])) is None
    assert power_law(np.zeros(0)) is None


def test_what_has_no_spectrum_is_noted():
    tree = {
        "kernel": random((4, 6)), "bias": random((1, 6))[0], "one": np.ones((3, 1, 1)),
        "nan": np.full((2, 2), np.nan), "zero": np.zeros((4, 3)), "codes": np.ones((4, 3), "int8"),
    }  # fmt: skip
    found = ex.spectrum(tree)
    assert [each.name for each in found.matrices] == ["kernel", "zero"]
    zero = found.matrices[1]
    assert (zero.spectral_norm, zero.stable_rank, zero.effective_rank) == (0, None, None)
    assert found.notes == (
        "nan: has NaN or infinities, and no spectrum",
        "left out: 2 tensors without two axes longer than 1",
        "left out: 1 tensor of other than floating-point numbers",
    )
    with pytest.raises(InputError, match="rank: 0; expected a number of at least 1"):
        ex.spectrum(tree, rank=0)


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("scale", [2.0**-990, 2.0**-600, 2.0**600, 2.0**990])
def test_a_spectrum_of_any_scale_is_that_of_one_scaled(
    scale: float, is_large: bool, monkeypatch: pytest.MonkeyPatch
):
    matrix = random((60, 40)).astype(np.float64)
    monkeypatch.setattr(passes, "EXACT", 30 if is_large else 50)
    usual, found = (
        ex.spectrum({"w": each}).matrices[0] for each in (matrix, matrix * scale)
    )
    for name in ("spectral_norm", "frobenius_norm"):
        right = getattr(usual, name) * scale
        assert getattr(found, name) == pytest.approx(right, rel=1e-9, abs=0), name
    assert found.error / scale == pytest.approx(usual.error, abs=1e-12)
    assert (found.effective_rank is None) == is_large
    for name in ("stable_rank", "alpha", "tail", *([] if is_large else ["effective_rank"])):
        assert getattr(found, name) == pytest.approx(getattr(usual, name), rel=1e-9), name


def test_a_norm_beyond_float64_is_noted():
    found = ex.spectrum({"w": np.full((3, 3), 1e308), "v": np.diag([1e200, 1e200])})
    assert [each.frobenius_norm for each in found.matrices] == [
        pytest.approx(2**0.5 * 1e200)
    ]
    assert found.notes == ("w: has a norm beyond float64, and no spectrum",)


@pytest.mark.parametrize(
    ("name", "shape", "axes"),
    [
        ("conv/weight", (8, 6, 3, 2), (0, 1)),  # PyTorch's order
        ("conv/kernel", (3, 2, 6, 8), (2, 3)),  # JAX's
        ("layers/kernel", (3, 16, 12), (1, 2)),
        ("layers/mlp/experts/down_proj", (20, 5, 4), (1, 2)),
    ],
)
def test_each_matrix_of_a_tensor_of_more_axes(name: str, shape: tuple, axes: tuple):
    tensor = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    tree: dict = tensor  # pyright: ignore[reportAssignmentType]
    for part in reversed(name.split("/")):
        tree = {part: tree}
    found = ex.spectrum(tree)
    assert len(found.matrices) == tensor.size // (shape[axes[0]] * shape[axes[1]])
    for each in found.matrices:
        assert each.index is not None
        assert [axis for axis, at in enumerate(each.index) if at is None] == list(axes)
        cut = tuple(slice(None) if at is None else at for at in each.index)
        exact = np.linalg.svd(tensor[cut].astype(np.float64), compute_uv=False)
        assert each.shape == tensor[cut].shape
        np.testing.assert_allclose(each.values, exact, rtol=1e-10)
    (note,) = found.notes
    assert note == f"{name}: {len(found.matrices)} matrices, named by their places"


@pytest.mark.parametrize("small", [1e-1, 1e-3, 1e-5, 1e-9, 0])
def test_small_values_of_tall_matrices(small: float):
    left = np.linalg.qr(random((900, 20)).astype(np.float64))[0]
    right = np.linalg.qr(random((20, 20)).astype(np.float64))[0]
    sizes = np.geomspace(1, 0.5, 20)
    sizes[-1] = small
    found = singular_values(left * sizes @ right)
    np.testing.assert_allclose(found, sizes, rtol=1e-7, atol=1e-15)


def test_the_command(tmp_path: Path):
    save_file({"a.weight": random((64, 32)), "b.weight": random((8, 8))}, tmp_path / "a.safetensors")  # fmt: skip
    text = printed("spectrum", tmp_path / "a.safetensors")
    assert "2 matrices" in text
    assert "64×32" in text
    found = json.loads(printed("spectrum", tmp_path / "a.safetensors", "--format", "json"))
    assert [each["name"] for each in found["matrices"]] == ["a/weight", "b/weight"]
    csv = printed("spectrum", tmp_path / "a.safetensors", "--format", "csv")
    assert csv.splitlines()[0].startswith("name,key,dtype,shape,index,method,spectral_norm")
