"""compare: structures, as a table with equal layers folded."""

import csv
import html
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from tests.cli.in_process import printed, run


def layers(number: int, width: int) -> dict[str, np.ndarray]:
    return {f"h.{n}.kernel": np.zeros((width, 2), np.float32) for n in range(number)}


def test_the_table_of_a_comparison(tmp_path):
    save_file(layers(3, 4), tmp_path / "a.safetensors")
    wider = {**layers(4, 5), "head.bias": np.zeros(2, np.float16)}
    save_file(wider, tmp_path / "b.safetensors")
    done = run("compare", tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines() if line]
    assert (
        lines[2]
        == "A has 24 parameters (96 B), B has 42 parameters (164 B): +18 (+75.0%), +68 B"
    )
    assert (
        "h/[0-2] -> [0-3] [4, 2] float32 -> [5, 2] float32 reshaped 24 40 +16 96 B 160 B +64 B"
        in lines
    )
    assert "total 24 42 +18 96 B 164 B +68 B" in lines
    assert lines[-5:] == [
        "2 added, 3 reshaped, 0 unchanged",
        "change tensor tensors before after",
        "added h/3/kernel float32[5, 2]",
        "added head/bias float16[2]",
        "reshaped h/[0-2]/kernel 3 float32[4, 2] float32[5, 2]",
    ]
    same = printed("compare", tmp_path / "a.safetensors", tmp_path / "a.safetensors")
    assert same.splitlines()[-1] == "3 unchanged"
    args = ("compare", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--format")
    found = json.loads(run(*args, "json").stdout)
    assert (found["identical"], found["unchanged"], len(found["changes"])) == (False, 0, 5)
    (bias,) = [each for each in found["changes"] if each["after"] == "head/bias"]
    assert (bias["change"], bias["shape_before"], bias["shape_after"]) == (
        "added",
        None,
        [2],
    )
    assert len(run(*args, "csv").stdout.splitlines()) == 6


def test_str_of_a_comparison_is_the_table():
    a = {"layer_0": {"w": jnp.zeros(2)}, "layer_1": {"w": jnp.zeros(2)}}
    b = {"layer_0": {"w": jnp.zeros(3)}, "layer_1": {"w": jnp.zeros(3)}}
    lines = str(ex.compare(a, b)).splitlines()
    assert lines[0].startswith("A has 4 parameters (16 B), B has 6 parameters (24 B): +2 ")
    assert "2 reshaped, 0 unchanged" in lines
    row = "reshaped layer_[0-1]/w 2 float32[2] float32[3]"
    assert lines[-1].split() == row.split()


PAIRS = (
    ("gpt2", "gpt2-medium"),
    ("llama-2-7b", "llama-3.1-8b"),
    ("deepseek-v2", "deepseek-v3"),
)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_every_form_has_the_totals_and_the_modules(a, b):
    sides = [ex.ledger(name) for name in (a, b)]
    counts = [side.parameters for side in sides]
    more = counts[1] - counts[0]
    found = json.loads(run("compare", a, b, "--json").stdout)
    whole, *modules = found["modules"]
    assert [whole[side]["parameters"] for side in "ab"] == counts
    assert (whole["parameters"], whole["nbytes"]) == (
        more,
        sides[1].nbytes - sides[0].nbytes,
    )
    first = [each for each in modules if each["level"] == 1]
    for field in ("parameters", "nbytes"):
        assert sum(each[field] for each in first) == whole[field]
    shown = run("compare", a, b).stdout
    record = ex.compare(a, b)
    for text in (shown, str(record), record._repr_html_() or ""):
        assert all(f"{number:,}" in text for number in (*counts, abs(more)))
        assert all(each["name"] in html.unescape(text) for each in first)


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_csv_has_integers_where_a_column_counts(a, b):
    rows = list(csv.DictReader(run("compare", a, b, "--csv").stdout.splitlines()))
    for row in rows:
        old, new = (int(row[f"parameters {side}"] or 0) for side in "AB")
        assert int(row["B - A"]) == new - old
        assert row["bytes B - A"]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_width_hides_the_names_of_the_two_or_what_changed(tmp_path, width):
    folders = [tmp_path / ("x" * 60) / name for name in ("first", "second")]
    for folder, dtype in zip(folders, (np.float32, np.float16), strict=True):
        folder.mkdir(parents=True)
        save_file({"dense.kernel": np.zeros((4, 2), dtype)}, folder / "m.safetensors")
    files = [folder / "m.safetensors" for folder in folders]
    for command in ("compare", "diff"):
        head = run(command, *files, COLUMNS=str(width)).stdout.split("\n\n")[0]
        assert [name in head for name in ("first/m.saf", "second/m.saf")] == [True, True]
        assert max(map(len, head.splitlines())) <= width
    assert re.search(
        "^dense.* recast ", run("compare", *files, COLUMNS=str(width)).stdout, re.MULTILINE
    )
