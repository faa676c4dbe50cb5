"""Folders, merges, outputs and gradients against huggingface/peft 0.21."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from explorer.pretrained.saving import to_checkpoint
from explorer.transforms.adapters.applying import apply_lora
from explorer.transforms.adapters.merging import merge_lora
from explorer.transforms.adapters.peft_files import read_peft
from explorer.transforms.adapters.peft_trees import adapters_of
from explorer.transforms.adapters.peft_writing import write_peft
from explorer.transforms.adapters.trees import ParameterLeaves
from tests.conformance.adapters import IDS, MODELS
from tests.transforms.adapters import goldens


def setup(name: str, variant: str, folder: Path, scan: bool = False):
    module, params = goldens.loaded(name, folder / "base", scan=scan)
    stored = read_peft(str(goldens.adapter_folder(name, variant, folder / "adapter")))
    return (
        module,
        params,
        adapters_of(stored, ParameterLeaves(params), module.architecture),
        stored,
    )


@pytest.mark.parametrize(("name", "variant"), goldens.CASES)
def test_merged_weights_are_those_of_peft(name: str, variant: str, tmp_path: Path):
    _, params, adapters, _ = setup(name, variant, tmp_path)
    merged, change = merge_lora(params, adapters)
    ours = to_checkpoint(merged, MODELS[name][0])
    theirs = goldens.part(name, f"{variant}/merged/")
    assert theirs
    for key, wanted in theirs.items():
        if variant == "dora":  # the order in which a norm's squares are summed differs
            np.testing.assert_array_max_ulp(ours[key], wanted, 4)
        else:
            np.testing.assert_array_equal(ours[key], wanted, key)
    changed = {
        key
        for key in ours
        if not np.array_equal(ours[key], goldens.part(name, "base/")[key])
    }
    assert changed == theirs.keys()
    assert change.relative_error
    assert change.parameters_after == change.parameters_before


@pytest.mark.parametrize(("name", "variant"), goldens.CASES)
def test_outputs_are_those_of_peft(name: str, variant: str, tmp_path: Path):
    module, params, adapters, _ = setup(name, variant, tmp_path)
    effective = jax.jit(apply_lora)(params, adapters)
    output = goldens.output_of(module, effective, IDS)
    np.testing.assert_allclose(
        output, goldens.golden(name)[f"{variant}/output"], atol=2e-6, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_stacked_layers_give_the_same(name: str, tmp_path: Path):
    variant = "dora"
    module, params, adapters, stored = setup(name, variant, tmp_path, scan=True)
    merged, _ = merge_lora(params, adapters)
    output = goldens.output_of(module, merged, IDS)
    np.testing.assert_allclose(
        output, goldens.golden(name)[f"{variant}/output"], atol=2e-6, rtol=1e-5
    )
    write_peft(adapters, tmp_path / "again", architecture=module.architecture)
    again = read_peft(str(tmp_path / "again"))
    assert again.modules.keys() == stored.modules.keys()
    for key, each in stored.modules.items():
        np.testing.assert_array_equal(again.modules[key].b, each.b)


@pytest.mark.representatives("bert-dora", "llama-lora", "gpt2-rslora")
@pytest.mark.parametrize(("name", "variant"), goldens.CASES)
def test_gradients_are_those_of_peft(name: str, variant: str, tmp_path: Path):
    module, params, adapters, _ = setup(name, variant, tmp_path)

    def loss(adapters):
        found = module.apply({"params": apply_lora(params, adapters)}, np.array(IDS))
        return jnp.square(found.hidden if found.logits is None else found.logits).mean()

    gradients = jax.tree.map(np.asarray, jax.jit(jax.grad(loss))(adapters))
    write_peft(gradients, tmp_path / "grads", architecture=module.architecture)
    ours = read_peft(str(tmp_path / "grads")).modules
    theirs = goldens.part(name, f"{variant}/grad/")
    assert len(theirs) == len(ours) * (3 if variant == "dora" else 2)
    for module_name, each in ours.items():
        for ending, value in (("lora_A.weight", each.a), ("lora_B.weight", each.b)):
            wanted = theirs[f"{module_name}.{ending}"]
            np.testing.assert_allclose(
                value, wanted, atol=1e-6 * np.abs(wanted).max() + 1e-7, rtol=1e-4
            )


@pytest.mark.parametrize(("name", "variant"), goldens.CASES)
def test_a_folder_is_written_as_peft_wrote_it(name: str, variant: str, tmp_path: Path):
    module, _, adapters, stored = setup(name, variant, tmp_path)
    write_peft(adapters, tmp_path / "again", architecture=module.architecture)
    again = read_peft(str(tmp_path / "again"))
    assert (
        again.parameters
        == stored.parameters
        == goldens.golden(name)[f"{variant}/counts"][0]
    )
    assert again.modules.keys() == stored.modules.keys()
    for key, each in stored.modules.items():
        other = again.modules[key]
        np.testing.assert_array_equal(other.a, each.a)
        np.testing.assert_array_equal(other.b, each.b)
        assert other.scale == each.scale
    assert again.saved.keys() == stored.saved.keys()
    theirs = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    ours = json.loads((tmp_path / "again" / "adapter_config.json").read_text())
    for field in (
        "r",
        "lora_alpha",
        "use_dora",
        "use_rslora",
        "fan_in_fan_out",
        "modules_to_save",
    ):
        assert ours[field] == theirs[field], field
    assert sorted(ours["target_modules"]) == sorted(theirs["target_modules"])
