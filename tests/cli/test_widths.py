"""Tables at four widths: what is hidden is named, names differ, columns add up."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.document.records import Column, Document, Table
from explorer.document.text import text_of
from explorer.document.widths import distinct, width_of
from tests.cli.in_process import run

WIDTHS = (60, 80, 100, 160)
GOLDENS = Path(__file__).parent.parent / "data/goldens/widths"
COMMANDS = {
    "show": ("show", "gpt2"),
    "count": ("count", "gpt2", "llama-2-7b", "mixtral-8x7b"),
    "roles": ("roles", "gpt2"),
    "compare": ("compare", "gpt2", "gpt2-medium"),
    "explain": ("explain", "llama-2-7b"),
    "plan": ("plan", "llama-2-7b"),
    "by-component": ("show", "gpt2", "--by", "component"),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_golden_text(name, width):
    done = run(*COMMANDS[name], COLUMNS=str(width))
    lines = done.stdout.splitlines()
    assert max(map(width_of, lines)) <= width
    golden = GOLDENS / f"{name}-{width}.txt"
    if os.environ.get("WRITE_GOLDENS"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(done.stdout, "utf-8")
    assert done.stdout == golden.read_text("utf-8")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", ["show", "roles"])
def test_the_first_level_adds_up(command, width):
    text = run(command, "gpt2", COLUMNS=str(width)).stdout
    table = text[text.index("\nname ") :].splitlines()[2:]
    end = next(n for n, line in enumerate(table) if line.startswith("─"))
    first = [line for line in table[:end] if not line.startswith(" ")]
    total = ex.count_parameters("gpt2")
    counts = [number_of(line) for line in first]
    assert (sum(counts), number_of(table[end + 1])) == (total, total)


def number_of(line: str) -> int:
    """Return the parameters in a line: its first number of more than three digits."""
    return int(re.search(r"\b\d{1,3}(,\d{3})+\b", line)[0].replace(",", ""))  # type: ignore[index]


@pytest.mark.parametrize("width", WIDTHS)
def test_hidden_columns_are_named(width):
    text = run("show", "gpt2", COLUMNS=str(width)).stdout
    said = " ".join(text.split()).partition("(hidden at this width: ")[2].partition(")")[0]
    (header,) = [line for line in text.splitlines() if line.startswith("name ")]
    columns = {
        "name",
        "shape",
        "dtype",
        "role",
        "component",
        "tensors",
        "parameters",
        "bytes",
    }
    hidden = set(said.split(", ")) - {""}
    assert hidden | set(header.split()) == columns
    assert not hidden & set(header.split())
    assert {"name", "parameters", "bytes"} <= set(header.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_a_column_without_a_title_is_not_listed_as_hidden(width):
    columns = (
        Column("name", least=20),
        Column("amount", "right", rank=1),
        Column("", rank=2),
    )
    rows = [("n" * 30, 10**20, "█" * 70)] * 2
    text = text_of(Document("", (Table(columns, rows),)), width)
    (_, _, said) = text.partition("(hidden at this width: ")
    assert ", )" not in said
    assert not said.startswith(")")


def test_no_provenance_of_a_catalogued_model_is_cut():
    for name in ("deepseek-v3", "gpt2", "mixtral-8x7b", "kimi-k2"):
        for width in (80, 100):
            head = run("show", name, COLUMNS=str(width)).stdout.split("\n\nname ")[0]
            assert "…" not in head


@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_keeps_both_counts(width):
    text = run("compare", "gpt2", "gpt2-medium", COLUMNS=str(width)).stdout
    (header,) = [line for line in text.splitlines() if line.startswith("name ")]
    shown = re.split(r"  +", header)
    assert {"change", "parameters A", "parameters B"} <= set(shown)


def test_names_that_are_cut_differ():
    names = [
        f"transformer/h/{n}/attention/{word}/kernel" for n in (1, 2, 11) for word in "qkv"
    ]
    for width in (8, 12, 20, 30):
        short = distinct([*names, "total"], width)
        assert len(set(short)) == len(names) + 1
        assert max(map(width_of, short)) <= width


def test_a_pipe_is_not_cut(tmp_path, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    name = "a_rather_long_name_of_a_module_that_goes_on/" * 3
    np.savez(tmp_path / "model.npz", **{f"{name}kernel": np.ones((4, 3), "float32")})  # pyright: ignore[reportArgumentType]
    assert f"{name}kernel" in run("show", tmp_path / "model.npz", "--all").stdout


@pytest.mark.parametrize(
    ("other", "shape", "word"),
    [
        ("pooler/dense/kernel", (4, 3), "pooler"),
        ("species_2/kernel", (4, 3), "species"),
        ("blocks/0/linear_1/kernel", (4, 3), "dense"),
        ("mystery", (4,), "unclassified"),
    ],
)
def test_a_component_that_is_not_known_has_a_word(tmp_path, other, shape, word):
    np.savez(tmp_path / "model.npz", **{other: np.ones(shape, "float32")})  # pyright: ignore[reportArgumentType]
    shown = run("show", tmp_path / "model.npz", COLUMNS="160").stdout
    assert word in shown
    assert (
        '"component": "other"'
        in run("show", tmp_path / "model.npz", "--format", "json").stdout
    )


def test_one_of_a_kind():
    text = str(ex.explore({"kernel": [0.5], "bias": 1.5}))
    assert "2 tensors = 1 weight + 1 bias" in text
    assert repr(ex.explore({"bias": 0.5})) == (
        "Inventory(pytree: 1 tensor, 1 parameter, 0 weights, 1 bias)"
    )


def test_compare_exits_with_1_if_asked():
    assert run("compare", "gpt2", "gpt2-medium").returncode == 0
    for form in ("text", "json", "csv", "md"):
        asked = ("--exit-code", "--format", form)
        assert run("compare", "gpt2", "gpt2-medium", *asked).returncode == 1
        assert run("compare", "gpt2", "gpt2", *asked).returncode == 0
    assert run("compare", "gpt2", "gpt2-medium", "--no-exit-code").returncode == 0
