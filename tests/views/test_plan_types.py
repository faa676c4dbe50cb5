"""The rows of a plan by storage type."""

import explorer as ex
from explorer.views.plan_types import types_table


def test_a_row_a_type_and_their_total():
    table = types_table(ex.plan("llama-3.1-8b", quantize="Q4_K_M"))
    assert table is not None
    assert [row[0] for row in table.rows] == ["q4_k", "q6_k", "float32", "total"]
    assert [row[4] for row in table.rows] == ["4.5", "6.5625", "32", "4.8944"]
    assert table.rows[-1][1] == "292"


def test_plain_weights_have_no_table():
    assert types_table(ex.plan("gpt2")) is None
