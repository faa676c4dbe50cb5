"""The catalogue keeps to its width and invents no counts."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.document.text import text_of
from explorer.document.widths import width_of
from explorer.views.catalog import CatalogRow, catalog_document

COUNTED = (
    CatalogRow(
        name="gpt2",
        parameters=124_439_808,
        advertised="124M",
        file_tensors=160,
        checkpoint_tensors=148,
        buffers=12,
    ),
    CatalogRow(
        name="mixtral-8x7b",
        parameters=46_702_792_704,
        advertised="46.7B",
        active=12_879_925_248,
        advertised_active="12.9B",
        file_tensors=995,
        checkpoint_tensors=995,
        family="mixtral",
    ),
)
CLOSED = CatalogRow(
    name="gpt-4",
    parameters=None,
    publisher="OpenAI",
    estimate="about 1.8 trillion (X, 2023)",
)


def catalog_text(rows: Sequence[CatalogRow], width: int) -> str:
    return text_of(catalog_document(rows), width)


def test_exact_and_advertised_stand_side_by_side():
    text = catalog_text([*COUNTED, CLOSED], 100)
    lines = [line.split() for line in text.splitlines()]
    assert ["gpt2", "124,439,808", "124M", "160", "148"] in lines
    assert "gpt2: 160 file tensors = 148 checkpoint tensors + 12 buffers" in text
    assert [
        "mixtral-8x7b", "46,702,792,704", "12,879,925,248", "46.7B/12.9B", "995", "mixtral",
        "995",
    ] in lines  # fmt: skip
    assert "gpt-4  OpenAI     undisclosed  about 1.8 trillion (X, 2023)" in text


def test_undisclosed_rows_have_no_digits_but_the_estimate():
    row = CatalogRow(name="claude", parameters=None, publisher="Anthropic")
    text = catalog_text([row], 100)
    assert not any(c.isdigit() for c in text)
    assert "undisclosed  none with a source" in text
    assert "models" not in text


@pytest.mark.parametrize("width", [60, 80, 100, 250])
def test_counts_are_kept_in_narrow_terminals(width: int):
    text = catalog_text([*COUNTED, CLOSED], width)
    assert all(width_of(line) <= width for line in text.splitlines())
    assert "46,702,792,704" in text
    assert "46.7B/12.9B" in text


@given(st.text(max_size=60), st.text(max_size=60), st.integers(60, 250))
def test_no_line_passes_the_width(name: str, estimate: str, width: int):
    rows = [
        CatalogRow(name=name, parameters=10**15),
        CatalogRow(name=name, parameters=None, estimate=estimate),
    ]
    for line in catalog_text(rows, width).split("\n"):
        assert width_of(line) <= width
