"""The report: complete, exact, small, self-contained, and no name in it is markup."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.architectures.catalog.entries import entries
from explorer.sizing.devices.catalog import devices
from tests.checkpoints import write_folder
from tests.cli.in_process import run
from tests.views.report.reading import read_report, totals_of

MOST = 500_000
FAMILIES = {entry.config["model_type"]: entry.names[0] for entry in entries()}
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "a&amp;b &lt;i&gt;",
    "\"quoted\" 'twice' {{ 7 * 7 }} {% raw %}",
    "right\u202eto\u202cleft",
    "--><!--",
    "line\nend \x1b[31m",
    "a" * 3000,
    "層/🙂",
]


@pytest.mark.representatives(
    "gpt2-xl", "gemma-3-1b", "kimi-k2", "vit-large", "all-minilm-l6-v2"
)
@pytest.mark.parametrize("name", sorted(FAMILIES.values()))
def test_a_model_of_each_family_is_small_and_its_map_adds_up(name: str):
    page = ex.report(name)
    assert len(page.encode()) < MOST
    found, inventory = read_report(page), ex.explore(name)
    (model,) = found.data["models"]
    assert totals_of(model["map"]) == (
        inventory.num_parameters,
        inventory.nbytes,
        inventory.num_tensors,
    )
    text = " ".join(found.text)
    assert f"{inventory.num_parameters:,} parameters" in text
    assert all(how in text for how in ex.ledger(name).provenance.values() if how == "exact")


@pytest.mark.thorough
def test_the_largest_catalogued_models_are_small_too():
    largest = sorted(entries(), key=lambda entry: len(ex.explore(entry.names[0]).kinds))[
        -3:
    ]
    for entry in largest:
        assert len(ex.report(entry.names[0]).encode()) < MOST


def test_the_sliders_begin_where_a_plan_does():
    grid = read_report(ex.report("llama-3.1-8b")).data["models"][0]["grid"]
    first, plan = grid["first"], ex.plan("llama-3.1-8b")
    assert grid["contexts"][first["context"]] == plan.workload.context
    assert grid["stored"][first["stored"]]["words"] == []
    assert f"{plan.total_bytes:,}" in ex.report("llama-3.1-8b")


def test_devices_offer_what_a_plan_compares_with():
    found = {each["key"]: each for each in read_report(ex.report("gpt2")).data["devices"]}
    assert list(found) == [device.key for device in devices()]
    for fit in ex.plan("gpt2").devices:
        assert found[fit.name]["memory"] == fit.memory
        assert found[fit.name]["common"]


def test_no_name_is_markup(tmp_path: Path):
    layout = {f"{name}.weight": ((4, 3), "F32") for name in HOSTILE}
    found = read_report(ex.report(write_folder(tmp_path / "<b>model", layout)))
    (model,) = found.data["models"]
    names = {node[0] for node in model["map"]["nodes"]}
    assert any("</script><script>alert(1)" in name for name in names)
    assert not any(c in name for name in names for c in "\u202e\x1b\n")
    assert "49" not in {text.strip() for text in found.text}  # no template is run
    assert any(r"right\u202eto" in text for text in found.text)
    assert max(map(len, names)) < 300
    assert totals_of(model["map"])[0] == 12 * len(HOSTILE)


@pytest.mark.parametrize("layout", [
    {f"{n:05d}_{'é' * (n % 7)}{n * 7919 % 1000}.w": ((n % 9 + 1, 3), "F32") for n in range(20_000)},
    {f"m{n % 97}.{'x' * 300}{n}.weight": ((n % 90 + 1,), "F32") for n in range(3000)},
], ids=["20,000", "long"])  # fmt: skip
def test_tensors_that_do_not_fold_stay_within_the_limit(tmp_path: Path, layout: dict):
    folder = write_folder(tmp_path / "model", layout)
    page = ex.report(folder, values=False)
    assert len(page.encode()) < MOST
    found, inventory = read_report(page), ex.explore(folder)
    (model,) = found.data["models"]
    assert totals_of(model["map"]) == (
        inventory.num_parameters,
        inventory.nbytes,
        len(layout),
    )
    assert any("more rows are not shown" in text for text in found.text)


def test_values_are_described_with_histograms(tmp_path: Path):
    values = np.random.default_rng(0).normal(size=(40, 30)).astype("float32")
    np.savez(tmp_path / "model.npz", kernel=values, bias=np.zeros(3, "float32"))
    found = read_report(ex.report(tmp_path / "model.npz"))
    text = " ".join(found.text)
    assert "1,203 numbers, all finite" in text
    labels = [
        str(at.get("aria-label"))
        for tag, at in found.elements
        if at.get("class") == "histogram"
    ]
    exponents = np.floor(np.log2(np.abs(values))).astype(int).ravel().tolist()
    peak = max(set(exponents), key=exponents.count)
    assert all(f"from 2^{peak} to 2^{peak + 1}" in label for label in labels)
    assert len(labels) == 2  # of the kernel and of all; zeros have no magnitude
    assert "were not asked for" in " ".join(
        read_report(ex.report(tmp_path / "model.npz", values=False)).text
    )


def test_a_tree_in_memory_and_one_without_a_plan():
    tree = {"dense": {"kernel": np.ones((4, 3), "float32"), "bias": np.zeros(3, "float32")}}
    found = read_report(ex.report(tree))
    assert totals_of(found.data["models"][0]["map"]) == (15, 60, 2)
    assert found.data["models"][0]["grid"]["contexts"] == []


def test_two_targets_are_compared():
    found = read_report(ex.report("gpt2", "gpt2-medium"))
    assert [each["target"] for each in found.data["models"]] == ["gpt2", "gpt2-medium"]
    compared = ex.compare("gpt2", "gpt2-medium")
    text = " ".join(found.text)
    assert f"{len(compared.added):,} added, {len(compared.reshaped):,} reshaped" in text
    a, b = (ex.count_parameters(name) for name in ("gpt2", "gpt2-medium"))
    assert "A: gpt2, B: gpt2-medium" in text
    assert f"A has {a:,} parameters" in text
    assert f"total {a:,} {b:,} +{b - a:,}" in " ".join(text.split())


def test_the_tile_of_tensors_says_how_many_hold_parameters():
    tree = {"params": {"w": np.ones((4, 3))}, "batch_stats": {"mean": np.ones(3)}}
    text = " ".join(read_report(ex.report(tree)).text)
    assert "exact; 1 holds parameters" in text
    assert "hold parameters" not in " ".join(read_report(ex.report("gpt2")).text)


def test_roles_by_use_are_there_where_they_are_asked_for():
    text = " ".join(read_report(ex.report("gpt2", roles=True)).text)
    found = ex.report_roles("gpt2")
    assert f"{found.weights:,} weights + {found.biases:,} biases, by use" in text


def test_a_report_of_a_name_loads_no_array_library():
    script = "import sys, explorer as ex; ex.report('llama-3.1-8b'); print(sorted({'jax', 'numpy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_command_writes_a_new_file_alone(tmp_path: Path):
    done = run("report", "gpt2", "-o", "two words.html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "two words.html").read_text("utf-8")
    assert (
        done.stdout
        == "two words.html: open it in a browser, or send it; it needs nothing else\n"
    )
    assert page == ex.report("gpt2")
    for path, why in (
        ("two words.html", "is there already; expected a free name"),
        ("none/a.html", "cannot be written: No such file or directory"),
    ):
        done = run("report", "gpt2", "-o", path, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"explorer: {path}: {why}")
        assert done.stderr.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["two words.html"]


def test_values_that_are_asked_for_must_be_there(tmp_path: Path):
    done = run("report", "gpt2", "--values", "-o", "a.html", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "explorer.views.report.page", raising=False)
    with pytest.raises(
        ex.MissingPackageError, match=r"pip install -e '\.\[report\]' in the repository"
    ):
        ex.report("gpt2")
