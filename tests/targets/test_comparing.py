"""One model under two names and layouts, compared: what is the same is found to be the same."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import InputError, TargetError, TreeError
from explorer.formats import files
from explorer.values.differences import Difference
from tests.pretrained.gguf_files import write as write_gguf
from tests.pretrained.test_gguf import MADE, UNSET
from tests.pretrained.test_round_trip import CONFIGS, LLAMA
from tests.pretrained.tiny import checkpoint
from tests.training.devices import environment


def folder_of(path: Path, config: dict, tensors: dict) -> Path:
    """A folder as the Hub has it."""
    path.mkdir()
    save_file(
        {k: np.ascontiguousarray(v) for k, v in tensors.items()}, path / "model.safetensors"
    )
    (path / "config.json").write_text(json.dumps(config))
    return path


def save_orbax(path: Path, tree: Any) -> Path:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), tree)
    return path


def verdicts(found: Difference) -> set[str]:
    return {each.verdict for each in found.tensors}


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("model", CONFIGS)
def test_a_checkpoint_and_its_parameters(tmp_path: Path, model: str, scan: bool):
    config = CONFIGS[model]
    folder = folder_of(tmp_path / "hf", config, checkpoint(config))
    _, params = ex.load_pretrained(folder, scan=scan)
    assert ex.diff(folder, params).identical
    found = ex.diff({"params": params}, folder)
    assert found.identical
    elements = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert sum(int(np.prod(each.shape_a or ())) for each in found.tensors) == elements


@pytest.mark.parametrize("model", CONFIGS)
def test_one_number_is_named_in_any_layout(tmp_path: Path, model: str):
    """One number of one stored tensor is changed: it alone is found, at its own place."""
    config, rng = CONFIGS[model], np.random.default_rng(0)
    tensors = checkpoint(config)
    folder = folder_of(tmp_path / "hf", config, tensors)
    _, params = ex.load_pretrained(folder, scan=True)
    for name in rng.choice(sorted(tensors), 4):
        index = tuple(int(rng.integers(size)) for size in tensors[name].shape)
        changed = {**tensors, name: np.array(tensors[name])}
        changed[name][index] += 1
        other = folder_of(tmp_path / f"hf {name.replace('/', '.')}", config, changed)
        found = ex.diff(other, params)
        (hit,) = [each for each in found.tensors if each.verdict != "identical"]
        assert hit.changed == 1
        assert hit.max_abs == pytest.approx(1, rel=1e-4)
        if hit.name == name.replace(".", "/"):
            assert hit.first_index == index


@pytest.mark.parametrize("model", MADE)
def test_a_checkpoint_and_its_gguf_file(tmp_path: Path, model: str):
    config = MADE[model] | UNSET.get(MADE[model]["model_type"], {})
    tensors = checkpoint(config)
    folder = folder_of(tmp_path / "hf", config, tensors)
    path = write_gguf(tmp_path / "m.gguf", config, tensors)
    found = ex.diff(folder, path)
    rest = [each for each in found.tensors if each.verdict != "identical"]
    assert not rest, rest[:3]


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q5_1"])
def test_a_checkpoint_and_its_quantised_gguf_file(tmp_path: Path, kind: str):
    config = LLAMA | {"intermediate_size": 64}
    tensors = checkpoint(config)
    folder = folder_of(tmp_path / "hf", config, tensors)
    number = gguf.GGMLQuantizationType[kind]
    path = write_gguf(tmp_path / "m.gguf", config, tensors, kind=number)
    found = ex.diff(folder, path)
    by = {each.in_a: each.verdict for each in found.tensors}
    assert all(
        verdict
        == ("quantized" if tensors[name.replace("/", ".")].ndim > 1 else "identical")
        for name, verdict in by.items()
    ), by
    assert {each.detail for each in found.tensors} == {kind.lower(), ""}
    # quantised and dequantised again
    _, params = ex.load_pretrained(path)
    assert verdicts(ex.diff(path, params)) == {"quantized", "identical"}
    # of two quantisations, each is within half a step of what both were made of
    other = write_gguf(
        tmp_path / "o.gguf", config, tensors, kind=gguf.GGMLQuantizationType.Q5_0
    )
    assert verdicts(ex.diff(path, other)) == {"quantized", "identical"}
    # a number that is two steps off
    name = next(iter(n for n, a in tensors.items() if a.ndim > 1))
    tensors[name] = np.array(tensors[name])
    tensors[name][0, 0] += 8 * np.abs(tensors[name]).max()
    worse = folder_of(tmp_path / "worse", config, tensors)
    found = ex.diff(worse, path)
    assert [each.in_a.replace("/", ".") for each in found.tensors if each.verdict == "different"] == [name]  # fmt: skip


def test_a_rounded_checkpoint_and_its_parameters(tmp_path: Path):
    tensors = checkpoint(LLAMA)
    a = folder_of(tmp_path / "a", LLAMA, tensors)
    narrow = {name: array.astype(ml_dtypes.bfloat16) for name, array in tensors.items()}
    b = folder_of(tmp_path / "b", LLAMA, narrow)
    found = ex.diff(a, b)
    assert verdicts(found) == {"rounding"}
    assert not found.within_tolerance
    assert ex.diff(a, b, rtol=2**-8).within_tolerance
    _, params = ex.load_pretrained(b, scan=True)
    assert verdicts(ex.diff(a, params)) == {"rounding"}


SHARDED = """
import jax, numpy as np, explorer as ex
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"))
x = np.random.default_rng(0).random((8, 12), np.float32)
for spec in (P(), P("a"), P("a", "b"), P(None, ("a", "b"))):
    y = jax.device_put(x, NamedSharding(mesh, spec))
    assert str(ex.digest({"x": y})) == str(ex.digest({"x": x}))
    assert ex.diff({"x": x}, {"x": y}).identical
    found = ex.diff({"x": x}, {"x": y.at[5, 7].add(1.0)}).tensors[0]
    assert (found.changed, found.first_index) == (1, (5, 7))
"""


def test_shardings_do_not_matter():
    subprocess.run([sys.executable, "-c", SHARDED], check=True, env=environment(devices=4))


class Net(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.inner = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)


def test_a_live_module_and_its_orbax_folder(tmp_path: Path):
    net = Net()
    state: Any = nnx.state(net)
    path = save_orbax(tmp_path / "saved", state)
    assert any(
        name.endswith("/value") for name in (t.name for t in ex.explore(path).tensors)
    )
    found = ex.diff(net, path)
    assert found.identical, found
    assert str(ex.digest(net)) == str(ex.digest(path))
    net.inner.kernel[...] = net.inner.kernel[...].at[2, 1].add(1.0)
    (hit,) = [each for each in ex.diff(net, path).tensors if each.verdict != "identical"]
    assert (hit.name, hit.first_index, hit.changed) == ("inner/kernel", (2, 1), 1)


def test_stacked_layers_without_a_config():
    rng = np.random.default_rng(0)
    layers = [{"mlp": {"kernel": rng.standard_normal((3, 5))}} for _ in range(4)]
    single = {"embed": np.ones(3)} | {f"layer_{i}": layer for i, layer in enumerate(layers)}
    stack = np.stack([layer["mlp"]["kernel"] for layer in layers])
    stacked = {"embed": np.ones(3), "layers": {"mlp": {"kernel": stack}}}
    assert ex.diff(single, stacked).identical
    assert ex.diff(stacked, single).identical
    stack[2, 1, 4] += 1
    (hit,) = [
        each for each in ex.diff(stacked, single).tensors if each.verdict != "identical"
    ]
    assert (hit.name, hit.first_index) == ("layer_2/mlp/kernel", (1, 4))


def test_names_that_the_user_matches():
    a = {"old": {"x": np.ones(2), "y": np.zeros(2)}, "z": np.ones(3)}
    b = {"new": {"x": np.ones(2), "y": np.zeros(2)}, "w": np.ones(3)}
    assert ex.diff(a, b, match={"old": "new", "z": "w"}).identical
    assert ex.diff(
        a, b, match=lambda name: name.replace("old", "new").replace("z", "w")
    ).identical
    with pytest.raises(InputError, match="has no tensor nothing"):
        ex.diff(a, b, match={"z": "nothing"})
    with pytest.raises(TreeError, match="match: is int"):
        ex.diff(a, b, match=3)  # pyright: ignore


def test_prefixes_are_found_by_the_ends_of_names():
    a = {"model": {"x": {"kernel": np.ones((2, 3))}, "y": {"kernel": np.zeros((2, 3))}}}
    found = ex.diff(a, {"net": {"backbone": a["model"]}})
    assert found.identical
    assert "by shapes and the ends of names" in found.notes[0]


def test_missing_added_and_other_shapes():
    a = {"x": np.ones(2), "s": np.ones((2, 3)), "only": np.ones(7)}
    b = {"x": np.ones(2), "s": np.ones((3, 2)), "new": np.ones((7, 2))}
    found = ex.diff(a, b)
    assert [(each.name, each.verdict) for each in found.tensors] == [
        ("only", "missing"), ("new", "added"), ("s", "different"), ("x", "identical"),
    ]  # fmt: skip
    shaped = found.tensors[2]
    assert (shaped.shape_a, shaped.shape_b, shaped.max_abs) == ((2, 3), (3, 2), None)
    assert not ex.diff(a, b, rtol=10, atol=10).within_tolerance


def test_two_names_of_one_array():
    shared = np.ones((3, 4))
    tied = {"embed": shared, "head": shared}
    assert ex.diff(tied, tied).identical
    assert ex.diff(tied, {"embed": np.ones((3, 4))}).identical
    untied = {"embed": np.ones((3, 4)), "head": np.zeros((3, 4))}
    assert [each.name for each in ex.diff(tied, untied).tensors if each.changed] == ["head"]


def test_targets_without_values():
    with pytest.raises(TreeError, match="has a shape and no values"):
        ex.diff({"x": jax.ShapeDtypeStruct((2,), "float32")}, {"x": np.ones(2)})
    with pytest.raises(TreeError, match="has shapes and no values"):
        ex.diff("gpt2", {"x": np.ones(2)})
    with pytest.raises(TreeError, match="has shapes and no values"):
        ex.digest("gpt2")
    with pytest.raises(InputError, match="rtol: is -1"):
        ex.diff({"x": 1.0}, {"x": 1.0}, rtol=-1)


@pytest.mark.parametrize("call", ["diff", "digest"])
def test_a_file_that_changes_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    path = tmp_path / "m.safetensors"
    arrays = {"x": np.ones(4, np.float32)}
    save_file(arrays, path)
    load = files.load_path

    def slow(*args: Any, **kwargs: Any) -> Any:
        found = load(*args, **kwargs)
        os.utime(path, ns=(0, 0))
        return found

    monkeypatch.setattr(files, "load_path", slow)
    with pytest.raises(TargetError, match="changed while it was read"):
        ex.diff(path, arrays) if call == "diff" else ex.digest(path)


def test_a_file_beside_it_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    arrays = {"x": np.ones(4, np.float32)}
    save_file(arrays, tmp_path / "model.safetensors")
    load = files.load_path

    def with_log(*args: Any, **kwargs: Any) -> Any:
        (tmp_path / "training.log").write_text("step 1")
        return load(*args, **kwargs)

    monkeypatch.setattr(files, "load_path", with_log)
    assert ex.diff(tmp_path, arrays).identical


def test_a_side_that_is_broken(tmp_path: Path):
    path = tmp_path / "m.safetensors"
    save_file({"x": np.ones(400, np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"m\.safetensors"):
        ex.diff({"x": np.ones(400, np.float32)}, path)


def test_complex_numbers():
    a = np.array([1 + 2j, 3 - 1j], np.complex64)
    b = a.copy()
    b[1] += 1j
    (hit,) = ex.diff({"x": a}, {"x": b}).tensors
    assert (hit.verdict, hit.first_index, hit.max_abs) == ("different", (1,), 1.0)


def test_keys_of_random_numbers(tmp_path: Path):
    state = {"key": jax.random.key(3), "x": np.ones(2, np.float32)}
    assert ex.diff(state, {**state, "key": jax.random.key(3)}).identical
    found = ex.diff(state, {**state, "key": jax.random.key(4)})
    first = found.tensors[0]
    assert (first.name, first.verdict) == ("key", "different")
    path = save_orbax(tmp_path / "saved", state)
    assert ex.diff(state, path).identical
    assert str(ex.digest(state)) == str(ex.digest(path))
