"""What parameters take in memory at a number of bits each."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.analyses.widths import WIDTHS, bytes_at, widths_of
from explorer.errors import InputError
from tests.cli.in_process import printed


@given(st.integers(0, 10**15), st.integers(4, 640).map(lambda tenths: tenths / 10))
def test_bytes_are_the_least_that_hold_all_bits(parameters: int, bits: float):
    width = f"{bits:g}"
    (found,) = bytes_at(parameters, [width]).values()
    needed = parameters * Fraction(width)
    assert needed <= 8 * found < needed + 8


# "1.5B: 3 GB" and "7B-70B: 14-140 GB" at 16 bits, as the field quotes them
@pytest.mark.parametrize(
    ("name", "quoted"), [("gpt2-xl", 3), ("llama-2-7b", 14), ("llama-2-70b", 140)]
)
def test_the_quoted_sizes_at_16_bits_come_out(name: str, quoted: int):
    (found,) = json.loads(printed("count", name, "--bits", "16", "--format", "json"))
    assert found["bytes_at"]["16"] == 2 * found["parameters"]
    assert found["bytes_at"]["16"] / 10**9 == pytest.approx(quoted, rel=0.05)


def test_every_answer_has_it():
    line = "32.1 GB at 32 bits, 16.1 at 16, 8.0 at 8, 4.0 at 4"
    assert f"in memory: {line}" in printed("show", "llama-3.1-8b").splitlines()
    titles, row = map(str.split, printed("count", "llama-3.1-8b").splitlines()[-2:])
    assert titles == ["in", "memory", "32", "bits", "16", "bits", "8", "bits", "4", "bits"]
    assert row == ["llama-3.1-8b", "32.1", "GB", "16.1", "GB", "8.0", "GB", "4.0", "GB"]
    both = printed("count", "llama-3.1-8b", "gpt2", "--dtype", "bf16").splitlines()[-3:]
    assert [row.split()[-2:] for row in both] == [
        ["16", "bits"],
        ["16.1", "GB"],
        ["248.9", "MB"],
    ]


def test_widths_are_checked():
    assert widths_of(4, "fp8") == ("8", "4")
    assert widths_of(None, None) == WIDTHS
    for bits in (0, -1, 65, float("nan")):
        with pytest.raises(
            InputError, match=r"--bits: is \S+; expected a number from 1 to 64"
        ):
            widths_of(bits, None)
    with pytest.raises(
        InputError, match=r"no dtype is called 'bfloat15'.*did you mean bfloat16"
    ):
        widths_of(None, "bfloat15")
