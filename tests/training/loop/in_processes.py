"""Runs of two processes, two devices each: `python -m ... PORT NUMBER SCENE FOLDER`.

Both start from the same state and each reads its half of every batch. Each prints a report.
"""

import hashlib
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from explorer.errors import InputError
from explorer.recipes import settings_of
from explorer.recipes.running import run
from explorer.training.checkpoints.checkpoints import Checkpoints
from explorer.training.data.batches import Arrays, Batches
from explorer.training.logging.history import History
from explorer.training.loop import fit as loop
from explorer.training.loop.evaluating import Epoch, evaluate
from explorer.training.loop.stopwatch import Stopwatch
from explorer.training.sharding.batch_placement import place_batch
from explorer.training.sharding.mesh import make_mesh
from explorer.training.sharding.processes import on_first, together
from explorer.training.step.state import TrainState, create_state
from explorer.training.step.train_step import make_train_step
from explorer.training.trainer import Trainer
from explorer.training.watch.watch import Watch

OPTIMIZER = optax.adamw(1e-2)
WATCH = Watch(every=4)
STEPS, SIGNALLED, POISONED = 30, 4, 9


def plain_steps(number: int) -> dict[str, Any]:
    """Take steps with batches over both processes, parameters split within each."""
    from tests.training import tiny  # its key is an array, which is made by then

    mesh = make_mesh(data=2, fsdp=2)
    state = create_state(tiny.NETWORK, OPTIMIZER, tiny.KEY, tiny.points(1)[0], mesh=mesh)
    step = make_train_step(tiny.squares(tiny.NETWORK), OPTIMIZER, mesh=mesh, accumulate=2)
    losses = []
    for complete in tiny.batches(3, count=16):
        mine = jax.tree.map(lambda leaf: np.split(leaf, 2)[number], complete)
        state, metrics = step(state, place_batch(mine, mesh))
        losses.append(float(metrics["loss"]))
    return {"losses": losses, "params": gathered(state.params)}


def create(mesh: Mesh | None) -> TrainState:
    """Return the first state of the runs."""
    from tests.training import tiny

    example = tiny.points(1)[0]
    return create_state(tiny.NETWORK, OPTIMIZER, tiny.KEY, example, mesh=mesh, watch=WATCH)


def make_step(mesh: Mesh | None) -> Any:
    """Return the step of the runs."""
    from tests.training import tiny

    return make_train_step(tiny.squares(tiny.NETWORK), OPTIMIZER, mesh=mesh, watch=WATCH)


def make_batches(number: int = 0, parts: int = 1, place: Any = None) -> Batches:
    """Return a process's part of the batches of the runs."""
    from tests.training import tiny

    return Batches(Arrays(tiny.points(50)), 16, seed=3, part=(number, parts), place=place)


def evaluations(number: int) -> dict[str, Any]:
    """Return the metrics of 50 examples, however two processes have them; and refusals."""
    from tests.training import tiny

    x, y = tiny.points(50)
    whole = Arrays((x, y))
    meshes = {"fsdp": make_mesh(fsdp=4), "tensor": make_mesh(data=1, tensor=4)}
    trainers = {
        name: Trainer(tiny.NETWORK, tiny.squares(tiny.NETWORK), OPTIMIZER, mesh=mesh)
        for name, mesh in meshes.items()
    }
    states = {name: each.init(tiny.KEY, x[:1]) for name, each in trainers.items()}

    def found(batches: Any, name: str = "fsdp") -> Any:
        try:
            return evaluate(trainers[name], states[name], batches)
        except InputError as error:
            return str(error)

    def rows(*ends: int) -> list[Any]:
        return [(x[a:b], y[a:b]) for a, b in itertools.pairwise(ends)]

    def failing() -> Iterator[Any]:
        yield from rows(0, 8)
        if number:
            raise InputError("shard-1", found="cannot be read")
        yield from rows(8, 16)

    mine = [0, 10, 20, 24] if number else [24, 27, 30, 37, 40, 41, 42, 43, 44, 45, 46, 50]
    place = partial(place_batch, mesh=meshes["fsdp"])
    halves = Epoch(whole, 8, part=(number, 2))
    whole_batches = [place(batch) for batch in halves if len(batch[0]) == 4]
    short = whole_batches[: len(whole_batches) - number]
    return {
        "parts": found(halves),
        "smaller": found(Epoch(whole, 14, part=(number, 2))),
        "the same on both": found(Epoch(whole, 8)),
        "of unequal length": found(rows(*mine)),
        "where both have all": found(rows(*mine), "tensor"),
        "lengths": [len(halves), sum(len(batch[0]) for batch in halves)],
        "placed": found(whole_batches),
        "48 in parts": found(list(halves)[:6]),
        "placed, one fewer": found(short),
        "none on one": found(rows(0, 4) if number else []),
        "none": found([]),
        "of other trees": found([x[:4] if number else (x[:4], y[:4])]),
        "fails on one": found(failing()),
    }


class Runs:
    """Runs in folders of their own, parameters split over all devices of both processes."""

    def __init__(self, number: int, folder: Path):
        self.number, self.folder = number, folder
        self.mesh = make_mesh(fsdp=4)
        self.first, self.step = create(self.mesh), make_step(self.mesh)

    def batches(self) -> Batches:
        place = partial(place_batch, mesh=self.mesh)
        return make_batches(self.number, 2, place)

    def run(self, name: str, change: Callable[[Batches], Any] = iter) -> dict[str, Any]:
        """Start or continue a run, and return its result."""
        from tests.training import tiny

        batches = self.batches()
        state = jax.tree.map(jnp.copy, self.first)  # a step may take over its memory
        history = History(WATCH.rows(state.params))
        with Checkpoints(self.folder / name, every=10, keep=9) as checkpoints:
            saved = checkpoints.restore(state)
            if saved is not None:
                state = saved.state
                batches.restore(saved.data)
            result = loop.fit(
                tiny.Steps(self.step, WATCH),
                state,
                change(batches),
                steps=STEPS,
                evaluate=lambda state: {"step": state.step},
                eval_every=7,
                checkpoints=checkpoints,
                history=history,
            )
        return {
            "from": saved and saved.step,
            "remarks": saved and saved.remarks,
            "stopped": result.stopped,
            "reason": result.reason,
            "step": int(result.state.step),
            "steps": checkpoints.steps(),
            "state": digest(result.state),
            "params": gathered(result.state.params),
            "losses": history.metric("loss")[1].tolist(),
            "watched": [r.step for r in history.records if r.watch is not None],
        }

    def refused(self, name: str) -> str:
        """Return the words in which a folder is refused."""
        return words(lambda: Checkpoints(self.folder / name).close())


class Changed(Iterator[Any]):
    """Batches that pass through a function of their number."""

    def __init__(self, batches: Batches, act: Callable[[int, Any], Any]):
        self._inner, self._act, self._drawn = batches, act, 0
        self.state = batches.state

    def __next__(self) -> Any:
        self._drawn += 1
        return self._act(self._drawn, next(self._inner))


def signalled(number: int, drawn: int, batch: Any) -> Any:
    if number == 1 and drawn == SIGNALLED:
        os.kill(os.getpid(), signal.SIGTERM)
    return batch


def poisoned(drawn: int, batch: Any) -> Any:
    return (batch[0] * np.nan, batch[1]) if drawn == POISONED else batch


def started(number: int, folder: Path) -> dict[str, Any]:
    """Train without a stop and with every kind of stop, on clocks that do not agree."""
    runs = Runs(number, folder)
    uninterrupted = runs.run("uninterrupted")
    # one finds that steps take no time, the other that they take minutes
    ticks = itertools.count(1)
    clock = lambda: next(ticks) * (100.0 if number else 1e-6)  # noqa: E731
    loop.Stopwatch = partial(Stopwatch, clock)
    return {
        "devices": jax.device_count(),
        "plain": plain_steps(number),
        "evaluated": evaluations(number),
        "uninterrupted": uninterrupted,
        "signal": runs.run(
            "signal", lambda batches: Changed(batches, partial(signalled, number))
        ),
        "not finite": runs.run("wild", lambda batches: Changed(batches, poisoned)),
        "data": runs.run("data", lambda batches: itertools.islice(batches, 7)),
        "stranger": runs.refused("stranger"),
        "held": runs.refused("held"),
        "free": runs.refused("signal"),
        "recipe": words(lambda: run(settings_of("linear"), folder / "recipe")),
        "fails on first": words(lambda: on_first(lambda: [][number])),
        "fails on second": words(lambda: together(lambda: [0][number])),
        "number of first": on_first(lambda: number, int),
        "own number": together(lambda: number),
    }


def continued(number: int, folder: Path) -> dict[str, Any]:
    """Continue what was started."""
    runs = Runs(number, folder)
    return {name: runs.run(name) for name in ("signal", "damaged")}


def words(act: Callable[[], Any]) -> str:
    """Return what is said where an act fails."""
    try:
        act()
    except (InputError, IndexError) as error:
        return str(error)
    return ""


def gathered(tree: Any) -> list[Any]:
    """Return the complete leaves of a tree whose shards are on both processes."""
    complete = multihost_utils.process_allgather(tree, tiled=True)
    return [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(complete)]


def key_words(tree: Any) -> Any:
    """Return a tree with the words of random keys in their place."""
    return jax.tree.map(
        lambda leaf: (
            jax.random.key_data(leaf)
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else leaf
        ),
        tree,
    )


def digest(state: TrainState) -> str:
    """Return what is the same of states that are the same bit for bit."""
    complete = multihost_utils.process_allgather(key_words(state), tiled=True)
    bits = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(complete))
    return hashlib.sha256(bits).hexdigest()


def main(port: str, number: int, scene: str, folder: str) -> None:
    """Play a scene."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", 2, number)
    scenes = {"started": started, "continued": continued}
    report = scenes[scene](number, Path(folder))
    print("\n" + json.dumps(report))  # on a line of its own, for Gloo talks as well
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
