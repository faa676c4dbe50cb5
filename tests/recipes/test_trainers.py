"""What recipes become: steps that lower everywhere, and settings that change no number."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import chex
import jax
import numpy as np
import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.recipes import RECIPES, running, settings_of
from explorer.training.data.batches import Batches
from explorer.training.step.state import TrainState
from explorer.training.step.train_step import Step

SMALL = {
    "linear": [],
    "digits": ["width=16", "layers=1"],
    "charlm": ["width=16", "layers=1", "heads=2", "length=16", "characters=20000"],
    "lora": ["rank=2", "length=8", "batch=4", "characters=100000"],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder with a tiny language model and a tokenizer of words."""
    return str(write_base(tmp_path_factory.mktemp("base")))


def write_base(folder: Path) -> Path:
    """Write a Llama of 64 words."""
    config = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 64,
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 2, "tie_word_embeddings": True, "max_position_embeddings": 64,
    }  # fmt: skip
    module = ex.build_model(config)
    params = module.init(jax.random.key(0), np.zeros((1, 4), int))["params"]
    ex.save(params, folder / "base", config=config)
    words = {"[UNK]": 0} | {word: n for n, word in enumerate(_WORDS.split(), 1)}
    tokenizer = {
        "version": "1.0", "added_tokens": [], "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"},
    }  # fmt: skip
    (folder / "base" / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder / "base"


_WORDS = (
    "the a of to is in and for it that be if this as or not with an by are on from . , ( )"
)


class Prepared(NamedTuple):
    state: TrainState
    step: Step
    batches: Batches
    notes: tuple[str, ...]


def prepared(name: str, *changes: str) -> Prepared:
    settings = settings_of(name, [*SMALL[name], *changes])
    parts = settings.parts()
    trainer = settings.trainer(parts)
    state = settings.first_state(trainer, parts)
    notes = tuple(running.notes(trainer, state))
    return Prepared(state, trainer.step, settings.batches(parts), notes)


def trained(name: str, steps: int, *changes: str):
    """Return the state after some steps."""
    ready = prepared(name, f"steps={steps}", *changes)
    state = ready.state
    while int(state.step) < steps:
        state, _ = ready.step(state, next(ready.batches))
    return state


@pytest.mark.parametrize("name", RECIPES)
def test_the_step_of_every_recipe_lowers_for_every_platform(name, base):
    ready = prepared(name, *([f"base={base}"] if name == "lora" else []))
    batch = next(ready.batches)
    exported = jax.export.export(ready.step, platforms=("cpu", "cuda", "tpu"))  # pyright: ignore
    assert exported(ready.state, batch).platforms == ("cpu", "cuda", "tpu")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("linear", ["steps_per_call=3"]),
        ("linear", ["accumulate=4"]),
        ("digits", ["steps_per_call=3", "accumulate=4"]),
    ],
)
def test_steps_together_and_batches_in_parts_find_the_same(name, changes):
    alone, found = trained(name, 6), trained(name, 6, *changes)
    chex.assert_trees_all_close(found.params, alone.params, rtol=1e-4, atol=1e-6)


def test_calls_end_with_the_last_step():
    # of 15 steps ten cannot be taken together to the end; five can
    ready = prepared("charlm", "steps=15")
    assert next(ready.batches).shape[:2] == (5, 8)
    assert next(prepared("charlm", "steps=7").batches).shape[:1] == (8,)


def test_what_is_frozen_stays_and_is_reported():
    ready = prepared("digits", "freeze=**/bias")
    biases = 16 + 10
    whole = biases + 64 * 16 + 16 * 10
    assert ready.notes == (f"{whole - biases:,} of {whole:,} parameters are trained",)
    before = jax.device_get(ready.state.params)
    after = trained("digits", 5, "freeze=**/bias").params
    for name, layer in before.items():
        np.testing.assert_array_equal(after[name]["bias"], layer["bias"])
        assert np.any(after[name]["kernel"] != layer["kernel"])


def test_half_precision_is_computed_in_and_not_kept():
    ready = prepared("charlm", "dtype=bfloat16", "steps_per_call=1")
    batch = next(ready.batches)
    text = str(ready.step.trace(ready.state, batch).jaxpr)
    products = re.findall(r":(\w+)\[[\d,]*\] = dot_general", text)
    assert products.count("bf16") > 0.7 * len(products)  # logits of attention are wider
    state, _ = ready.step.eval_shape(ready.state, batch)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.params)} == {"float32"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["freeze=nothing"], "freeze(globs=): 'nothing' matches no parameter"),
        (["freeze=**"], "freeze: all parameters are frozen"),
    ],
)
def test_what_cannot_be_frozen(changes, message):
    with pytest.raises(InputError) as caught:
        prepared("linear", *changes)
    assert str(caught.value).startswith(message)


def test_a_batch_that_is_not_a_multiple_of_its_parts():
    ready = prepared("linear", "batch=10", "accumulate=4")
    with pytest.raises(
        InputError, match="10 examples; expected a multiple of accumulate=4"
    ):
        ready.step(ready.state, next(ready.batches))
