"""The six steps of learning, measured on the recipe linear as it runs."""

import jax
import jax.numpy as jnp
import numpy as np

from explorer.explaining.learning_run import LearningRun
from explorer.recipes.linear import LinearRecipe, draw_points, least_squares
from explorer.training.loop.fit import fit
from explorer.training.step.outcome import Context

__all__ = ["measure_learning"]

_STEPS = (1, 2, 5, 10, 20)  # whose loss is kept, and that of the last one


def measure_learning(settings: LinearRecipe | None = None) -> LearningRun:
    """Run the recipe linear and return the numbers of its six steps.

    Args:
        settings: of the recipe; None for its own.

    >>> run = measure_learning()
    >>> [round(number, 2) for number in run.last]
    [1.99, 0.99]
    """
    settings = LinearRecipe() if settings is None else settings
    parts, points = settings.parts(), draw_points(settings)
    trainer = settings.trainer(parts)
    first = settings.first_state(trainer, parts).params
    context = Context(rng=jax.random.key(settings.seed), batch_stats={}, train=True)
    gradient = jax.grad(lambda params: parts.loss_fn(params, points, context))(first)
    x = points["x"][:1]
    predicted = parts.module.apply({"params": first}, jnp.asarray(x))
    drawn = _line(first)
    state = settings.first_state(trainer, parts)
    history, batches = trainer.history(state), settings.batches(parts)
    done = fit(trainer, state, batches, steps=1, history=history)
    second = _line(done.state.params)
    done = fit(trainer, done.state, batches, steps=settings.steps, history=history)
    losses = history.metric("loss").values.tolist()
    shown = sorted({*(step for step in _STEPS if step < settings.steps), settings.steps})
    return LearningRun(
        points=settings.points,
        learning_rate=settings.learning_rate,
        steps=settings.steps,
        first=drawn,
        example=(x.item(), points["y"][:1].item()),
        predicted=np.asarray(predicted).item(),
        losses={step: losses[step - 1] for step in shown},
        gradient=_line(gradient),
        second=second,
        last=_line(done.state.params),
        fitted=least_squares(points),
    )


def _line(params: dict) -> tuple[float, float]:
    """Return a and b of a tree of parameters, or of its gradient."""
    layer = params["linear"]
    return layer["kernel"].item(), layer["bias"].item()
