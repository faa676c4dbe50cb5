"""explorer lora: plans, adapters written, shown, merged and extracted; what is refused, in a line."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

import explorer as ex
from tests.cli.in_process import printed, run
from tests.transforms.adapters import goldens
from tests.transforms.adapters.test_training import LLAMA


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with base models and what peft trained for them."""
    folder = tmp_path_factory.mktemp("lora")
    for name in ("llama", "bert", "gpt2"):
        goldens.base_folder(name, folder / name)
        goldens.adapter_folder(name, "lora", folder / f"{name}-adapter")
    goldens.adapter_folder("llama", "dora", folder / "llama-dora")
    return folder


def test_a_plan_needs_no_weights_and_prints_as_peft_does():
    words = ("lora", "add", "qwen2.5-3b", "--rank", 16, "--targets", "q_proj,v_proj")
    line = (
        "trainable params: 3,686,400 || all params: 3,089,625,088 || trainable%: 0.1193\n"
    )
    assert printed(*words, "--plan") == line
    record = json.loads(printed(*words, "--plan", "--format", "json"))
    assert record["trainable_parameters"] == 3_686_400
    assert record["parameters"] == 3_089_625_088


def test_adapters_are_added_shown_merged_and_extracted_again(made: Path, tmp_path: Path):
    base, adapter = made / "llama", tmp_path / "adapter"
    words = ("lora", "add", base, "--rank", 2, "--targets", "q_proj", "--alpha", 8)
    line = printed(*words, "-o", adapter)
    assert line == printed(*words, "--plan")
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (
        2,
        8,
        ["q_proj"],
    )
    assert config["base_model_name_or_path"] == str(base)
    shown = json.loads(printed("lora", "show", adapter, "--format", "json"))
    trainable = int(line.split()[2].replace(",", ""))
    assert shown["trainable_parameters"] == trainable
    # B is zero: nothing moves
    merged = printed("lora", "merge", base, adapter, "-o", tmp_path / "same")
    assert "moved by 0 of their norm" in merged
    before = load_file(base / "model.safetensors")
    after = load_file(tmp_path / "same" / "model.safetensors")
    assert before.keys() == after.keys()
    for key, each in before.items():
        assert each.tobytes() == after[key].tobytes()


@pytest.mark.parametrize("name", ["llama", "bert", "gpt2"])
def test_merged_files_are_those_of_peft(name: str, made: Path, tmp_path: Path):
    out = tmp_path / "merged"
    printed("lora", "merge", made / name, made / f"{name}-adapter", "-o", out)
    ours = load_file(out / "model.safetensors")
    wanted = goldens.part(name, "base/") | goldens.part(name, "lora/merged/")
    assert ours.keys() == wanted.keys()
    for key, each in wanted.items():
        np.testing.assert_array_equal(ours[key], each, key)
    assert json.loads((out / "config.json").read_text())["model_type"] == name
    printed("lora", "extract", out, made / name, "--rank", 4, "-o", tmp_path / "again")
    again = printed(
        "lora", "merge", made / name, tmp_path / "again", "-o", tmp_path / "both"
    )
    assert "tensors merged" in again
    for key, each in load_file(tmp_path / "both" / "model.safetensors").items():
        if key != "lm_head.weight":  # which was trained whole: its change has no such rank
            np.testing.assert_allclose(each, wanted[key], atol=2e-6)


def test_a_quantised_base_keeps_its_types_and_says_what_that_lost(tmp_path: Path):
    config = LLAMA | {"architectures": ["LlamaForCausalLM"], "hidden_size": 64}
    config |= {"intermediate_size": 96, "tie_word_embeddings": True}
    model = ex.build_model(config)
    params = model.init(jax.random.key(0), jnp.zeros((1, 4), int))["params"]
    gguf, adapter = tmp_path / "base.gguf", tmp_path / "adapter"
    ex.save(params, tmp_path / "base", config=config)
    done = run("quantize", tmp_path / "base", "--to", "Q8_0", "-o", gguf)
    assert done.returncode == 0, done.stderr
    adapters, _ = ex.add_lora(params, 2, ("q_proj", "down_proj"), model=model)
    moved = jax.tree.map(
        lambda a: a + 0.05 * jax.random.normal(jax.random.key(a.size), a.shape), adapters
    )
    ex.save_lora(moved, adapter, model=model)
    merged = tmp_path / "merged.gguf"
    text = printed("lora", "merge", gguf, adapter, "-o", merged)
    assert "quantised again in q8_0: at most 0.0" in text.lower()
    before, after = ex.explore(gguf), ex.explore(merged)
    assert [t.dtype for t in before.tensors] == [t.dtype for t in after.tensors]
    _, params = ex.load_pretrained(gguf)
    module, found = ex.load_pretrained(merged)
    adapters = ex.load_lora(adapter, params, model=module)
    exact, _ = ex.merge_lora(params, adapters)
    largest = 0.0
    for mine, wanted in _pairs(found, exact):
        largest = max(largest, float(np.abs(mine - wanted).max() / np.abs(wanted).max()))
    assert 0 < largest < 1 / 127


def _pairs(a: Any, b: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (np.asarray(x), np.asarray(y))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    ]


def test_show_says_rank_targets_alpha_and_base(made: Path):
    text = printed("lora", "show", made / "llama-adapter")
    config = json.loads((made / "llama-adapter" / "adapter_config.json").read_text())
    assert config["rank_pattern"]
    assert "rank 2, 4" in text
    assert all(word in text for word in config["target_modules"])
    assert "DoRA adapters" in printed("lora", "show", made / "llama-dora")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["add", "@llama", "--rank", "1000", "--plan"], "a rank of 1000 for ["),
        (["add", "@llama", "--rank", "0", "-o", "@new"], "a rank of 0 for ["),
        (
            ["add", "qwen2.5-3b", "--rank", "8", "--targets", "q_prj", "--plan"],
            "lora: no linear layer is called 'q_prj'; expected one of",
        ),
        (
            ["add", "@llama", "--rank", "2", "--targets", "q_prj", "-o", "@new"],
            "did you mean q_proj?",
        ),
        (["add", "@llama", "--rank", "2"], "neither --plan nor -o FOLDER; expected one"),
        (["add", "@llama", "--rank", "2", "-o", "@bert"], "exists; expected a new folder"),
        (
            ["merge", "@llama", "@bert-adapter", "-o", "@new"],
            "are adapters of another model: LlamaForCausalLM has no ",
        ),
        (["merge", "@llama", "@llama-adapter", "-o", "@bert"], "exists"),
        (["merge", "@llama", "@gpt2", "-o", "@new"], "has no adapter_config.json"),
        (["merge", "@llama", "@llama-adapter", "-o", "@new", "--dtype", "f99"], "dtype"),
        (
            ["extract", "@llama", "@llama", "--rank", "2", "-o", "@new"],
            "tuned: is the base; expected parameters that differ",
        ),
        (["extract", "@llama", "@bert", "--rank", "2", "-o", "@new"], "another model"),
        (["extract", "@llama", "@llama", "-o", "@new"], "neither a rank nor an energy"),
        (["show", "@llama"], "has no adapter_config.json"),
    ],
)
def test_what_is_refused_is_refused_in_one_line(
    words: list[str], message: str, made: Path, tmp_path: Path
):
    def place(word: str) -> str:
        if word == "@new":
            return str(tmp_path / "new")
        return str(made / word[1:]) if word.startswith("@") else word

    before = sorted(made.rglob("*"))
    done = run("lora", *map(place, words))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert sorted(made.rglob("*")) == before
    assert not list(tmp_path.iterdir())


def test_no_targets_are_refused():
    done = run("lora", "add", "llama-3.1-8b", "--rank", 8, "--targets", "", "--plan")
    assert (done.returncode, done.stdout) == (2, "")
    assert "lora: no targets; expected some of down_proj, gate_proj" in done.stderr


def test_modules_trained_whole_are_written(tmp_path: Path):
    """A pooler, under a name that ends no other module: peft takes modules by their endings."""
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 16,
              "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
              "vocab_size": 24, "max_position_embeddings": 32}  # fmt: skip
    model = ex.build_model(config)
    params = model.init(jax.random.key(0), np.zeros((1, 4), int))["params"]
    ex.save(params, tmp_path / "model", config=config)
    words = ("lora", "add", tmp_path / "model", "--rank", 2, "--targets", "query")
    plan = run(*words, "--save", "pooler", "--plan")
    done = run(*words, "--save", "pooler", "-o", tmp_path / "adapter")
    assert done.returncode == 0, done.stderr
    # peft counts the same: A and B of one query, the pooler's kernel and bias
    assert f"trainable params: {2 * 32 + 16 * 16 + 16:,}" in done.stdout
    assert plan.stdout == done.stdout
    folder = tmp_path / "adapter"
    stored = load_file(folder / "adapter_model.safetensors")
    assert stored["base_model.model.pooler.dense.weight"].shape == (16, 16)
    written = json.loads((folder / "adapter_config.json").read_text())
    assert written["modules_to_save"] == ["pooler.dense"]
    refused = run(*words, "--save", "poler", "-o", tmp_path / "new")
    assert refused.returncode == 2
    assert "did you mean pooler?" in refused.stderr


def test_convolutions_are_named_as_what_they_are():
    params = {"conv": {"kernel": np.ones((3, 3, 4, 8), "float32")},
              "dense": {"kernel": np.ones((8, 4), "float32")}}  # fmt: skip
    for target in ("conv", "conv/kernel", "co*"):
        with pytest.raises(
            ex.InputError, match="names a convolution, which is not adapted"
        ):
            ex.add_lora(params, 2, target)
    adapters, _ = ex.add_lora(params, 2, "**")
    assert [*adapters] == ["dense"]
