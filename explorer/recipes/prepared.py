"""What a recipe's parts become before the first step: a state, its step, its batches."""

from math import gcd
from typing import NamedTuple

import jax

from explorer.recipes.recipe import Parts, Settings
from explorer.training.data.batches import Batches
from explorer.training.sharding.mesh import make_mesh
from explorer.training.step.freezing import freeze
from explorer.training.step.state import State, create_state
from explorer.training.step.train_step import Step, make_train_step
from explorer.training.watch.watch import Watch

__all__ = ["Prepared", "prepare"]


class Prepared(NamedTuple):
    """All that `fit` needs of a recipe; `notes` is what is said of it before it begins."""

    state: State
    step: Step
    batches: Batches
    watch: Watch
    notes: tuple[str, ...]


def prepare(settings: Settings, parts: Parts) -> Prepared:
    """Return a recipe ready to begin, on as many devices as divide its batches.

    Args:
        settings: of the recipe.
        parts: of the same settings.

    Raises:
        InputError: `freeze` names nothing, or all there is.
    """
    notes: list[str] = []
    micro_batch = max(1, settings.batch // settings.accumulate)
    count = gcd(jax.device_count(), micro_batch)
    mesh = make_mesh(data=count) if count > 1 else None
    if mesh is not None:
        notes.append(f"on {count} devices, each with its part of every batch")
    watch, optimizer, labels = Watch(every=settings.watch_every), parts.optimizer, None
    rng = jax.random.key(settings.seed)
    if settings.freeze:

        def shaped(key: jax.Array) -> State:
            return create_state(parts.module, parts.optimizer, key, *parts.inputs)

        held = freeze(
            optimizer, jax.eval_shape(shaped, rng).params, globs=[settings.freeze]
        )
        optimizer, labels = held.optimizer, held.labels
        whole = held.trainable + held.frozen
        notes.append(f"{held.trainable:,} of {whole:,} parameters are trained")
    state = create_state(
        parts.module, optimizer, rng, *parts.inputs, mesh=mesh, watch=watch
    )
    # what divides the steps ends with the last one
    together = gcd(settings.steps_per_call, settings.steps)
    step = make_train_step(
        parts.loss_fn,
        optimizer,
        accumulate=settings.accumulate,
        steps_per_call=together,
        watch=watch,
        compute_dtype=parts.compute_dtype,
        labels=labels,
        mesh=mesh,
    )
    batches = Batches(
        parts.source, settings.batch, seed=settings.seed, steps_per_call=together
    )
    return Prepared(state, step, batches, watch, tuple(notes))
