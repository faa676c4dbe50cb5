"""The best checkpoint is that of the best evaluation, and a metric that is not measured is named."""

import logging
from pathlib import Path
from typing import Any

import pytest

from explorer.errors import InputError
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.loop.fit import fit
from tests.training.loop.test_loop import create, make_batches, step
from tests.training.tiny import Steps

__all__ = ["step"]  # a fixture
SCORES = {7: 3.0, 14: 1.0, 21: 4.0, 28: 2.0, 35: 1.5, 40: 1.2}


def evaluate(state: Any) -> dict[str, float]:
    return {"score": SCORES[int(state.step)]}


@pytest.mark.parametrize(("mode", "best"), [("min", 14), ("max", 21)])
def test_an_evaluation_between_saves_is_saved_if_it_is_the_best(
    step: Any, tmp_path: Path, mode: Any, best: int, caplog: pytest.LogCaptureFixture
):
    options: dict[str, Any] = {"every": 10, "keep": 1, "best": ("eval_score", mode)}
    with (
        Checkpoints(tmp_path / "run", **options) as checkpoints,
        caplog.at_level(logging.DEBUG),
    ):
        fit(
            Steps(step),
            create(),
            make_batches(),
            steps=28,
            checkpoints=checkpoints,
            evaluate=evaluate,
            eval_every=7,
        )
        assert "did not provide metrics" not in caplog.text
    assert checkpoints.steps() == [best, 28]
    with Checkpoints(
        tmp_path / "run", **options
    ) as checkpoints:  # a resumed run knows of it
        saved = checkpoints.restore(create())
        assert saved is not None
        fit(
            Steps(step),
            saved.state,
            make_batches(),
            steps=40,
            checkpoints=checkpoints,
            evaluate=evaluate,
            eval_every=7,
        )
    assert checkpoints.steps() == [best, 40]
    assert checkpoints.best_step() == best


@pytest.mark.parametrize(
    ("best", "options", "message", "steps"),
    [
        (
            "eval_scoer",
            {"evaluate": evaluate, "eval_every": 7},
            "eval_score, grad_norm, loss",
            7,
        ),
        ("los", {"evaluate": evaluate, "eval_every": 7}, "grad_norm, loss, right", 1),
        ("eval_score", {}, "loss, right; pass evaluate= for those of an evaluation", 1),
    ],
)
def test_a_metric_that_is_not_measured_is_named_as_soon_as_that_is_known(
    step: Any, tmp_path: Path, best: str, options: Any, message: str, steps: int
):
    taken = []

    def counted(state: Any, batch: Any) -> Any:
        taken.append(batch)
        return step(state, batch)

    folder = tmp_path / "run"
    with (
        pytest.raises(
            InputError, match=f"a metric '{best}', which is not measured.*{message}"
        ),
        Checkpoints(folder, best=(best, "min")) as checkpoints,
    ):
        fit(
            Steps(counted),
            create(),
            make_batches(),
            steps=40,
            checkpoints=checkpoints,
            **options,
        )
    assert len(taken) == steps
    Checkpoints(
        folder, config={"other": "run"}
    ).close()  # it holds nothing, and is any run's
