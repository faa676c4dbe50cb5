"""What multiplies a token has one definition: that of the traced matrix products."""

import re

import pytest

import explorer as ex
from explorer.analyses.active import multiplied_once, multiplied_parameters
from explorer.architectures.catalog.entries import entries
from tests.cli.in_process import run

NAMES = sorted({entry.names[0] for entry in entries()})
OF_TEXT = [name for name in NAMES if not name.startswith("vit-")]


@pytest.mark.parametrize("name", OF_TEXT)
def test_what_multiplies_a_token_is_what_a_trace_of_the_model_multiplies(name):
    report = ex.report_roles(name)
    macs = sum(row.macs for row in report.rows)
    inventory = ex.explore(name)
    multiplied = multiplied_parameters(inventory)
    assert multiplied is not None
    assert macs == report.tokens * multiplied + multiplied_once(inventory)


@pytest.mark.parametrize("name", ["gpt2", "deepseek-v3", "all-minilm-l6-v2"])
def test_all_pages_say_the_same(name):
    multiplied = multiplied_parameters(ex.explore(name))
    assert multiplied
    (topic,) = ex.explain(name, "speed").topics
    assert topic.facts[0].value == 2 * multiplied
    page = ex.report(name, values=False)
    assert f"One token multiplies {multiplied:,} parameters" in page


def test_the_total_that_roles_prints_is_two_for_each():
    total = re.findall(r"^total.* ([\d,]+)$", run("roles", "gpt2").stdout, re.MULTILINE)[-1]
    assert int(total.replace(",", "")) == 2 * (
        multiplied_parameters(ex.explore("gpt2")) or 0
    )


def test_a_classifier_multiplies_every_token_where_tokens_are_labelled():
    config = {
        "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64, "vocab_size": 100, "max_position_embeddings": 64, "num_labels": 3,
    }  # fmt: skip
    of_tokens, of_texts = (
        ex.explore({**config, "architectures": [f"BertFor{part}Classification"]})
        for part in ("Token", "Sequence")
    )
    layers = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    assert multiplied_parameters(of_tokens) == layers + 32 * 3
    assert multiplied_once(of_tokens) == 0
    assert multiplied_parameters(of_texts) == layers
    assert multiplied_once(of_texts) == 32 * 32 + 32 * 3
