"""Two processes, each with its own shards, find what one process finds of the whole."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import explorer as ex
from tests.training.devices import environment
from tests.values.in_processes import whole_arrays

ROOT = Path(__file__).parents[2]
CLOSE = ("mean", "std", "rms", "l1", "l2")


@pytest.fixture(scope="module")
def reports() -> list[dict]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.values.in_processes", str(port), str(number)],
            cwd=ROOT,
            env=environment(devices=2),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    try:
        reported = [process.communicate(timeout=300) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], (
        reported[0][1] + reported[1][1]
    )
    return [json.loads(out.splitlines()[-1]) for out, _ in reported]


@pytest.mark.parametrize("statistics", ["all", "moments"])
def test_both_find_what_one_finds(reports: list[dict], statistics: str):
    first, second = (report["found"][statistics] for report in reports)
    assert first == second
    one = ex.describe(whole_arrays(), statistics=statistics)
    one = json.loads(msgspec.json.encode(one))
    assert [each["name"] for each in first["tensors"]] == [
        e["name"] for e in one["tensors"]
    ]
    pairs = [
        (a["statistics"], b["statistics"]) for a, b in zip(first["tensors"], one["tensors"])
    ]
    for ours, whole in [*pairs, (first["totals"], one["totals"])]:
        for name in CLOSE:
            np.testing.assert_allclose(
                ours.pop(name), whole.pop(name), rtol=1e-6, atol=1e-7
            )
        quantiles, exact = ours.pop("quantiles"), whole.pop("quantiles")
        assert quantiles.keys() == exact.keys()
        for share, value in quantiles.items():
            np.testing.assert_allclose(value, exact[share], rtol=2**-7)
        del ours["quantile_error"], whole["quantile_error"]
        assert ours == whole


def test_what_needs_the_whole_says_so(reports: list[dict]):
    for report in reports:
        assert set(report["refused"]) == {"check", "digest"}
        for text in report["refused"].values():
            assert "is sharded over devices of several processes" in text
