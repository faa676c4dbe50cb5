"""Two processes compute what one computes, and stop, save and continue as one."""

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.data.batches import Arrays
from explorer.training.loop.evaluating import Epoch, evaluate
from explorer.training.loop.fit import fit
from explorer.training.step.state import create_state
from explorer.training.step.train_step import make_train_step
from explorer.training.trainer import Trainer
from tests.training import tiny
from tests.training.devices import start
from tests.training.loop import in_processes


class Found(NamedTuple):
    """What both processes reported of runs that they started and, anew, continued; where."""

    started: list[dict[str, Any]]
    continued: list[dict[str, Any]]
    folder: Path


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def play(scene: str, folder: Path) -> list[dict[str, Any]]:
    """Return what each of two processes reports."""
    port = free_port()
    both = [
        start("loop.in_processes", port, number, scene, folder, devices=2)
        for number in (0, 1)
    ]
    try:
        reported = [process.communicate(timeout=300) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], (
        reported[0][1] + reported[1][1]
    )
    return [json.loads(out.splitlines()[-1]) for out, _ in reported]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "stranger").mkdir()
    (folder / "stranger" / "thesis.txt").write_text("years of work")
    with Checkpoints(folder / "held"):
        started = play("started", folder)
    shutil.copytree(folder / "signal", folder / "one process")
    shutil.copytree(folder / "uninterrupted", folder / "damaged")
    largest = max((folder / "damaged/30").rglob("*/d/*"), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1])
    return Found(started, play("continued", folder), folder)


def test_two_processes_compute_what_one_computes(found: Found):
    assert [reported["devices"] for reported in found.started] == [4, 4]
    plain = found.started[0]["plain"]
    optimizer = in_processes.OPTIMIZER
    state = create_state(tiny.NETWORK, optimizer, tiny.KEY, tiny.points(1)[0])
    step = make_train_step(tiny.squares(tiny.NETWORK), optimizer)
    losses = []
    for batch in tiny.batches(3, count=16):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(plain["losses"], losses, rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(state.params), plain["params"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_set_is_evaluated_as_one_process_does(found: Found):
    """Whatever each has of it: the same figures on both, and those of all examples once."""
    first, second = (reported["evaluated"] for reported in found.started)
    assert first.pop("lengths") == [7, 25]
    assert second.pop("lengths") == [7, 25]
    assert first == second
    batch = tiny.points(50)
    trainer = Trainer(tiny.NETWORK, tiny.squares(tiny.NETWORK), in_processes.OPTIMIZER)
    state = trainer.init(tiny.KEY, batch[0][:1])
    # one of 50 and one of 48, in float64
    missed = np.asarray(tiny.NETWORK.apply({"params": state.params}, batch[0])) - batch[1]
    for count, names in (
        (50, ("parts", "smaller", "the same on both")),
        (50, ("of unequal length", "where both have all")),
        (48, ("placed", "48 in parts")),
    ):
        alone = evaluate(trainer, state, Epoch(Arrays(batch), 8)) if count == 50 else None
        expected = {
            "loss": np.square(missed[:count], dtype=np.float64).mean(),
            "missed": np.abs(missed[:count]).mean(dtype=np.float64),
        }
        for name in names:
            for metric, value in expected.items():
                np.testing.assert_allclose(first[name][metric], value, rtol=1e-5)
                if alone is not None:
                    np.testing.assert_allclose(alone[metric], value, rtol=1e-5)


def test_batches_that_processes_cannot_use_together_are_one_line_on_both(found: Found):
    for reported in found.started:
        evaluated = reported["evaluated"]
        assert {name: evaluated[name] for name in REFUSED} == REFUSED


REFUSED = {
    "placed, one fewer": "batches of process 1: 5 of arrays of all processes, or of other "
    "sizes; expected 6, as on process 0; give each process's own examples as NumPy arrays, "
    "of any number",
    "none on one": "batches of process 0: none, and other processes have some; expected at "
    "least one on each; take smaller batches, or fewer processes",
    "none": "batches: none; expected at least one",
    "of other trees": "batches of process 1: 'PyTreeDef(*)'; expected "
    "'PyTreeDef((*, *))', as before",
    "fails on one": "shard-1: cannot be read",
}
RUNS = ("uninterrupted", "signal", "not finite", "data")


@pytest.mark.parametrize("name", RUNS)
def test_a_run_ends_the_same_way_on_both(found: Found, name: str):
    first, second = (reported[name] for reported in found.started)
    assert first == second


def test_a_signal_to_one_stops_both_at_one_step_with_one_checkpoint(found: Found):
    run = found.started[0]["signal"]
    assert run["stopped"] == "signal"
    assert in_processes.SIGNALLED <= run["step"] < in_processes.STEPS
    assert run["reason"] == f"SIGTERM came after step {run['step']}"
    assert run["steps"] == [run["step"]]


def test_new_processes_continue_to_the_same_bits(found: Found):
    uninterrupted = found.started[0]["uninterrupted"]
    assert (uninterrupted["stopped"], uninterrupted["steps"]) == ("steps", [10, 20, 30])
    first, second = (reported["signal"] for reported in found.continued)
    assert first == second
    stopped = found.started[0]["signal"]
    assert first["from"] == stopped["step"]
    assert first["state"] == uninterrupted["state"]
    assert stopped["losses"] + first["losses"] == uninterrupted["losses"]
    assert stopped["watched"] + first["watched"] == uninterrupted["watched"]
    assert first["steps"] == [stopped["step"], *uninterrupted["steps"]]


def test_one_process_restores_the_same_bits_and_continues_to_the_same_numbers(found: Found):
    stopped, uninterrupted = (
        found.started[0][name] for name in ("signal", "uninterrupted")
    )
    batches = in_processes.make_batches()
    with Checkpoints(found.folder / "one process") as checkpoints:
        saved = checkpoints.restore(in_processes.create(None))
    assert saved is not None
    assert (saved.step, saved.remarks) == (stopped["step"], ())
    assert in_processes.digest(saved.state) == stopped["state"]
    batches.restore(saved.data)
    result = fit(tiny.Steps(in_processes.make_step(None)), saved.state, batches, steps=30)
    for ours, theirs in zip(
        jax.tree.leaves(result.state.params), uninterrupted["params"], strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_numbers_that_are_not_finite_stop_both_whatever_their_clocks_say(found: Found):
    run = found.started[0]["not finite"]
    assert run["stopped"] == "not finite"
    assert run["reason"].startswith(f"step {in_processes.POISONED}: the loss is nan, ")
    assert len(run["losses"]) == in_processes.POISONED - 1
    assert run["steps"] == []
    assert all(np.isfinite(leaf).all() for leaf in run["params"])


def test_data_that_ends_on_both_ends_the_run(found: Found):
    run = found.started[0]["data"]
    assert (run["stopped"], run["reason"]) == ("data", "the data ended after step 7")
    assert run["steps"] == [7]


def test_a_broken_checkpoint_is_set_aside_once_and_both_take_the_one_before(found: Found):
    first, second = (reported["damaged"] for reported in found.continued)
    assert first == second
    (remark,) = first["remarks"]
    assert remark.startswith(str(found.folder / "damaged/30/"))
    assert remark.endswith(": is not as it was written; it is set aside as 30.broken")
    assert first["from"] == 20
    assert first["state"] == found.started[0]["uninterrupted"]["state"]
    names = sorted(os.listdir(found.folder / "damaged"))
    assert names == [".lock", "10", "20", "30", "30.broken", "run.json"]


def test_a_folder_that_the_first_is_refused_is_refused_to_both(found: Found):
    folder = found.folder
    for reported in found.started:
        assert reported["stranger"] == (
            f"{folder}/stranger: holds 'thesis.txt' and no run.json; expected an empty "
            "folder, or the one of this run; train into another folder"
        )
        assert reported["held"].startswith(
            f"{folder}/held: is in use by process {os.getpid()} on "
        )
        assert reported["free"] == ""
    assert os.listdir(folder / "stranger") == ["thesis.txt"]


def test_a_recipe_is_for_one_process(found: Found):
    for reported in found.started:
        assert reported["recipe"] == (
            "the recipe linear: 2 processes; expected one, on whose default device it trains; "
            "train on a mesh of them with Trainer(mesh=) and fit"
        )
    assert not (found.folder / "recipe").exists()


def test_what_fails_on_one_is_reported_to_the_other(found: Found):
    first, second = found.started
    own = "list index out of range"
    words = f"failed with IndexError: {own}; see what it says"
    for name, expected in {
        "fails on first": [own, f"process 0: {words}"],
        "fails on second": [f"process 1: {words}", own],
        "number of first": [0, 0],
        "own number": [0, 1],
    }.items():
        assert [first[name], second[name]] == expected
