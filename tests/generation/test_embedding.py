"""Vectors of texts: pooled as NumPy does it, by what a folder of sentence-transformers says."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.generation.pooling import POOLINGS, pooling_of
from explorer.pretrained import load_pretrained
from tests.generation.tiny_folder import WORDS, write

pytestmark = pytest.mark.slow  # compiles models
TEXTS = [
    "word3 word4",
    " ".join(WORDS[:20]),
    "word7",
    "word9 word8 word7 word6 word5",
]
_MODULES = ("Transformer", "Pooling", "Normalize")


def describe(folder: Path, modules: tuple[str, ...] = _MODULES, **pooling: bool) -> Path:
    """Write what sentence-transformers writes beside a model."""
    kinds = [
        {
            "idx": n,
            "name": str(n),
            "path": f"{n}_{kind}" if n else "",
            "type": f"a.models.{kind}",
        }
        for n, kind in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(kinds))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 13}')
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("folder") / "bert", "bert")


def hidden_of(folder: Path, text: str) -> np.ndarray:
    """Return the hidden states of a text alone, in float64, of its first 13 tokens."""
    model, params = load_pretrained(folder)
    ids = np.array([[1, *(int(word[4:]) for word in text.split())]])[:, :13]
    return np.asarray(jax.jit(model.apply)({"params": params}, ids).hidden[0], np.float64)


_BY_NUMPY = {
    "cls": lambda hidden: hidden[0],
    "max": lambda hidden: hidden.max(0),
    "mean": lambda hidden: hidden.mean(0),
    "mean_sqrt_len": lambda hidden: hidden.sum(0) / np.sqrt(len(hidden)),
    "last": lambda hidden: hidden[-1],
}


def test_every_pooling_of_texts_of_unequal_lengths(folder: Path):
    want = [hidden_of(folder, text) for text in TEXTS]
    describe(folder, _MODULES[:2], **{POOLINGS["mean"]: True, POOLINGS["cls"]: True})
    both = ex.embed(folder, TEXTS, batch=3)
    for kind, by_numpy in _BY_NUMPY.items():
        found = ex.embed(folder, TEXTS, pooling=kind)
        rows = np.stack([by_numpy(hidden) for hidden in want])
        np.testing.assert_allclose(found, rows, rtol=1e-4, atol=1e-5)
        if kind in ("cls", "mean"):
            half = slice(None, 32) if kind == "cls" else slice(32, None)
            np.testing.assert_allclose(both[:, half], rows, rtol=1e-4, atol=1e-5)


def test_one_text_normalised_as_the_folder_says(folder: Path):
    describe(folder, **{POOLINGS["mean"]: True})
    found = ex.embed(folder, TEXTS[0])
    mean = hidden_of(folder, TEXTS[0]).mean(0)
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-6)
    plain = ex.embed(folder, TEXTS[0], normalise=False)
    np.testing.assert_allclose(plain, mean, rtol=1e-4, atol=1e-5)


def test_what_a_folder_says(tmp_path: Path):
    assert pooling_of(str(tmp_path)) is None
    describe(tmp_path, **{POOLINGS["cls"]: True, POOLINGS["mean"]: False})
    prompts = {"prompts": {"query": "search: "}, "default_prompt_name": "query"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    rule = pooling_of(str(tmp_path))
    assert rule is not None
    assert (rule.kinds, rule.normalised, rule.longest) == (("cls",), True, 13)
    assert rule.prompt == "search: "


def test_folders_and_texts_that_have_no_vectors(folder: Path, tmp_path: Path):
    with pytest.raises(
        InputError, match=r"has no modules\.json, which says how vectors are"
    ):
        ex.embed(tmp_path, "word3")
    describe(tmp_path, ("Transformer", "Pooling", "Dense"), **{POOLINGS["mean"]: True})
    with pytest.raises(InputError, match="has the module 'Dense'; expected Transformer,"):
        ex.embed(tmp_path, "word3")
    describe(tmp_path, pooling_mode_weightedmean_tokens=True)
    with pytest.raises(InputError, match="sets pooling_mode_weightedmean_tokens"):
        ex.embed(tmp_path, "word3")
    describe(tmp_path, ("Transformer",))
    with pytest.raises(InputError, match="has no Pooling"):
        ex.embed(tmp_path, "word3")
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(InputError, match="is not a list of modules"):
        ex.embed(tmp_path, "word3")
    describe(folder, **{POOLINGS["mean"]: True})
    with pytest.raises(InputError, match="texts: no text"):
        ex.embed(folder, [])
    with pytest.raises(InputError, match="texts: is int; expected a str, or a list"):
        ex.embed(folder, 3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="batch: is 0"):
        ex.embed(folder, "word3", batch=0)
    with pytest.raises(InputError, match="pooling: is 'first'; expected one of cls, max"):
        ex.embed(folder, "word3", pooling="first")
