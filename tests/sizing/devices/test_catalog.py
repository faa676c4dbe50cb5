"""Devices against a list of published figures, and how they are found by name."""

import csv
from pathlib import Path

import pytest

from explorer.errors import InputError, TreeError
from explorer.sizing.devices.catalog import COMMON, devices, find_device
from explorer.sizing.devices.choice import choose
from explorer.sizing.devices.here import devices_here

PUBLISHED = list(csv.DictReader((Path(__file__).parent / "published.csv").open()))
UNITS = {"GB": 10**9, "GiB": 2**30, "e9 bytes": 10**9}


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row["name"])
def test_figures_are_the_published_ones(row: dict[str, str]):
    name = row["name"].replace("TPU7x", "tpu-v7x").removesuffix(" SXM")
    device = find_device(name)
    unified = device.vendor == "Apple"  # memory modules come in powers of two
    unit = UNITS["GiB" if unified else row["unit"]]
    assert device.memory == int(row["memory"]) * unit
    assert device.bandwidth == float(row["gigabytes_per_second"]) * 10**9
    peak = device.teraflops.get("bf16")
    assert peak == (float(row["bf16_teraflops"]) if row["bf16_teraflops"] else None)
    assert device.sources


def test_every_published_device_is_there():
    assert len(devices()) == len(PUBLISHED) + 2  # and two laptops
    assert len({device.key for device in devices()}) == len(devices())
    assert set(COMMON) <= {device.key for device in devices()}


def test_best_measured_matrix_products():
    """The MAMF table of stas00/ml-engineering, compute/accelerator/README.md (2025)."""
    measured = {
        ("a100", "bf16"): 271.2,
        ("h100", "bf16"): 794.5,
        ("h100", "fp8"): 1402.6,
        ("b200", "bf16"): 1745,
        ("mi300x", "bf16"): 668.4,
    }
    for (key, dtype), rate in measured.items():
        device = find_device(key)
        assert device.measured[dtype] == rate
        assert rate < device.teraflops[dtype]


def test_prices_and_power_have_a_source_or_are_not_given():
    for device in devices():
        assert (device.price is None) == (device.price_source == ""), device.key
        assert device.watts is None or 0 < device.watts <= 1000
    assert find_device("tpu-v6e").price is None


def test_usable_memory():
    assert find_device("h100").usable_memory == 80 * 10**9
    # what macOS lets a GPU wire: two thirds up to 36 GB, three quarters above
    assert find_device("m3-pro").usable == pytest.approx(2 / 3, abs=1e-3)
    assert find_device("m4-max").usable_memory == 96 * 2**30
    assert find_device("laptop-16gb").usable_memory == 12 * 2**30


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("RTX4090", "rtx-4090"),
        ("rtx 4090", "rtx-4090"),
        ("v5e", "tpu-v5e"),
        ("TPU v5e", "tpu-v5e"),
        ("Apple M4 Max", "m4-max"),
        ("trillium", "tpu-v6e"),
        ("A100-SXM-80GB", "a100"),
    ],
)
def test_spellings(name: str, key: str):
    assert find_device(name).key == key


def test_numbers():
    assert (choose("h200:8").device.key, choose("h200:8").count) == ("h200", 8)
    assert choose("h200").count == 1
    for text in ("h100:0", "h100:-1", "h100:x", "h100:", "h100:99999999"):
        with pytest.raises(InputError, match="a number from 1 to"):
            choose(text)
    with pytest.raises(InputError, match="did you mean rtx-4090"):
        choose("rtx4080")
    with pytest.raises(TreeError, match="is int"):
        choose(4)  # pyright: ignore[reportArgumentType]


def test_this_machine():
    device, count = devices_here()
    assert (device.key, count) == ("here", 1)
    assert 0 < device.usable_memory < device.memory
