"""Tables keep to their width whatever stands in them."""

from hypothesis import given
from hypothesis import strategies as st

from explorer.views import units
from explorer.views.table import Column, clip, render_table, width_of

COLUMNS = (
    Column("name", elastic=True),
    Column("shape", rank=1),
    Column("count", "right"),
    Column("more", rank=2),
)


@given(
    st.lists(st.tuples(*[st.text(max_size=80)] * 4), min_size=1, max_size=6),
    st.integers(60, 250),
)
def test_no_line_passes_the_width(rows, width):
    for line in render_table(COLUMNS, rows, width, total=True).split("\n"):
        assert width_of(line) <= width


@given(st.text(max_size=200), st.integers(2, 100))
def test_clip_keeps_both_ends(text, width):
    short = clip(text, width)
    assert width_of(short) <= max(width, 0)
    if width_of(text) <= width:
        assert short == text


@given(st.integers(0, 10**30))
def test_sizes_are_within_half_a_unit_of_the_last_digit(nbytes):
    number, unit = units.size(nbytes).split()
    scale = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[unit]
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
