"""Runs that end because evaluations find nothing better."""

import warnings

import numpy as np
import optax
import pytest

from explorer.errors import InputError
from explorer.training import Arrays, Batches, EarlyStop, History, Trainer, fit
from explorer.training.loop.early_stop import Patience, warn_without_history
from tests.training import tiny

X = np.linspace(-1, 1, 8, dtype="f4")[:, None]
LOSSES = [5.0, 4.0, 4.5, 3.99, 4.2, 4.1, 4.0, 1.0]  # of the evaluations of a run


def run(stop, *, steps=16, history=None, state=None, evaluate_every=2, losses=LOSSES):
    trainer = Trainer(tiny.LINE, tiny.squares(tiny.LINE), optax.sgd(0.1))
    state = trainer.init(tiny.KEY, X) if state is None else state

    def evaluate(state):
        return {"loss": losses[int(state.step) // 2 - 1]}

    batches = Batches(Arrays((X, X)), 4)
    return fit(
        trainer,
        state,
        batches,
        steps=steps,
        evaluate=evaluate,
        eval_every=evaluate_every,
        early_stop=stop,
        history=history,
    )


@pytest.mark.parametrize(
    ("stop", "last"),
    [
        (EarlyStop(2), 12),  # best at the fourth, 8 steps
        (EarlyStop(1), 6),
        (EarlyStop(3), 14),
        (EarlyStop(4), 16),
        (EarlyStop(2, min_delta=0.1), 8),  # 3.99 counts for nothing
        (EarlyStop(2, mode="max"), 6),
        (None, 16),
    ],
)
def test_it_ends_after_so_many_evaluations(stop, last):
    result = run(stop)
    assert int(result.state.step) == last
    assert result.stopped == ("steps" if last == 16 else "no better")
    if last != 16:
        assert f"found no better loss by step {last}" in result.reason


def test_a_run_that_goes_on_counts_what_was_before():
    history = History()
    first = run(EarlyStop(2), steps=10, history=history)
    assert first.stopped == "steps"
    second = run(EarlyStop(2), history=history, state=first.state)
    assert (int(second.state.step), second.stopped) == (12, "no better")
    third = run(EarlyStop(2), history=history, state=second.state)
    assert (int(third.state.step), third.stopped) == (12, "no better")


def test_without_what_it_needs_it_is_one_line():
    with pytest.raises(InputError, match="no eval_every"):
        run(EarlyStop(2), evaluate_every=0)
    with pytest.raises(InputError, match="no metric 'accuracy' in what evaluate returns"):
        run(EarlyStop(2, metric="accuracy"))
    for arguments in ({"patience": 0}, {"patience": 1, "mode": "less"}, {"patience": True}):
        with pytest.raises(InputError):
            EarlyStop(**arguments)
    with pytest.raises(InputError, match="min_delta"):
        EarlyStop(1, min_delta=-1.0)


def test_a_resumed_run_without_its_history_is_warned_of():
    patience = Patience(EarlyStop(2), None)
    with pytest.warns(
        UserWarning, match=r"no evaluation before step 8 is known.*read_jsonl"
    ):
        warn_without_history(patience, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_without_history(patience, 0)
        warn_without_history(Patience(None, None), 8)
        patience.add({"loss": 1.0})
        warn_without_history(patience, 8)
