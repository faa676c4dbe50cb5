"""How much each type loses: ggml's own figures, and laws of quantisation."""

import numpy as np
import pytest

from explorer import dtypes
from explorer.transforms.quantisation.ggml import KINDS, decode, encode

# relative root mean square error on N(0, 0.02), of ggml's own C code
MEASURED = {
    "q8_0": 0.00535, "q6_k": 0.01775, "q5_k": 0.03612, "q4_k": 0.07133, "iq4_nl": 0.07608,
    "iq4_xs": 0.07666, "q4_0": 0.08595, "q3_k": 0.15099, "q2_k": 0.29658, "mxfp4": 0.11403,
    "nvfp4": 0.10306,
}  # fmt: skip
LOSSY = [kind for kind in KINDS if kind != "float32"]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.02).astype(np.float32)


def loss(rows: np.ndarray, kind: str) -> float:
    found = decode(encode(rows, kind), kind, rows.shape[1])
    return float(np.linalg.norm(found - rows) / np.linalg.norm(rows))


@pytest.mark.parametrize("kind", MEASURED)
def test_the_error_is_ggmls(kind: str):
    assert loss(normal(256, 4096), kind) == pytest.approx(MEASURED[kind], rel=0.005)


@pytest.mark.parametrize("kind", LOSSY)
def test_what_is_quantised_already_loses_less(kind: str):
    rows = normal(32, 1024)
    again = decode(encode(rows, kind), kind, 1024)
    assert loss(again, kind) <= loss(rows, kind)


@pytest.mark.parametrize("kind", LOSSY)
def test_more_bits_lose_less(kind: str):
    rows, bits = normal(32, 1024), dtypes.find(kind).bits
    families = (
        "q2_k q3_k q4_k q5_k q6_k",
        "q4_0 q5_0 q8_0",
        "q4_1 q5_1",
        "bfloat16 float16",
    )
    for family in families:
        if kind in (kinds := family.split()):
            richer = [other for other in kinds if dtypes.find(other).bits > bits]
            assert all(loss(rows, other) < loss(rows, kind) for other in richer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_encoded_by_itself(kind: str):
    rows = normal(5, 1024)
    whole, size = encode(rows, kind), dtypes.find(kind).nbytes(256)
    assert np.array_equal(whole, np.concatenate([encode(row[None], kind) for row in rows]))
    assert np.array_equal(whole.reshape(-1, size), encode(rows.reshape(-1, 256), kind))
    assert np.array_equal(whole[:, :size], encode(rows[:, :256], kind))
    dtype = dtypes.find(kind)
    one = encode(rows[:1, : dtype.block], kind)
    assert np.array_equal(one[0], whole[0, : dtype.block_bytes])


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_do_not_show(kind: str, monkeypatch: pytest.MonkeyPatch):
    rows = normal(9, 768)
    whole = encode(rows, kind)
    monkeypatch.setattr("explorer.transforms.quantisation.ggml.encoding._PIECE", 1024)
    assert np.array_equal(encode(rows, kind), whole)
    assert np.array_equal(decode(whole, kind, 768), decode(encode(rows, kind), kind, 768))


@pytest.mark.parametrize("kind", KINDS)
def test_a_scale_that_is_a_power_of_two_changes_the_scale_alone(kind: str):
    rows = normal(8, 512) * np.float32(64)  # where scales are not denormal
    once = decode(encode(rows, kind), kind, 512)
    assert np.array_equal(decode(encode(rows * np.float32(4), kind), kind, 512), once * 4)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_stay_zeros(kind: str):
    found = decode(encode(np.zeros((2, 512), np.float32), kind), kind, 512)
    assert not found.any()
    assert encode(np.zeros((0, 512), np.float32), kind).shape == (
        0, dtypes.find(kind).nbytes(512),
    )  # fmt: skip
