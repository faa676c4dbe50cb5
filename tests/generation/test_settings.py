"""Settings that make no sense, in one line each; prompts that cannot be continued."""

import jax.numpy as jnp
import numpy as np
import pytest

from explorer.architectures.families import architecture_of
from explorer.errors import InputError
from explorer.generation.prompts import longest_of, prompts_of
from explorer.generation.settings import checked
from tests.models.tiny import CONFIGS

GPT2 = architecture_of(CONFIGS["gpt2"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"temprature": 1},
            "temprature: is not a setting; expected one of max_new_tokens,",
        ),
        ({"temperature": -1}, "temperature: is -1; expected 0 or more"),
        ({"temperature": float("nan")}, "temperature: is nan; expected 0 or more"),
        ({"temperature": "hot"}, "temperature: is str; expected a number, 0 or more"),
        ({"temperature": None}, "temperature: is None; expected a number, 0 or more"),
        ({"max_new_tokens": 0}, "max_new_tokens: is 0; expected 1 or more"),
        (
            {"max_new_tokens": 2.5},
            "max_new_tokens: is float; expected a whole number, 1 or",
        ),
        ({"top_k": 0, "temperature": 1}, "top_k: is 0; expected 1 or more"),
        ({"top_p": 0, "temperature": 1}, "top_p: is 0; expected above 0, at most 1"),
        ({"top_p": 1.5, "temperature": 1}, "top_p: is 1.5; expected above 0, at most 1"),
        ({"min_p": 2.0, "temperature": 1}, "min_p: is 2.0; expected 0 to 1"),
        ({"repetition_penalty": 0}, "repetition_penalty: is 0; expected above 0"),
        ({"seed": -1}, "seed: is -1; expected 0 to 4,294,967,295"),
        ({"stop_tokens": [-1]}, "stop_tokens: is [-1]; expected token ids of 0 or more"),
        (
            {"stop_tokens": "</s>"},
            "stop_tokens: is '</s>'; expected token ids of 0 or more",
        ),
        (
            {"cache_dtype": "int4"},
            "cache_dtype: is 'int4'; expected one of float32, bfloat16",
        ),
        (
            {"top_k": 5},
            "top_k: is 5 at a temperature of 0, which takes the likeliest token",
        ),
        ({"top_p": 0.9}, "top_p: is 0.9 at a temperature of 0, which takes the likeliest"),
    ],
)
def test_settings_that_make_no_sense(changes: dict, message: str):
    with pytest.raises(InputError) as caught:
        checked(None, changes)
    assert str(caught.value).startswith(message)


def test_settings_are_records_that_are_changed():
    settings = checked(None, {"temperature": 1, "stop_tokens": 5})
    assert settings.stop_tokens == (5,)
    assert checked(settings, {"temperature": 0.5}).stop_tokens == (5,)


@pytest.mark.parametrize(
    ("tokens", "mask", "message"),
    [
        ([], None, "tokens: no prompt; expected token ids [batch, length], or a list"),
        ([[]], None, "tokens: an empty prompt; expected one token or more"),
        ([[3], []], None, "tokens[1]: an empty prompt; expected one token or more"),
        ([[3], [99]], None, "tokens[1]: holds 99; expected ids of 0 to 60, the model's"),
        ([-1], None, "tokens: holds -1; expected ids of 0 to 60, the model's vocabulary"),
        ([0.5], None, "tokens[0]: is [0.5]; expected a list of token ids"),
        ("text", None, "tokens: is str; expected token ids [batch, length], or a list"),
        (np.zeros((0, 3), int), None, "tokens: has shape [0, 3]; expected token ids"),
        (
            np.zeros((1, 3), int),
            np.ones((1, 2)),
            "attention_mask: has shape [1, 2]; expected",
        ),
        (
            np.ones((1, 3), int),
            [[1, 0, 1]],
            "attention_mask: has padding between the tokens",
        ),
        (np.ones((2, 3), int), [[1, 0, 0], [0, 0, 0]], "tokens[1]: an empty prompt"),
        ([[3]], [[1]], "attention_mask: is given with lists; expected tokens as one array"),
    ],
)
def test_prompts_that_cannot_be_continued(tokens, mask, message: str):
    with pytest.raises(InputError) as caught:
        prompts_of(tokens, mask, GPT2, 1)
    assert str(caught.value).startswith(message)


def test_prompts_beyond_the_positions():
    longest = longest_of(GPT2)
    assert longest == CONFIGS["gpt2"]["n_positions"]
    assert prompts_of([[5] * (longest - 4)], None, GPT2, 4).lengths.tolist() == [
        longest - 4
    ]
    message = (
        f"tokens: {longest - 4} tokens and 5 new ones; expected at most {longest} in all"
    )
    with pytest.raises(InputError) as caught:
        prompts_of([[5] * (longest - 4)], None, GPT2, 5)
    assert str(caught.value).startswith(message)
    # whose rotary frequencies follow the length
    assert longest_of(architecture_of(CONFIGS["llama_dynamic"])) is None


def test_padding_on_either_side_is_left_out():
    tokens = np.array([[0, 0, 5, 6], [7, 8, 9, 0]])
    found = prompts_of(tokens, tokens != 0, GPT2, 1)
    assert found.tokens.tolist() == [[5, 6, 0], [7, 8, 9]]
    assert found.lengths.tolist() == [2, 3]


def test_numbers_and_dtypes_of_numpy_and_jax():
    given = {
        "max_new_tokens": np.int64(2),
        "temperature": np.float32(0.5),
        "stop_tokens": np.array([3, 4]),
    }
    found = checked(None, given)
    assert (found.max_new_tokens, found.temperature, found.stop_tokens) == (2, 0.5, (3, 4))
    for dtype in (jnp.bfloat16, np.dtype("bfloat16"), np.zeros(1, jnp.bfloat16).dtype):
        assert checked(None, {"cache_dtype": dtype}).cache_dtype == "bfloat16"
    assert checked(None, {"cache_dtype": np.float16}).cache_dtype == "float16"
    with pytest.raises(InputError, match="cache_dtype: is 'int8'; expected one of float32"):
        checked(None, {"cache_dtype": np.int8})
    with pytest.raises(InputError, match="stop_tokens"):
        checked(None, {"stop_tokens": np.array([0.5])})
