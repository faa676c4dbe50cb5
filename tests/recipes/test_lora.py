"""The recipe lora: adapters of a folder's model learn, and are written as peft reads them."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.recipes import settings_of
from explorer.recipes.running import run
from tests.recipes.test_trainers import write_base

SET = ("rank=4", "length=12", "batch=8", "characters=200000", "steps=60",
       "learning_rate=0.02", "targets=all-linear")  # fmt: skip


@pytest.mark.parametrize("scheme", ["", "nf4"])
def test_adapters_of_a_folder_learn_and_merge(scheme: str, tmp_path: Path):
    base = write_base(tmp_path)
    settings = settings_of("lora", [*SET, f"base={base}", f"quantize={scheme}"])
    done = run(settings, tmp_path / "run")
    first, *_ = done.lines
    before, after = (float(word) for word in first.split() if word[0].isdigit())
    assert after < before - 0.2
    trainable = ex.plan_lora(str(base), 4, ("all-linear",)).trainable
    text = "\n".join(done.lines)
    assert f"trainable params: {trainable:,} || all params: " in text
    assert ("kernels in" in text) == bool(scheme)
    # what is written has what was learned
    folder = tmp_path / "run" / "result"
    assert json.loads((folder / "adapter_config.json").read_text())["lora_alpha"] == 16
    assert ex.count_parameters(folder) == trainable
    module, params = ex.load_pretrained(base, scan=True)
    again = ex.load_lora(folder, params, model=module)
    jax.tree.map(np.testing.assert_array_equal, again, done.state.params)


def test_what_it_needs_is_named(tmp_path: Path):
    for changes, message in (
        ([], "lora: no base model; expected --set base=FOLDER"),
        ([f"base={tmp_path}/none"], "none: is not a file or folder"),
        ([f"base={write_base(tmp_path)}", "quantize=nf5"], "did you mean nf4"),
        ([f"base={tmp_path}/base", "targets=q_prj"], "did you mean q_proj?"),
        ([f"base={tmp_path}/base", "rank=999"], "a rank of 999"),
    ):
        with pytest.raises(InputError) as caught:
            run(settings_of("lora", changes), tmp_path / "run")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
