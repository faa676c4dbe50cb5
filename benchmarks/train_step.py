"""What explorer's step costs over a bare optax loop, and what watching costs over that.

The peer is a minimal loop written by hand: value_and_grad, update, apply_updates, jitted and
donated, without any checks. Both train the same small GPT on the same batches. Calls are
interleaved, so that other load of the machine affects all of them equally; each figure is a
median. On a shared machine the ratio of processor times is the more stable one.

    python benchmarks/train_step.py [rounds]
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from timing import report
from torch_gpt import BATCH, CONFIG, LENGTH

import explorer as ex
from explorer.architectures.families import architecture_of
from explorer.models.transformer import Transformer
from explorer.training.step.state import create_state
from explorer.training.step.train_step import make_train_step
from explorer.training.watch.watch import Watch

ROUNDS = int(sys.argv[1]) if sys.argv[1:] else 60
MODEL = Transformer(architecture_of(CONFIG))
OPTIMIZER = optax.adamw(3e-4)
Run = Callable[[Any], object]


class Times(NamedTuple):
    """Seconds of one step: elapsed, and of processor time."""

    wall: float
    processor: float


def loss_fn(params: Any, batch: Any, context: Any = None) -> jax.Array:
    """Return the mean cross-entropy of the next token."""
    logits = MODEL.apply({"params": params}, batch[:, :-1]).logits  # pyright: ignore
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


def by_hand() -> Run:
    """Return a function that takes one step of the minimal loop."""
    params = MODEL.init(jax.random.key(0), jnp.zeros((1, 8), int))["params"]

    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = OPTIMIZER.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    jitted = jax.jit(step, donate_argnums=(0, 1))
    kept = [params, OPTIMIZER.init(params)]

    def run(batch: Any) -> object:
        *kept[:], loss = jitted(*kept, batch)
        return loss

    return run


def ours(**options: Any) -> Run:
    """Return a function that takes one of explorer's steps."""
    kept = [
        create_state(
            MODEL,
            OPTIMIZER,
            jax.random.key(0),
            jnp.zeros((1, 8), int),
            watch=options.get("watch"),
        )
    ]
    step = make_train_step(loss_fn, OPTIMIZER, **options)

    def run(batch: Any) -> object:
        kept[0], metrics = step(kept[0], batch)
        return metrics

    return run


def timed(runs: dict[str, Run]) -> dict[str, list[Times]]:
    """Return the times of the steps of each, taken in turns."""
    drawn = jax.random.randint(jax.random.key(1), (16, BATCH, LENGTH + 1), 0, 96)
    batches = list(jax.block_until_ready(drawn))
    for run in runs.values():
        jax.block_until_ready(run(batches[0]))
    times: dict[str, list[Times]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(ROUNDS):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            wall, processor = time.perf_counter(), time.process_time()
            jax.block_until_ready(runs[name](batches[number % len(batches)]))
            took = Times(time.perf_counter() - wall, time.process_time() - processor)
            times[name].append(took)
    return times


def ratio(ours: list[Times], theirs: list[Times], kind: int) -> float:
    """Return the median over rounds of the ratio of one kind of time."""
    pairs = zip(ours, theirs, strict=True)
    return statistics.median(a[kind] / b[kind] for a, b in pairs)


def main() -> None:
    watched = {50: "watched every 50", 1: "watched every step"}
    runs = {
        "a hand-written loop": by_hand(),
        "explorer": ours(),
        **{name: ours(watch=Watch(every=every)) for every, name in watched.items()},
    }
    times = timed(runs)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.zeros((1, 8), int))
    print(
        f"GPT of {ex.count_parameters(shapes):,} parameters, {BATCH} x {LENGTH} tokens, "
        f"{jax.devices()[0].device_kind} ({platform.machine()}), {ROUNDS} rounds in turns"
    )
    for name, peer, goal in (
        ("explorer", "a hand-written loop", 1.03),
        ("watched every 50", "explorer", 1.01),
        ("watched every step", "explorer", 1.05),
    ):
        mine, other = (
            statistics.median(took.wall for took in times[n]) for n in (name, peer)
        )
        shown = "unwatched" if peer == "explorer" else peer
        report(f"A step, {name}", mine, shown, other, goal=f"at most {goal}x its time")
        walls, processors = (ratio(times[name], times[peer], kind) for kind in (0, 1))
        print(f"  median over rounds: {walls:.3f}x, of processor time {processors:.3f}x")


if __name__ == "__main__":
    main()
