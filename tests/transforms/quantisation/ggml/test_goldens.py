"""Blocks are byte for byte those of ggml's own C quantiser, and are read as the gguf package does.

tests/conformance/ggml_blocks.py wrote the stored bytes, from ggml itself.
"""

from pathlib import Path

import gguf
import numpy as np
import pytest

from explorer import dtypes
from explorer.transforms.quantisation.ggml import KINDS, decode, encode

GOLDENS = dict(np.load(Path(__file__).parents[3] / "data" / "ggml_blocks.npz"))
ROWS, CASES, IMPORTANCE = (GOLDENS.pop(name) for name in ("rows", "names", "importance"))
WEIGHTED = {
    name.removeprefix("weighted "): GOLDENS.pop(name)
    for name in [*GOLDENS]
    if name.startswith("weighted ")
}
GGUF_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def read_by_gguf(blocks: np.ndarray, kind: str) -> np.ndarray:
    name = GGUF_NAMES.get(kind, kind.upper())
    with np.errstate(all="ignore"):
        return gguf.dequantize(blocks, gguf.GGMLQuantizationType[name])


def assert_same_bits(found: np.ndarray, expected: np.ndarray):
    """NaN is NaN, whichever; everything else is bit for bit the same."""
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    number = ~np.isnan(found)
    assert np.array_equal(found.view(np.int32)[number], expected.view(np.int32)[number])


def test_every_type_has_goldens():
    assert {*GOLDENS} == {*KINDS} - {"float32"}


@pytest.mark.parametrize("case", np.unique(CASES))
@pytest.mark.parametrize("kind", GOLDENS)
def test_blocks_are_ggmls(kind: str, case: str):
    chosen = case == CASES
    assert np.array_equal(encode(ROWS[chosen], kind), GOLDENS[kind][chosen])


@pytest.mark.parametrize("kind", GOLDENS)
def test_all_rows_at_once_are_ggmls(kind: str):
    assert np.array_equal(encode(ROWS, kind), GOLDENS[kind])


@pytest.mark.parametrize("case", np.unique(CASES))
@pytest.mark.parametrize("kind", WEIGHTED)
def test_blocks_by_importance_are_ggmls(kind: str, case: str):
    chosen = case == CASES
    assert np.array_equal(encode(ROWS[chosen], kind, IMPORTANCE), WEIGHTED[kind][chosen])


@pytest.mark.parametrize("kind", sorted({*KINDS} - {*WEIGHTED}))
def test_types_without_a_search_take_no_notice_of_importance(kind: str):
    assert np.array_equal(encode(ROWS, kind, IMPORTANCE), encode(ROWS, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_read_as_by_gguf(kind: str):
    blocks = GOLDENS.get(kind, ROWS.view(np.uint8))
    assert_same_bits(decode(blocks, kind, 256), read_by_gguf(blocks, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_any_bytes_are_read_as_by_gguf(kind: str):
    size = dtypes.find(kind).nbytes(512)
    blocks = np.random.default_rng(1).integers(0, 256, (200, size), np.uint8)
    assert_same_bits(decode(blocks, kind, 512), read_by_gguf(blocks, kind))


@pytest.mark.parametrize("kind", ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "tq1_0", "tq2_0"])
def test_ordinary_blocks_are_those_of_the_gguf_package(kind: str):
    rows = (np.random.default_rng(2).standard_normal((64, 512)) * 0.02).astype(np.float32)
    theirs = gguf.quantize(rows, gguf.GGMLQuantizationType[kind.upper()])
    assert np.array_equal(encode(rows, kind), theirs)
