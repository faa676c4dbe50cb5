"""Sizes and shares round as they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.views import units


@given(st.integers(0, 10**30))
def test_sizes_are_within_half_a_unit_of_the_last_digit(nbytes):
    number, unit = units.size(nbytes).split()
    scale = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}[
        unit
    ]
    assert abs(float(number) * scale - nbytes) <= max(scale * 0.05, nbytes * 1e-9) * 1.001


@given(st.integers(0, 10**12), st.integers(1, 10**12))
def test_shares_round_to_a_tenth(part, whole):
    part = min(part, whole)
    shown = units.share(part, whole)
    true = 100 * part / whole
    if shown == "<0.1%":
        assert 0 < true <= 0.05
    elif shown == ">99.9%":
        assert 99.94 <= true < 100
    else:
        assert abs(float(shown.rstrip("%")) - true) <= 0.0501


@pytest.mark.parametrize("size", [10**15, 10_821_900_000_000_000, 999 * 10**15])
def test_no_size_has_more_than_three_digits_before_its_unit(size: int):
    shown = units.size(size)
    assert shown.endswith(" PB")
    assert len(shown.partition(".")[0]) <= 3
    assert units.span(size, 2 * size).endswith(" PB")
