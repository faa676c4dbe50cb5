"""Texts continued and scored: a folder's tokenizer, windows, sums as NumPy has them."""

import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.special import log_softmax

import explorer as ex
from explorer.errors import InputError
from explorer.generation.perplexity import windows_of
from explorer.pretrained import load_pretrained
from tests.cli.in_process import printed, run
from tests.generation.tiny_folder import WORDS, write

pytestmark = pytest.mark.slow  # compiles models
TEXT = " ".join(WORDS[number % 7] for number in range(40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("folder") / "llama")


def test_a_text_is_continued_with_the_tokens_of_its_prompt(folder: Path):
    parts: list[str] = []
    found = ex.generate_text(
        folder,
        "word5 word9",
        max_new_tokens=5,
        repetition_penalty=1e6,
        on_text=parts.append,
    )
    model, params = load_pretrained(folder)
    want = ex.generate(
        model,
        params,
        [[1, 5, 9]],
        max_new_tokens=5,
        repetition_penalty=1e6,
        stop_tokens=[2],
    )
    assert found.tokens == want.tokens[0]
    assert found.prompt_tokens == 3
    assert found.text == "".join(parts)
    words = [f"word{token}" for token in found.tokens if token > 2]
    assert found.text.split() == words
    assert found.text.startswith(" "), "what follows the prompt begins where it ended"


def test_the_command_prints_words_and_then_figures(folder: Path):
    settings = ("--max-new-tokens", "5", "--repetition-penalty", "1e6")
    output = run("generate", str(folder), "word5 word9", *settings)
    assert output.returncode == 0
    found = json.loads(
        printed("generate", str(folder), "word5 word9", *settings, "--format", "json")
    )
    assert output.stdout == f"word5 word9{found['text']}\n"
    assert output.stderr.startswith("3 + 5 tokens; the first after ")
    assert output.stderr.count("\n") == 1
    assert f"cache {found['cache_bytes'] / 1000:.1f} kB" in output.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("{0}", "word3", "--temperature", "-1"),
            "explorer: temperature: is -1.0; expected",
        ),
        (("{0}", "word3", "--top-k", "3"), "explorer: top_k: is 3 at a temperature of 0"),
        (
            ("{0}", "word3", "--max-new-tokens", "999"),
            "explorer: tokens: 2 tokens and 999 new",
        ),
        (
            ("nowhere", "word3"),
            "explorer: nowhere: is not a file or folder; expected a folder",
        ),
        (("{0}/none", "word3"), "explorer: {0}/none: is not a file or folder"),
        (("{0}", "word3", "--dtype", "int7"), "explorer: dtype: "),
    ],
)
def test_errors_are_one_line_and_exit_2(folder: Path, arguments: tuple, message: str):
    output = run("generate", *(each.format(folder) for each in arguments))
    assert (output.returncode, output.stdout) == (2, "")
    assert output.stderr.startswith(message.format(folder))
    assert output.stderr.count("\n") == 1


def test_perplexity_of_a_text_in_one_window(folder: Path):
    model, params = load_pretrained(folder)
    ids = np.array([[1, *(3 + number % 7 for number in range(40))]])
    logits = np.asarray(jax.jit(model.apply)({"params": params}, ids).logits, np.float64)[0]
    losses = -log_softmax(logits[:-1], -1)[np.arange(40), ids[0, 1:]]
    found = ex.evaluate_text(folder, TEXT, length=64)
    assert found.tokens == 40
    assert found.loss == pytest.approx(losses.mean(), rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(losses.mean()), rel=1e-4)
    bits = losses.sum() / math.log(2) / len(TEXT)
    assert found.bits_per_byte == pytest.approx(bits, rel=1e-5)


def test_perplexity_over_windows_that_overlap(folder: Path):
    """Each token once, in the first window that holds it; the text's start in every window."""
    model, params = load_pretrained(folder)
    ids = [1, *(3 + number % 7 for number in range(40))]
    total, scored, apply = 0.0, 1, jax.jit(model.apply)
    for start in range(0, 41, 6):
        window = ids[start : start + (16 if start == 0 else 15)]
        window = window if start == 0 else [1, *window]
        end = min(start + (16 if start == 0 else 15), 41)
        logits = apply({"params": params}, np.array([window])).logits[0]
        losses = -log_softmax(np.asarray(logits, np.float64)[:-1], -1)
        each = losses[np.arange(len(window) - 1), window[1:]]
        if end > scored:
            total += each[len(window) - 1 - (end - scored) :].sum()
            scored = end
    found = ex.evaluate_text(folder, TEXT, length=16, stride=6)
    assert (found.length, found.stride, found.tokens) == (16, 6, 40)
    assert found.loss == pytest.approx(total / 40, rel=1e-5)


def test_windows_score_each_token_once():
    for tokens in range(2, 40):
        for length, stride in ((4, 1), (8, 3), (16, 14)):
            for shift in (0, 1):
                windows = [*windows_of(tokens, length, stride, shift)]
                scored = [n for each in windows for n in range(each.first, each.end)]
                assert scored == list(range(1, tokens))
                for each in windows:
                    assert each.start < each.first <= each.end
                    assert each.end - each.start + shift * (each.start > 0) <= length


def test_texts_that_cannot_be_scored(folder: Path):
    with pytest.raises(InputError, match="text: 1 token; expected two or more"):
        ex.evaluate_text(folder, "")
    with pytest.raises(InputError, match=r"length: is 1; expected 2 to 64, the model's"):
        ex.evaluate_text(folder, TEXT, length=1)
    with pytest.raises(
        InputError, match="stride: is 16; expected 1 to 14, within the length"
    ):
        ex.evaluate_text(folder, TEXT, length=16, stride=16)
    with pytest.raises(InputError, match="text: is bytes; expected a str"):
        ex.evaluate_text(folder, TEXT.encode())  # pyright: ignore[reportArgumentType]
