"""`explorer show`, `count` and `diff` on adapters: what they are is the first thing that is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from tests.cli.in_process import printed, run
from tests.transforms.adapters import goldens


@pytest.mark.parametrize(
    ("variant", "name"), [("lora", "LoRA"), ("rslora", "rsLoRA"), ("dora", "DoRA")]
)
def test_a_folder_says_rank_alpha_modules_and_base(variant: str, name: str, tmp_path: Path):
    folder = goldens.adapter_folder("bert", variant, tmp_path / "adapter")
    place = folder / "adapter_config.json"
    config = json.loads(place.read_text())
    config |= {"base_model_name_or_path": "org/base-model", "rank_pattern": {}}
    place.write_text(json.dumps(config))
    text = printed("show", folder)
    assert f"(safetensors, {name} adapters, " in text.splitlines()[0]
    modules = ", ".join(config["target_modules"])
    trainable = f"{ex.count_parameters(folder):,} trainable parameters"
    sentence = (
        f"{name} adapters of org/base-model, rank {config['r']}, alpha "
        f"{config['lora_alpha']:g}, for {modules}; {trainable}"
    )
    assert sentence in " ".join(text.split())
    record = json.loads(printed("count", folder, "--format", "json"))
    assert sentence in json.dumps(record)
    assert run("diff", folder, folder).returncode == 0


def test_what_peft_did_not_write_is_refused(tmp_path: Path):
    folder = goldens.adapter_folder("bert", "lora", tmp_path / "adapter")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": "many"}')
    done = run("show", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert "adapter_config.json: is not as peft writes it" in done.stderr


def test_adapters_of_another_kind_are_counted_and_named(tmp_path: Path):
    name = "base_model.model.encoder.layer.0.attention.self.query.hada_w1_a"
    save_file({name: np.ones((8, 2), "float32")}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LOHA"}')
    folder = tmp_path
    text = printed("show", folder)
    assert "adapters of the kind LOHA, which explorer counts and does not apply" in text
