"""Columns that count more lose less."""

import numpy as np
import pytest

from explorer.errors import InputError
from explorer.transforms.quantisation.ggml import decode, encode
from tests.conformance.ggml_blocks import WEIGHTED

ROWS = (np.random.default_rng(3).standard_normal((24, 768)) * 0.02).astype(np.float32)
IMPORTANCE = np.random.default_rng(4).chisquare(1, 768).astype(np.float32)


def weighted_loss(kind: str, importance: np.ndarray | None) -> float:
    found = decode(encode(ROWS, kind, importance), kind, 768)
    return float((IMPORTANCE * (found - ROWS) ** 2).sum())


@pytest.mark.parametrize("kind", WEIGHTED)
def test_what_counts_more_loses_less(kind: str):
    assert weighted_loss(kind, IMPORTANCE) < weighted_loss(kind, None)


@pytest.mark.parametrize("kind", WEIGHTED)
def test_only_ratios_count(kind: str):
    once = encode(ROWS, kind, IMPORTANCE)
    assert np.array_equal(encode(ROWS, kind, IMPORTANCE * np.float32(64)), once)


@pytest.mark.parametrize("kind", WEIGHTED)
def test_a_row_is_encoded_by_itself(kind: str, monkeypatch: pytest.MonkeyPatch):
    whole = encode(ROWS, kind, IMPORTANCE)
    rows = [encode(row[None], kind, IMPORTANCE) for row in ROWS]
    assert np.array_equal(whole, np.concatenate(rows))
    # pieces that end inside rows
    monkeypatch.setattr("explorer.transforms.quantisation.ggml.encoding._PIECE", 1024)
    assert np.array_equal(whole, encode(ROWS, kind, IMPORTANCE))


@pytest.mark.parametrize("kind", WEIGHTED)
def test_columns_that_do_not_count_at_all(kind: str):
    found = decode(encode(ROWS, kind, np.zeros(768, np.float32)), kind, 768)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    "importance",
    [np.ones(256, np.float32), np.ones(768), np.ones((1, 768), np.float32)],
)
def test_importance_is_a_number_for_each_column(importance: np.ndarray):
    with pytest.raises(InputError, match=r"^importance: float.*expected float32 \[768\]"):
        encode(ROWS, "q4_k", importance)


@pytest.mark.parametrize("value", [-1, np.nan, np.inf])
def test_importance_is_finite_and_not_below_0(value: float):
    importance = IMPORTANCE.copy()
    importance[5] = value
    with pytest.raises(InputError, match=rf"importance, column 5: is {value}"):
        encode(ROWS, "q4_k", importance)
