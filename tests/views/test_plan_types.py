"""The rows of a plan by storage type."""

import re

import pytest

import explorer as ex
from explorer.architectures.catalog.entries import entries
from explorer.errors import InputError
from explorer.views.plan_types import types_table


def test_a_row_a_type_and_their_total():
    table = types_table(ex.plan("llama-3.1-8b", quantize="Q4_K_M"))
    assert table is not None
    assert [row[0] for row in table.rows] == [
        "q4_k",
        "q6_k",
        "float32",
        "buffers (float32)",
        "total",
    ]
    assert [row[4] for row in table.rows] == ["4.5", "6.5625", "32", "", "4.8944"]
    assert table.rows[-1][1] == "292"


@pytest.mark.parametrize("scheme", ["Q4_K_M", "Q8_0", "int8", "nf4"])
@pytest.mark.parametrize("name", sorted({entry.names[0] for entry in entries()}))
def test_parameters_of_all_types_are_those_of_the_model(name: str, scheme: str):
    try:
        plan = ex.plan(name, quantize=scheme)
    except InputError as error:
        assert "llama.cpp" in str(error) or "no kernel" in str(error)  # noqa: PT017
        return
    left = re.findall(r"leaves out ([\d,]+) parameters", plan.terms[0].note)
    missing = sum(int(number.replace(",", "")) for number in left)
    assert (
        sum(total.elements for total in plan.by_type.values()) + missing == plan.parameters
    )
    stored = sum(
        term.bytes for term in plan.terms if term.name in ("parameters", "quantization")
    )
    assert sum(total.bytes for total in plan.by_type.values()) == stored


def test_plain_weights_have_no_table():
    assert types_table(ex.plan("gpt2")) is None
