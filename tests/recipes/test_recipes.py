"""Recipes, tiny: what they learn against what is known, and settings that are wrong."""

import signal
from typing import Any

import jax
import msgspec
import numpy as np
import pytest
from jax.errors import JaxRuntimeError
from scipy.special import log_softmax

import explorer as ex
from explorer.errors import InputError
from explorer.recipes import RECIPES, recipe_of, settings_of
from explorer.recipes.charlm import generate
from explorer.recipes.linear import LinearRecipe, draw_points
from explorer.recipes.recipe import Parts
from explorer.recipes.running import LEARNED, Finished, run
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.data.text import Characters, library_text
from explorer.training.loop.progress import Report
from explorer.values.learned import read_learned

TINY = {
    "linear": [],
    "digits": ["width=32", "layers=1", "steps=120", "learning_rate=0.01", "eval_every=60"],
    "charlm": [
        "width=16", "layers=1", "heads=2", "length=16", "characters=20000", "steps=60",
        "batch=8", "learning_rate=0.01", "eval_every=30", "sample=20",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """Return how a recipe's tiny run ends, and its folder; each is trained once."""
    runs = {}

    def of(name: str):
        if name not in runs:
            folder = tmp_path_factory.mktemp("runs") / name
            runs[name] = run(settings_of(name, TINY[name]), folder), folder
        return runs[name]

    return of


def test_the_learned_line_is_that_of_least_squares(finished):
    done, _ = finished("linear")
    points = draw_points(LinearRecipe())
    a, b = np.polyfit(points["x"][:, 0].astype(float), points["y"][:, 0].astype(float), 1)
    layer = done.state.params["linear"]
    np.testing.assert_allclose(layer["kernel"].item(), a, rtol=1e-6)
    np.testing.assert_allclose(layer["bias"].item(), b, rtol=1e-6)
    assert abs(a - 2) < 0.05
    assert abs(b - 1) < 0.05
    assert done.lines[0] == f"learned        y = {a:.6f} x + {b:.6f}"
    assert done.lines[1] == f"least squares  y = {a:.6f} x + {b:.6f}"


def test_points_without_noise_are_on_the_line():
    settings: Any = settings_of("linear", ["noise=0", "a=-3", "b=0.5", "points=7"])
    points = draw_points(settings)
    np.testing.assert_allclose(points["y"], -3 * points["x"] + 0.5, rtol=1e-6)


def test_a_small_network_reads_most_digits(finished):
    done, _ = finished("digits")
    (line,) = done.lines
    accuracy = done.history.metric("eval_accuracy")[1][-1]
    assert line == f"test accuracy  {accuracy:.2%} of 359 images (goal: 97%)"
    assert accuracy > 0.9
    # 359 is a fifth of the 1,797 images
    assert round(accuracy * 359) == pytest.approx(accuracy * 359, abs=1e-3)


def test_a_tiny_model_of_characters_learns(finished):
    done, _ = finished("charlm")
    steps, losses = done.history.metric("eval_loss")
    assert steps.tolist() == [30, 60]
    # letters at random cost the logarithm of their number
    assert losses[-1] < losses[0] < np.log(60)
    assert done.lines[0].startswith(f"test loss  {losses[-1]:.4f} nats a character")
    *_, heading, sample = done.lines
    assert heading == "sample"
    assert sample.startswith("def ")
    assert len(sample) == 4 + 20


def test_the_loss_of_a_test_is_that_of_each_window_once(finished):
    """Of those of the last batch too, which is smaller: 62 windows in batches of 8."""
    done, _ = finished("charlm")
    settings = settings_of("charlm", TINY["charlm"])
    text = library_text(20_000)
    tokens = Characters(text).encode(text)[: 20_000 // 20]
    windows = np.stack([tokens[n : n + 17] for n in range(0, len(tokens) - 16, 16)])
    assert len(windows) == 62
    module: Any = settings.parts().module
    apply = jax.jit(lambda ids: module.apply({"params": done.state.params}, ids).logits)
    shares = log_softmax(np.asarray(apply(windows[:, :-1]), np.float64), -1)
    losses = -np.take_along_axis(shares, windows[:, 1:, None].astype(int), -1)
    found = done.history.metric("eval_loss").values[-1]
    np.testing.assert_allclose(found, losses.mean(), rtol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_the_run_is_a_checkpoint_of_what_was_trained(finished, name: str):
    done, folder = finished(name)
    learned = ex.explore(done.state.params)
    saved = ex.explore(folder)
    assert (saved.num_weights, saved.num_biases) == (
        learned.num_weights,
        learned.num_biases,
    )
    for path, values in flat(ex.load(folder, select="params/**")["params"]).items():
        assert np.array_equal(values, flat(done.state.params)[path])


def flat(tree: dict, front: str = "") -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        path = f"{front}/{name}"
        found |= flat(value, path) if isinstance(value, dict) else {path: np.asarray(value)}
    return found


@pytest.mark.parametrize("name", TINY)
def test_where_a_run_learned_is_saved_with_it(finished, name: str):
    done, folder = finished(name)
    settings = settings_of(name, TINY[name])
    parts = settings.parts()
    first = settings.first_state(settings.trainer(parts), parts)
    before, after = flat(first.params), flat(done.state.params)
    change = np.sqrt(sum(((after[k].astype(float) - before[k]) ** 2).sum() for k in after))
    norm = np.sqrt(sum((before[k].astype(float) ** 2).sum() for k in before))
    learned = read_learned(folder / LEARNED)
    assert learned == done.history.learned
    assert learned.total.change == pytest.approx(change / norm, rel=1e-6)
    assert learned.after == f"step {settings.steps:,}"


@pytest.mark.parametrize("name", ["linear", "digits"])
def test_a_finished_run_is_reported_again_and_not_trained_again(finished, name: str):
    done, folder = finished(name)
    again: Finished = run(settings_of(name, TINY[name]), folder)
    assert again.lines == done.lines
    assert [record.step for record in again.history.records] == list(
        range(1, settings_of(name, TINY[name]).steps + 1)
    )
    assert (
        again.history.metric("loss")[1].tolist() == done.history.metric("loss")[1].tolist()
    )


@pytest.mark.parametrize("name", TINY)
def test_every_few_steps_all_parameters_are_watched(finished, name: str):
    done, _ = finished(name)
    seen = {r.step: r.watch for r in done.history.records if r.watch is not None}
    every, steps = settings_of(name, TINY[name]).watch_every, len(done.history.records)
    assert list(seen) == list(range(1, 1 + steps, every))
    assert len(done.history.rows) == len(flat(done.state.params))
    norms = seen[max(seen)][:, done.history.columns.index("norm")]
    assert (norms > 0).all()


def test_a_run_of_other_settings_is_refused(finished):
    _, folder = finished("linear")
    with pytest.raises(InputError) as caught:
        run(settings_of("linear", ["a=3", "seed=1"]), folder)
    assert str(caught.value) == (
        f"{folder}: is another run: settings.seed is 0 there, 1 now, settings.a is 2.0 there, "
        "3.0 now; expected the settings it began with; train into another folder"
    )


def test_a_rate_that_is_too_high_is_reported_with_the_step(tmp_path):
    with pytest.raises(InputError) as caught:
        run(settings_of("linear", ["learning_rate=1000"]), tmp_path / "run")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/run: step ")
    assert "gradients are not finite in linear/bias" in message
    assert message.endswith("train into another folder with a smaller learning_rate")
    with Checkpoints(tmp_path / "run", config=config_in(tmp_path / "run")) as checkpoints:
        assert checkpoints.steps() == []


class Signalled:
    """Progress that is interrupted where it is reported of something."""

    def __init__(self, at: str):
        self._at = at

    def note(self, text: str) -> None:
        if text == self._at:
            signal.raise_signal(signal.SIGTERM)

    def report(self, report: Report) -> None:
        self.note(f"step {report.step}")

    def close(self) -> None:
        pass


@pytest.mark.parametrize("at", ["step 3", "step 3 is restored"])
def test_a_signal_outside_the_loop_is_granted_too(tmp_path, at: str):
    """At the last report all steps are taken; when the state is restored, none is started."""
    settings, folder = settings_of("linear", ["steps=3"]), tmp_path / "run"
    if "restored" in at:
        run(settings, folder)
    handler = signal.getsignal(signal.SIGTERM)
    stopped = run(settings, folder, Signalled(at))
    assert signal.getsignal(signal.SIGTERM) is handler
    assert (stopped.stopped, stopped.reason, stopped.lines) == (
        "signal",
        "SIGTERM came after step 3",
        (),
    )
    again = run(settings, folder)
    assert again.stopped == "steps"
    assert again.lines[0].startswith("learned")


class Greedy(LinearRecipe, frozen=True, kw_only=True):
    """More points than any machine holds."""

    def parts(self) -> Parts:
        """Ask for an exbibyte."""
        np.empty(2**60, np.uint8)
        return super().parts()


def test_data_larger_than_memory_is_one_line(tmp_path):
    with pytest.raises(InputError) as caught:
        run(Greedy(), tmp_path / "run")
    assert str(caught.value) == (
        "the recipe linear: needs more memory than there is (Unable to allocate 1.00 EiB for "
        "an array with shape (1152921504606846976,) and data type uint8); train into another "
        "folder with a smaller points or batch"
    )


def test_other_errors_of_the_device_are_not_said_to_be_of_memory(
    tmp_path, monkeypatch: pytest.MonkeyPatch
):
    def failing(_: LinearRecipe) -> Parts:
        raise JaxRuntimeError("INTERNAL: no device answers")

    monkeypatch.setattr(LinearRecipe, "parts", failing)
    with pytest.raises(JaxRuntimeError, match="no device answers"):
        run(LinearRecipe(), tmp_path / "run")


def config_in(folder) -> dict:
    return msgspec.json.decode((folder / "run.json").read_bytes())


def test_generated_tokens_do_not_depend_on_what_comes_after_them(finished):
    """Drawn one by one from the whole prefix, as by definition, they are the same."""
    done, _ = finished("charlm")
    parts: Any = settings_of("charlm", TINY["charlm"]).parts()
    key, prompt, length = jax.random.key(3), np.arange(14), 16
    drawn = generate(parts.module, done.state.params, prompt, 4, key, length=length)
    apply = jax.jit(lambda ids: parts.module.apply({"params": done.state.params}, ids))
    tokens = prompt.tolist()
    for part in jax.random.split(key, 4):
        logits = apply(np.array(tokens[-length:])[None]).logits[0, -1]
        tokens.append(int(jax.random.categorical(part, logits)))
    assert drawn.tolist() == tokens[len(prompt) :]


@pytest.mark.parametrize("name", RECIPES)
def test_settings_are_typed(name: str):
    changed = settings_of(name, ["steps=7", "learning_rate=1e-2", "steps=8"])
    assert (changed.steps, changed.learning_rate) == (8, 0.01)
    assert settings_of(name) == recipe_of(name)()
    with pytest.raises(AttributeError):
        changed.steps = 9  # pyright: ignore[reportAttributeAccessIssue]


BAD = {
    "recipe": ("digit", [], "digit: no such recipe; expected one of linear, digits, charlm, lora; did you mean digits?"),
    "far": ("resnet", [], "resnet: no such recipe; expected one of linear, digits, charlm, lora"),
    "key": (
        "linear",
        ["learning_rat=1"],
        "--set learning_rat=1: linear has no setting 'learning_rat'; expected one of seed, steps, batch, learning_rate, "
        "eval_every, save_every, watch_every, steps_per_call, accumulate, freeze, a, b, noise, points; did you mean learning_rate?",
    ),
    "no value": ("linear", ["steps"], "--set steps: no value; expected KEY=VALUE"),
    "word": ("linear", ["steps=many"], "--set steps=many: expected int, got str; the default is 200"),
    "half": ("linear", ["steps=1.5"], "--set steps=1.5: expected int, got str; the default is 200"),
    "empty": ("linear", ["a="], "--set a=: expected float, got str; the default is 2.0"),
    "low": ("linear", ["points=0"], "--set points=0: expected int >= 1; the default is 200"),
    "high": ("charlm", ["width=9000"], "--set width=9000: expected int <= 8192; the default is 128"),
    "nan": ("linear", ["noise=nan"], "--set noise=nan: expected float >= 0.0; the default is 0.1"),
    "inf": ("digits", ["learning_rate=inf"], "--set learning_rate=inf: expected float <= 1000.0; the default is 0.001"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_reported_in_one_line(case: str):
    name, changes, message = BAD[case]
    with pytest.raises(InputError) as caught:
        settings_of(name, changes)
    assert str(caught.value) == message


def test_settings_that_do_not_fit_together(tmp_path):
    def refused(*changes: str) -> str:
        with pytest.raises(InputError) as caught:
            run(settings_of("charlm", [*TINY["charlm"], *changes]), tmp_path / "run")
        return str(caught.value)

    assert refused("heads=3") == (
        "charlm: heads=3 of a width of 16; expected heads of an even size: 2 * heads divides "
        "the width"
    )
    assert refused("characters=1000", "length=64") == (
        "text of the test: 50 tokens for windows of 64 + 1; expected at least one window; "
        "give more text, or a shorter length"
    )
    assert not (tmp_path / "run").exists()
