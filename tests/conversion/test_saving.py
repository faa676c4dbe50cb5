"""Parameters and trees saved, opened by each format's own library and by explorer again."""

import json
from pathlib import Path
from typing import Any

import gguf
import jax.numpy as jnp
import ml_dtypes
import msgspec
import numpy as np
import orbax.checkpoint as orbax
import pytest
from flax import serialization
from safetensors import safe_open
from safetensors.numpy import load_file

import explorer as ex
from explorer.pretrained import from_tensors
from tests.pretrained import gguf_files
from tests.pretrained.test_gguf import MADE, UNSET, assert_same
from tests.pretrained.test_round_trip import CONFIGS, same
from tests.pretrained.tiny import checkpoint

LATENT = ("deepseek_v2", "deepseek_v3")
WRITTEN = {name: c for name, c in MADE.items() if c["model_type"] not in LATENT}
TREE = {
    "params": {
        "dense": {
            "kernel": jnp.arange(6, dtype="bfloat16").reshape(2, 3),
            "bias": np.arange(3, dtype="float32"),
        },
        "norm": {"scale": np.ones(4, "float16")},
    },
    "batch_stats": {
        "norm": {"mean": np.zeros(4, "float32"), "count": np.array(7, "int32")}
    },
}
LEAVES = {
    ("params", "dense", "kernel"): np.asarray(TREE["params"]["dense"]["kernel"]),
    ("params", "dense", "bias"): TREE["params"]["dense"]["bias"],
    ("params", "norm", "scale"): TREE["params"]["norm"]["scale"],
    ("batch_stats", "norm", "mean"): TREE["batch_stats"]["norm"]["mean"],
    ("batch_stats", "norm", "count"): TREE["batch_stats"]["norm"]["count"],
}


def opened_by_its_library(path: Path) -> dict[str, Any]:
    """The arrays of a file, by dotted names."""
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npz":
        arrays = dict(np.load(path))
        two = {n for n, a in arrays.items() if a.dtype == "V2"}
        return {n: a.view(ml_dtypes.bfloat16) if n in two else a for n, a in arrays.items()}
    if path.suffix == ".msgpack":
        tree = serialization.msgpack_restore(path.read_bytes())
    else:
        with orbax.PyTreeCheckpointer() as checkpointer:
            tree = checkpointer.restore(path)
    return {".".join(key): leaf for key, leaf in flat(tree, ())}


def flat(tree: Any, path: tuple[str, ...]) -> list:
    if not isinstance(tree, dict):
        return [(path, tree)]
    return [leaf for name, inner in tree.items() for leaf in flat(inner, (*path, name))]


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "msgpack", "orbax"])
def test_a_tree_in_every_format(tmp_path: Path, suffix: str):
    path = tmp_path / f"tree.{suffix}"
    saved = ex.save(TREE, path)
    assert (saved.tensors, saved.nbytes) == (5, 6 * 2 + 3 * 4 + 4 * 2 + 4 * 4 + 4)
    found = opened_by_its_library(path)
    assert same(
        {name: np.asarray(array) for name, array in found.items()},
        {".".join(key): array for key, array in LEAVES.items()},
    )
    assert ex.diff(TREE, path).identical
    if suffix in ("msgpack", "orbax"):  # which keep what is a parameter
        assert ex.explore(path).num_parameters == ex.explore(TREE).num_parameters
    assert not [*tmp_path.glob(".*")]


def test_flax_writes_the_same_bytes(tmp_path: Path):
    tree = {
        **TREE,
        "many": {str(n): np.full(n, n % 256, "uint8") for n in range(1, 300, 7)},
    }
    ex.save(tree, tmp_path / "a.msgpack")
    expected = serialization.msgpack_serialize(serialization.to_state_dict(tree))
    again = serialization.msgpack_restore((tmp_path / "a.msgpack").read_bytes())
    assert len((tmp_path / "a.msgpack").read_bytes()) == len(expected)
    assert serialization.msgpack_serialize(again) == expected


@pytest.mark.parametrize("model", CONFIGS)
def test_every_family_as_a_folder(tmp_path: Path, model: str):
    config, path = CONFIGS[model], tmp_path / "model"
    tensors = checkpoint(config, "bfloat16")
    _, params = from_tensors(config, tensors)
    saved = ex.save(params, path, config=config)
    assert (saved.names, saved.casts) == ("hf", ())
    assert same(load_file(path / "model.safetensors"), tensors)
    written = json.loads((path / "config.json").read_text())
    assert written.items() >= config.items()
    again = ex.load_pretrained(path)[1]
    assert same(ex.to_checkpoint(again, config), tensors)
    assert ex.diff(params, path).identical


@pytest.mark.parametrize("model", WRITTEN)
def test_every_family_as_gguf(tmp_path: Path, model: str):
    config = WRITTEN[model] | UNSET.get(WRITTEN[model]["model_type"], {})
    tensors = checkpoint(config)
    module, params = from_tensors(config, tensors)
    ex.save(params, tmp_path / "a.gguf", config=config)
    expected = gguf.GGUFReader(gguf_files.write(tmp_path / "b.gguf", config, tensors))
    theirs = {t.name: t.data for t in expected.tensors}
    found = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "a.gguf").tensors}
    factors = {name for name in found if name.startswith("rope_")}
    if "attn_qkv" in str(found) or "attn_qkv" in str(theirs):
        assert sum(a.size for a in found.values()) == sum(a.size for a in theirs.values())
    else:
        assert found.keys() - factors == theirs.keys()
        for name, array in theirs.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
    again, loaded = ex.load_pretrained(tmp_path / "a.gguf")
    assert_same(params, loaded)
    published = module.architecture.dtype
    left = {"dtype": published, "positions": module.architecture.positions}
    left |= {"family": module.architecture.family}
    left |= {"class_name": module.architecture.class_name}
    assert msgspec.structs.replace(again.architecture, **left) == module.architecture


def test_shards(tmp_path: Path):
    config = CONFIGS["meta-llama/Llama-2-7b-hf"]
    tensors = checkpoint(config)
    _, params = from_tensors(config, tensors)
    ex.save(params, tmp_path / "model", config=config, shard_bytes=20_000)
    names = sorted(path.name for path in (tmp_path / "model").glob("*.safetensors"))
    count = len(names)
    assert count > 3
    assert names[0] == f"model-00001-of-{count:05d}.safetensors"
    index = json.loads((tmp_path / "model/model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in tensors.values())
    found = {}
    for name in names:
        found |= load_file(tmp_path / "model" / name)
        with safe_open(tmp_path / "model" / name, "numpy") as file:
            assert file.metadata() == {"format": "pt"}
            assert {
                index["weight_map"][key] for key in load_file(tmp_path / "model" / name)
            } == {name}
    assert same(found, tensors)
    assert ex.diff(params, tmp_path / "model").identical
