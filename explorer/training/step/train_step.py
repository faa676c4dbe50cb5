"""The step of training: a pure function of state and batch, jitted once."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import optax
from jax import lax
from jax.sharding import Mesh
from jax.typing import DTypeLike

from explorer.arguments import check_kinds
from explorer.errors import (
    InputError,
    shown,
)
from explorer.training.sharding.jit_on_mesh import jit_on_mesh
from explorer.training.step.buffers import without_buffers
from explorer.training.step.checks import check_optimizer, check_trainable
from explorer.training.step.extra_arguments import extra_arguments
from explorer.training.step.finite import check_finite, update_if_finite
from explorer.training.step.gradients import GradientFn, make_gradient_fn
from explorer.training.step.hyperparameters import hyperparameters
from explorer.training.step.outcome import LossFn, Metrics, count_examples
from explorer.training.step.state import TrainState

__all__ = ["Step", "make_train_step"]

# (state, batch, base) -> (state, metrics); base may be left out
PureStep = Callable[..., tuple[TrainState, Metrics]]
_LEARNED = ("step", "params", "opt_state", "batch_stats")


class Step(Protocol):
    """A jitted step: to be called, and to be lowered as what `jax.jit` returns."""

    def __call__(self, state: TrainState, batch: Any, /) -> tuple[TrainState, Metrics]:
        """Take the step."""
        ...

    def trace(self, state: TrainState, batch: Any, /) -> jax.stages.Traced:
        """Trace it for such arguments, real or abstract."""
        ...

    def lower(self, state: TrainState, batch: Any, /) -> jax.stages.Lowered:
        """Lower it for such arguments."""
        ...

    def eval_shape(self, state: TrainState, batch: Any, /) -> Any:
        """Return the shapes of what it returns."""
        ...


def make_train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    steps_per_call: int = 1,
    watch: Any = None,
    compute_dtype: DTypeLike | None = None,
    remat: str | None = None,
    labels: Any = None,
    donate: bool = True,
    mesh: Mesh | None = None,
    base: Any = None,
) -> Step:
    """Return a jitted `(state, batch) -> (state, metrics)`, traced once for all steps.

    The metrics are "loss", "grad_norm" (of all gradients, before the optimizer), "finite",
    "bad" (see `explorer.training.step.finite`), those of the loss function, the learning rate
    and the scheduled settings of an `optax.inject_hyperparams`, and "watch" where there is one.
    A step whose loss or gradient is not finite is not taken, and none after it: the state stays
    as the last good step left it, except for `halted`, and the metrics say so;
    `state.replace(halted=jnp.array(False))` continues. Buffers that stand among the parameters
    and have no gradient keep their values, whatever the optimizer does to all parameters.

    Args:
        loss_fn, accumulate, steps_per_call, watch, compute_dtype, remat, donate: as the fields
            of `Trainer`.
        optimizer: of the state.
        labels: of `freeze`, or a function of the parameters that returns them: no gradients
            are computed for what is frozen, zeros stand for them.
        mesh: where the state is placed; it is kept there, and the batch split over it.
        base: the `base` of the loss function's context, as the field of `Trainer`.

    Raises:
        InputError: an argument is out of range; when called, a loss that is not a scalar, a
            batch that does not divide, parameters that are not floats, a state elsewhere.

    >>> import jax.numpy as jnp
    >>> from explorer.models.small import LinearRegression
    >>> from explorer.training.step.state import create_state
    >>> model, descent = LinearRegression(), optax.sgd(0.5)
    >>> x = jnp.linspace(-1, 1, 9)[:, None]
    >>> def loss_fn(params, batch, context):
    ...     return jnp.square(model.apply({"params": params}, batch[0]) - batch[1]).mean()
    >>> state = create_state(model, descent, jax.random.key(0), x)
    >>> step = make_train_step(loss_fn, descent)
    >>> for _ in range(60):
    ...     state, metrics = step(state, (x, 2 * x + 1))
    >>> print(int(state.step), f"{state.params['linear']['kernel'].item():.3f}")
    60 2.000
    """
    check_optimizer(optimizer)
    _check_counts(accumulate=accumulate, steps_per_call=steps_per_call)
    gradient_fn = make_gradient_fn(
        loss_fn,
        accumulate=accumulate,
        compute_dtype=compute_dtype,
        remat=remat,
        labels=labels,
        mesh=mesh,
    )
    check_kinds(("donate", donate, "True or False"))
    step = _single(gradient_fn, optimizer, watch)
    if steps_per_call > 1:
        step = _repeated(step, steps_per_call)
    return jit_on_mesh(
        step, mesh, kind=TrainState, returns_state=True, donate=donate, base=base
    )


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if type(count) is not int or count < 1:
            raise InputError(
                name, found=shown(count, 60), expected="a whole number, 1 or more"
            )


def _single(gradient_fn: GradientFn, optimizer: Any, watch: Any) -> PureStep:
    """Return one step, as a pure function."""
    optimizer_of_loss = optax.with_extra_args_support(optimizer)

    def step(state: TrainState, batch: Any, base: Any = None) -> tuple[TrainState, Metrics]:
        check_trainable(state.params)
        count_examples(batch)
        _check_optimizer(optimizer, state)
        rng = jax.random.fold_in(state.rng, state.step)
        given = (batch, rng, state.batch_stats, base)
        outcome, grads = found = gradient_fn(state.params, *given)
        check = check_finite(outcome.loss.mean, grads, state.halted)

        def take() -> Any:
            of_loss = extra_arguments(gradient_fn, state.params, found, given)
            updates, opt_state = optimizer_of_loss.update(
                grads, state.opt_state, state.params, **of_loss
            )
            updates = without_buffers(updates, grads, state.opt_state)
            params = optax.apply_updates(state.params, updates)
            table = ()
            if watch is not None:
                before = (state.params, grads, updates, state.watch)
                table = watch.measure(state.step, *before)
            learned = (state.step + 1, params, opt_state, outcome.batch_stats)
            return learned, (table, hyperparameters(opt_state))

        taken, (table, used) = update_if_finite(check.finite, take, _learned(state))
        metrics = used | outcome.means | check._asdict()
        if watch is not None:
            metrics["watch"] = table
        learned = dict(zip(_LEARNED, taken, strict=True))
        return state.replace(**learned, halted=~check.finite), metrics

    return step


def _learned(state: TrainState) -> tuple[Any, ...]:
    """Return what a step changes of a state."""
    return tuple(getattr(state, name) for name in _LEARNED)


def _check_optimizer(optimizer: optax.GradientTransformation, state: TrainState) -> None:
    """Refuse an optimizer that is not the one whose state this is."""
    own = jax.eval_shape(optimizer.init, state.params)
    if jax.tree.structure(own) != jax.tree.structure(state.opt_state):
        raise InputError(
            "optimizer",
            found="a different one from that of the state",
            expected="the optimizer that the state was made with",
            cure="make the state with the init of this Trainer, or create_state(...)",
        )


def _repeated(step: PureStep, count: int) -> PureStep:
    """Return as many steps in one, their batches along the first axis."""

    def steps(
        state: TrainState, batches: Any, base: Any = None
    ) -> tuple[TrainState, Metrics]:
        given = count_examples(batches)
        if given not in (None, count):
            raise InputError(
                "the batch",
                found=f"{given} along the first axis",
                expected=f"steps_per_call={count} batches",
                cure=f"stack them along a new first axis, as Batches(steps_per_call={count})",
            )
        return lax.scan(lambda s, b: step(s, b, base), state, batches, length=count)

    return steps
