"""Caches and compute buffers against a llama.cpp that was run for them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from explorer.architectures.resolve import resolve
from explorer.sizing.cache.amounts import amounts_of, plain
from explorer.sizing.cache.terms import cache_terms
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, Workload

FACTS = msgspec.json.decode((Path(__file__).parent / "buffers.json").read_bytes())
FIGURES = {"model", "mib", "source", "full", "windowed"}
MIB = 2**20


def workload_of(row: dict[str, Any]) -> Workload:
    settings = {name: value for name, value in row.items() if name not in FIGURES}
    return Workload(engine="llama.cpp", **settings)


def terms_of(row: dict[str, Any]) -> dict[str, Term]:
    model = resolve(row["model"]).architecture
    return {term.name: term for term in cache_terms(model, workload_of(row), Placement())}


@pytest.mark.parametrize("row", FACTS["caches"], ids=str)
def test_caches_of_gemma(row: dict[str, Any]):
    """Gemma-3-270M's published Q4_K_M file, loaded with these settings."""
    workload = workload_of(row)
    kept = plain(resolve("gemma-3-270m").architecture, workload)
    for amount in amounts_of(kept, workload):
        printed = row["full" if amount.kind.window is None else "windowed"]
        assert f"{amount.bytes / MIB:.2f}" == f"{printed:.2f}"


@pytest.mark.parametrize("row", FACTS["measured"], ids=str)
def test_a_compute_buffer_is_what_was_measured(row: dict[str, Any]):
    term = terms_of(row)["workspace"]
    assert term.bytes / MIB == pytest.approx(row["mib"], rel=0.005)
    assert term.low < row["mib"] * MIB < term.high


@pytest.mark.parametrize("row", FACTS["logged"], ids=str)
def test_a_compute_buffer_in_a_log_is_within_the_bounds(row: dict[str, Any]):
    term = terms_of(row)["workspace"]
    assert term.low <= row["mib"] * MIB <= term.high
    assert not term.is_exact


@pytest.mark.parametrize(
    ("model", "slots", "printed"),
    [
        ("gemma-3-270m", 1, "1.00"),
        ("gemma-3-270m", 2, "2.00"),
        ("qwen3-4b", 4, "2.32"),  # logs of llama-server
        ("gpt-oss-20b", 1, "0.77"),
        ("gemma-2-2b", 4, "3.91"),
        ("llama-3.1-8b", 10, "4.89"),
    ],
)
def test_the_output_buffer_has_logits_for_each_slot(model: str, slots: int, printed: str):
    row = {"model": model, "context": 4096, "parallel": slots}
    logits = terms_of(row)["logits"]
    assert f"{logits.bytes / MIB:.2f}" == printed
    assert logits.is_exact


@pytest.mark.parametrize(
    ("model", "settings", "gib"),
    [
        ("llama-3.1-8b", {}, 1.19),  # vllm 0.6 on 80 GB, its defaults
        ("llama-3.1-8b", {"prompt": 512}, 0.22),  # on 22 GB
        ("qwen2.5-1.5b", {"prompt": 32768}, 2.02),  # on 15 GB, whole prompts
    ],
)
def test_the_profile_run_of_vllm_is_within_the_bounds(
    model: str, settings: dict[str, int], gib: float
):
    """ "PyTorch activation peak memory takes" in vllm's logs."""
    workload = Workload(engine="vllm", context=4096, **settings)
    terms = cache_terms(resolve(model).architecture, workload, Placement())
    (term,) = (each for each in terms if each.name == "workspace")
    assert term.low <= gib * 2**30 <= term.high
