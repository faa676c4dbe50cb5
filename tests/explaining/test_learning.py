"""The run that the topic learning quotes: made again, and checked by NumPy."""

import numpy as np
import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.explaining.learning_run import RECORDED, LearningRun
from explorer.recipes.learning import measure_learning
from explorer.recipes.linear import LinearRecipe, draw_points
from tests.cli.in_process import run


@pytest.fixture(scope="module")
def measured() -> LearningRun:
    return measure_learning()


@pytest.mark.parametrize("name", LearningRun.__struct_fields__)
def test_the_recorded_run_is_what_a_run_gives(measured, name):
    one, other = getattr(measured, name), getattr(RECORDED, name)
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_numpy_takes_the_same_first_step():
    points = draw_points(LinearRecipe())
    x, y = (points[name][:, 0].astype(np.float64) for name in "xy")
    a, b = RECORDED.first
    error = a * x + b - y
    np.testing.assert_allclose(RECORDED.losses[1], np.square(error).mean(), rtol=1e-5)
    gradient = 2 * (error * x).mean(), 2 * error.mean()
    np.testing.assert_allclose(RECORDED.gradient, gradient, rtol=1e-5)
    second = np.subtract(RECORDED.first, RECORDED.learning_rate * np.array(gradient))
    np.testing.assert_allclose(RECORDED.second, second, rtol=1e-5)
    np.testing.assert_allclose(RECORDED.predicted, a * x[0] + b, rtol=1e-5)
    np.testing.assert_allclose(RECORDED.example, (x[0], y[0]), rtol=1e-6)
    np.testing.assert_allclose(RECORDED.last, np.polyfit(x, y, 1), rtol=1e-5)


def test_a_run_that_is_given_is_quoted(measured):
    (topic,) = ex.explain("gpt2", "learning", run=measured).topics
    assert (
        f"a becomes {measured.second[0]:.4f}, b {measured.second[1]:.4f}"
        in topic.details[4]
    )


def test_only_the_topic_learning_is_run():
    found = run("explain", "gpt2", "bias", "--run")
    assert (found.returncode, found.stderr.startswith("explorer: --run: is for")) == (
        2,
        True,
    )
    with pytest.raises(InputError, match="is not a word"):
        ex.explain("gpt2", "lerning rat", run=RECORDED)
