"""plan: what it prints, its JSON, and slips in one line."""

import csv
import io
import json

import pytest

from explorer.sizing.records import TERMS
from tests.cli.in_process import printed, run

LLAMA = ("llama-3.1-8b", "--quantize", "Q4_K_M", "--engine", "llama.cpp")


def test_one_screen():
    lines = printed("plan", *LLAMA, "--device", "rtx-4090").splitlines()
    assert len(lines) <= 36
    assert lines[0].startswith("llama-3.1-8b needs 5.9 GB (")
    assert " fits rtx-4090 (24 GB)" in " ".join(lines[:2])
    parts = {line.split("  ")[0]: line for line in lines}
    assert "█" in parts["parameters"]
    for name in ("kv cache", "workspace", "reserve", "total", "speed", "cost"):
        assert name in parts
    assert parts["fits one ✓"].split("  ")[1].startswith("laptop-16gb ")
    assert "tokens/s" in parts["speed"]
    assert any(line.startswith("  - not modelled: ") for line in lines)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize(
    "words",
    [
        (*LLAMA, "--device", "rtx-4090"),
        ("deepseek-v3", "--context", "32768", "--engine", "vllm", "--device", "h200:8"),
        ("llama-3.1-8b", "--train", "--device", "tpu-v5e", "--mesh", "fsdp=16"),
        ("llama-3.1-8b", "--train", "--lora", "rank=16"),
        ("gpt2", "--layers", "24"),
    ],
    ids=lambda words: words[0],
)
def test_every_width_has_a_bar_for_each_term(words: tuple[str, ...], width: int):
    lines = run("plan", *words, COLUMNS=str(width)).stdout.splitlines()
    assert max(map(len, lines)) <= width
    start = next(i for i, line in enumerate(lines) if line.startswith("term "))
    end = next(i for i, line in enumerate(lines) if line.startswith("total "))
    rows = lines[start + 1 : end - 1]
    assert any("█" in row for row in rows)
    assert all(row.strip() for row in rows)  # nothing is continued in a column left out


def test_terms_add_up_and_have_the_names_of_the_contract():
    plan = json.loads(printed("plan", *LLAMA, "--device", "rtx-4090", "--format", "json"))
    for field in (
        "target", "workload", "engine", "device", "parameters", "trainable_parameters",
        "bits_per_weight", "terms", "total_bytes", "per_device_bytes", "fits", "longest_context",
        "not_modelled", "decode_tokens_per_second", "prefill_seconds", "cost",
    ):  # fmt: skip
        assert field in plan
    assert sum(term["bytes"] for term in plan["terms"]) == plan["total_bytes"]
    assert {term["name"] for term in plan["terms"]} <= set(TERMS)
    for term in plan["terms"]:
        assert term["low"] <= term["bytes"] <= term["high"]
        if term["provenance"].startswith("exact"):
            assert term["low"] == term["high"]
        else:
            assert term["provenance"].split(" ")[0] in ("estimated", "assumed", "inferred")
    assert (plan["device"], plan["fits"]) == ("rtx-4090", True)
    assert plan["decode_tokens_per_second"] > 0
    assert plan["prefill_seconds"] > 0
    assert f"{plan['bits_per_weight']:.4f}" == "4.8944"


def test_csv_has_a_row_for_each_term():
    rows = list(csv.DictReader(io.StringIO(printed("plan", "gpt2", "--format", "csv"))))
    assert rows[0]["name"] == "parameters"
    assert rows[0]["bytes"] == str(4 * 124_439_808)


@pytest.mark.parametrize(
    ("target", "gigabytes"),
    [("gpt2-xl", 3.1), ("llama-2-7b", 13.5), ("llama-2-70b", 138.0)],
)
def test_sizes_that_are_often_quoted(target: str, gigabytes: float):
    """GPT-2 with 1.5B parameters: 3 GB; LLaMA 2 from 7B to 70B: 14 to 140 GB, at 16 bits."""
    words = ("plan", target, "--dtype", "float16", "--format", "json")
    term = json.loads(printed(*words))["terms"][0]
    assert (term["name"], term["provenance"]) == ("parameters", "exact")
    assert round(term["bytes"] / 10**9, 1) == gigabytes


def test_what_does_not_fit_says_what_would():
    out = " ".join(printed("plan", "llama-2-70b", "--device", "h100").split())
    assert "does not fit h100 (80 GB)" in out
    assert "to make it fit --quantize int8 needs 72.1 GB; or --device h100:2 needs" in out
    assert "if it fitted" in out


def test_changes_are_printed_as_differences():
    out = printed("plan", "gpt2", "--layers", "24")
    assert "change" in out
    assert "+340.2 MB" in out


def test_a_target_without_an_architecture_has_the_terms_that_can_be_given(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"w": np.zeros((8, 8), "float32")}, tmp_path / "a.safetensors")
    out = printed("plan", tmp_path / "a.safetensors")
    assert "parameters" in out
    assert "the cache is not known" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "rtx4080"), "did you mean rtx-4090?"),
        (("--device", "h100:0"), "expected a name and a number from 1 to"),
        (("--engine", "vlm"), "did you mean vllm?"),
        (("--quantize", "Q4_K_X"), "did you mean"),
        (("--batch", "0"), "batch: is 0; expected at least 1"),
        (("--context", "0"), "context: is 0; expected at least 1"),
        (("--optimizer", "adamx", "--train"), "did you mean"),
        (("--remat", "ful"), "did you mean full?"),
        (("--price", "-1"), "price: is -1.0; expected dollars an hour, from 0"),
        (("--price", "nan"), "price: is nan"),
    ],
)
def test_slips_are_one_line(words: tuple[str, ...], message: str):
    done = run("plan", "gpt2", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
