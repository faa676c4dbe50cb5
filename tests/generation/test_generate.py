"""Continuations: transformers' own, whatever the padding, compiled once for all lengths."""

import chex
import jax
import numpy as np
import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.generation import generate as room
from explorer.generation.programs import Programs, programs_of
from explorer.generation.sampling import sampling_of
from explorer.pretrained import from_tensors
from tests.conformance import goldens
from tests.conformance.generated import FILE, NEW, causal_cases, prompts_of
from tests.conformance.weights import weights_of
from tests.models.tiny import model_of

pytestmark = pytest.mark.slow  # compiles models
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15, 16], [17]]


@pytest.mark.parametrize("name", ["gemma3", "gpt2"])
def test_greedy_tokens_are_those_of_transformers(name: str):
    (case,) = (case for case in causal_cases() if case.name == name)
    _, shapes = goldens.read(name)
    module, params = from_tensors(case.config, weights_of(shapes, case.model_type))
    with np.load(FILE) as file:
        tokens = file[f"{name}/tokens"].tolist()
    prompts = prompts_of(case)
    found = ex.generate(module, params, prompts, max_new_tokens=NEW)
    assert [list(row) for row in found.tokens] == tokens
    assert found.prompt_tokens == sum(map(len, prompts))
    assert (found.steps, found.stopped) == (NEW - 1, (False,) * 3)
    # the same, padded on the left as one array
    longest = max(map(len, prompts))
    rows = np.array([[0] * (longest - len(row)) + row for row in prompts])
    mask = np.array([[0] * (longest - len(row)) + [1] * len(row) for row in prompts])
    again = ex.generate(module, params, rows, attention_mask=mask, max_new_tokens=NEW)
    assert again.tokens == found.tokens


def test_both_programs_are_traced_once_for_all_lengths(monkeypatch: pytest.MonkeyPatch):
    model, variables = model_of("llama", scan=True)
    made: dict = {}

    def counted(module, sampling) -> Programs:
        if sampling not in made:
            programs = programs_of.__wrapped__(module, sampling)
            limit = chex.assert_max_traces(n=1)
            made[sampling] = Programs(
                jax.jit(
                    limit(programs.prefill.__wrapped__), static_argnames=("slots", "dtype")
                ),
                jax.jit(
                    chex.assert_max_traces(n=1)(programs.step.__wrapped__),
                    donate_argnames="state",
                ),
            )
        return made[sampling]

    chex.clear_trace_counter()
    monkeypatch.setattr(room, "programs_of", counted)
    for prompt, new, temperature, seed in (
        ([5, 6, 7], 4, 0.5, 1),
        ([5] * 11, 5, 0.9, 2),
        ([9], 6, 1.5, 3),
    ):
        settings = {"temperature": temperature, "seed": seed, "top_p": 0.9}
        found = ex.generate(
            model, variables["params"], [prompt], max_new_tokens=new, **settings
        )
        assert len(found.tokens[0]) == new
    assert len(made) == 1


def test_a_row_is_continued_as_it_would_be_alone():
    """Draws too: its key is that of its row, and row 0 of a batch of one is row 0."""
    model, variables = model_of("gemma3", scan=True)
    settings = {"max_new_tokens": 6, "temperature": 0.9, "min_p": 0.01, "seed": 4}
    params = variables["params"]
    together = ex.generate(model, params, PROMPTS, **settings)
    alone = ex.generate(model, params, PROMPTS[:1], **settings)
    assert together.tokens[0] == alone.tokens[0]
    again = ex.generate(model, params, PROMPTS, **settings)
    assert again.tokens == together.tokens
    other = ex.generate(model, params, PROMPTS, **(settings | {"seed": 5}))
    assert other.tokens != together.tokens


def test_stop_tokens_and_streaming():
    model, variables = model_of("llama", scan=True)
    params = variables["params"]
    free = ex.generate(model, params, PROMPTS, max_new_tokens=8).tokens
    stop = free[1][3]
    want = [row[: row.index(stop)] if stop in row else row for row in free]
    seen: list[tuple[int, int]] = []
    found = ex.generate(
        model,
        params,
        PROMPTS,
        max_new_tokens=8,
        stop_tokens=[stop],
        on_token=lambda row, token: seen.append((row, token)),
    )
    assert [*found.tokens] == want
    assert found.stopped == tuple(stop in row for row in free)
    for row in range(3):
        assert [token for number, token in seen if number == row] == list(want[row])


def test_a_penalty_makes_what_was_there_less_likely():
    model, variables = model_of("llama", scan=True)
    params = variables["params"]
    plain = ex.generate(model, params, [[5, 6, 7]], max_new_tokens=12).tokens[0]
    found = ex.generate(
        model, params, [[5, 6, 7]], max_new_tokens=12, repetition_penalty=1e6
    ).tokens[0]
    assert len(set(plain)) < 12
    assert len({*found, 5, 6, 7}) == 15


def test_frequencies_that_change_with_the_length_are_those_without_a_cache():
    """longrope's long factors begin beyond 16 tokens, for all of the tokens."""
    model, variables = model_of("phi3_longrope_short")
    prompts = [[3, 4, 5, 6, 7, 8], [7, 8, 9, 10, 11, 12, 13, 14]]
    found = ex.generate(model, variables["params"], prompts, max_new_tokens=14).tokens
    run = jax.jit(lambda ids, at: model.apply(variables, ids, position_ids=at).logits)
    rows = [list(row) for row in prompts]
    for _ in range(14):
        ids = np.zeros((2, 32), int)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
        last = max(map(len, rows)) - 1
        logits = run(ids, np.minimum(np.arange(32), last)[None])
        for row, tokens in enumerate(rows):
            tokens.append(int(logits[row, len(tokens) - 1].argmax()))
    assert [list(row[len(prompt) :]) for row, prompt in zip(rows, prompts)] == [
        list(row) for row in found
    ]


def test_quantised_parameters_are_dequantised_as_they_are_used():
    model, variables = model_of("llama", scan=True)
    packed, _ = ex.quantize(variables["params"], "int8")
    plain = ex.dequantize(packed)
    found = ex.generate(model, packed, PROMPTS, max_new_tokens=5)
    assert found.tokens == ex.generate(model, plain, PROMPTS, max_new_tokens=5).tokens


def test_models_and_stops_that_do_not_fit():
    model, variables = model_of("bert_mlm")
    with pytest.raises(InputError, match="BertForMaskedLM: its attention is not causal"):
        ex.generate(model, variables["params"], [[5]])
    model, variables = model_of("llama")
    with pytest.raises(InputError, match="stop_tokens: holds 61; expected ids below 61"):
        ex.generate(model, variables["params"], [[5]], stop_tokens=[61])
    with pytest.raises(InputError, match="params: has no embed"):
        ex.generate(model, variables, [[5]], max_new_tokens=2)
    with pytest.raises(InputError, match="module: is dict; expected a module"):
        ex.generate({}, variables, [[5]], max_new_tokens=2)


def test_which_filters_there_are_is_what_is_compiled():
    numbers = ex.GenerationSettings(temperature=0.7, top_p=0.9)
    others = ex.GenerationSettings(temperature=1.7, top_p=0.5)
    assert sampling_of(numbers) == sampling_of(others)


def test_inside_a_function_that_is_traced_it_is_one_line():
    model, variables = model_of("llama")
    params, rows = variables["params"], jax.numpy.array(PROMPTS[:1])
    of = lambda *given: ex.generate(model, *given, max_new_tokens=3).tokens  # noqa: E731
    for found, traced, given in (
        ("params: holds a traced array", lambda x: of(x, rows), params),
        ("tokens: holds a traced array", lambda x: of(params, x), rows),
        ("generate: is called in a function that is traced", lambda x: of(params, rows), 0),
    ):
        with pytest.raises(InputError, match=f"{found}; .* outside jit"):
            jax.jit(traced)(given)
