"""What `encode` and `decode` take, and what they refuse."""

import subprocess
import sys

import numpy as np
import pytest

from explorer.errors import InputError
from explorer.transforms.quantisation.ggml import KINDS, decode, encode

ROWS = np.linspace(-1, 1, 1024, dtype=np.float32).reshape(2, 512)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_a_finite_number_is_named_by_its_place(kind: str, value: float):
    rows = ROWS.copy()
    rows[1, 37] = rows[1, 400] = value
    with pytest.raises(InputError, match=rf"^row 1, column 37: is {value}; expected a "):
        encode(rows, kind)


def test_rows_that_the_blocks_do_not_divide_are_refused():
    with pytest.raises(InputError, match="rows of 640 values; expected a multiple of 256"):
        encode(np.zeros((1, 640), np.float32), "q4_k")
    with pytest.raises(InputError, match="rows of 40 values; expected a multiple of 32"):
        decode(np.zeros((1, 22), np.uint8), "q4_0", 40)


def test_an_unknown_type_is_refused_with_all_that_are_known():
    with pytest.raises(
        InputError, match=r"q4_k_m: is not a type of block; expected q4_0, .*q4_k"
    ):
        encode(ROWS, "q4_k_m")
    with pytest.raises(InputError, match="q9_0: is not a type"):
        decode(np.zeros((1, 34), np.uint8), "q9_0", 32)


@pytest.mark.parametrize("rows", [ROWS.astype(np.float64), ROWS[0], ROWS[None]])
def test_rows_are_a_matrix_of_float32(rows: np.ndarray):
    with pytest.raises(InputError, match=r"expected float32 \[n, k\]"):
        encode(rows, "q8_0")


def test_blocks_are_rows_of_whole_blocks():
    with pytest.raises(InputError, match=r"expected uint8 \[n, 288\] for rows of 512"):
        decode(np.zeros((1, 144), np.uint8), "q4_k", 512)


def test_rows_may_be_strided():
    assert np.array_equal(encode(ROWS[::-1], "q4_k"), encode(ROWS[::-1].copy(), "q4_k"))
    turned = np.asfortranarray(ROWS)
    assert np.array_equal(encode(turned, "q6_k"), encode(ROWS, "q6_k"))
    blocks = np.asfortranarray(encode(ROWS, "q6_k"))
    assert np.array_equal(decode(blocks, "q6_k", 512), decode(blocks.copy(), "q6_k", 512))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_left_as_they_are(kind: str):
    rows = ROWS.copy()
    rows.setflags(write=False)
    encode(rows, kind)
    assert np.array_equal(rows, ROWS)


def test_the_package_loads_neither_jax_nor_numpy():
    program = (
        "import sys, explorer.transforms; assert not {'jax', 'numpy'} & {*sys.modules};"
        "import explorer.transforms.quantisation.ggml; assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
