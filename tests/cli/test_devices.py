"""devices: the list, its parts by words, and slips."""

import csv
import io
import json

from tests.cli.in_process import printed, run


def test_every_device_has_a_line():
    lines = printed("devices").splitlines()
    assert lines[0].split()[:3] == ["device", "memory", "usable"]
    names = {line.split()[0] for line in lines if line.strip()}
    assert {"laptop-16gb", "rtx-4090", "h100", "tpu-v5e", "m4-max", "mi300x"} <= names
    assert "assumed" in lines[-2] + lines[-3] + lines[-4]


def test_words_and_formats():
    rows = list(csv.DictReader(io.StringIO(printed("devices", "tpu", "--format", "csv"))))
    assert all(row["key"].startswith("tpu-") for row in rows)
    (h200,) = json.loads(printed("devices", "h200", "--format", "json"))
    assert h200["memory"] == 141 * 10**9
    assert h200["printed"] == "141 GB"
    assert h200["price_source"].startswith("RunPod, 2026")
    # a name in another spelling, of which no words are part of the key
    (same,) = json.loads(printed("devices", "RTX4090", "--format", "json"))
    assert same["key"] == "rtx-4090"


def test_slips_are_one_line():
    done = run("devices", "h1000")
    assert done.returncode == 2
    assert done.stderr == (
        "explorer: device: no device is called 'h1000'; expected a name of "
        "`explorer devices`, or here; did you mean h100?\n"
    )
    done = run("devices", "nvidia", "tpu")
    assert done.returncode == 2
    assert "no device has the words 'nvidia tpu'" in done.stderr
