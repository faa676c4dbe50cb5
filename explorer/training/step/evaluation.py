"""What a loss function receives and may return, and the step that only evaluates it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax.errors import FlaxError
from jax.sharding import Mesh
from jax.typing import DTypeLike

from explorer.errors import ExplorerError, InputError, first_line, printable
from explorer.training.sharding.activations import activations_follow_batch
from explorer.training.sharding.jit_on_mesh import jit_on_mesh
from explorer.training.sharding.mesh import split_over_mesh
from explorer.training.step.state import TrainState, cast_floats
from explorer.tree.types import Batch

__all__ = [
    "Context",
    "EvalStep",
    "LossFn",
    "Metrics",
    "Outcome",
    "count_examples",
    "make_eval_step",
    "outcome_of",
]

Metrics = dict[str, Any]
# what a step itself says, which a loss function's metrics may not be called
RESERVED = ("loss", "grad_norm", "finite", "bad", "watch")


class Context(NamedTuple):
    """What a loss function may need besides parameters and a batch.

    `rng` is a key of this step alone, for dropout; `batch_stats` the running statistics, {}
    where the module has none; `train` a plain bool, False in an evaluation; `base` what the
    loss reads and no step changes, such as the frozen parameters below adapters.

    >>> def loss_fn(params, batch, context):
    ...     kept = jax.random.bernoulli(context.rng, 0.9, batch.shape) if context.train else 1
    ...     return jnp.square(params["scale"] * batch * kept).mean()
    >>> evaluated = Context(jax.random.key(0), batch_stats={}, train=False)
    >>> loss_fn({"scale": 2.0}, jnp.ones(4), evaluated).item()
    4.0
    """

    rng: jax.Array
    batch_stats: Any
    train: bool
    base: Any = None


# loss_fn(params, batch, context) -> loss | (loss, metrics) | (loss, metrics, batch_stats)
LossFn = Callable[[Any, Any, Context], Any]


class EvalStep(Protocol):
    """A jitted evaluation: called, traced and lowered as what `jax.jit` returns."""

    def __call__(self, state: TrainState, batch: Batch, /) -> Metrics:
        """Return the metrics of a batch."""
        ...

    def trace(self, state: TrainState, batch: Batch, /) -> jax.stages.Traced:
        """Trace it for these arguments, real or abstract."""
        ...

    def lower(self, state: TrainState, batch: Batch, /) -> jax.stages.Lowered:
        """Lower it for these arguments."""
        ...


class Outcome(NamedTuple):
    """What a loss function answered: its loss, its metrics, the batch statistics after."""

    loss: jax.Array
    metrics: Metrics
    batch_stats: Any


def make_eval_step(
    loss_fn: LossFn,
    *,
    compute_dtype: DTypeLike | None = None,
    mesh: Mesh | None = None,
    base: Any = None,
) -> EvalStep:
    """Return a jitted `(state, batch) -> metrics`, which changes nothing.

    Args:
        loss_fn: `(params, batch, context) -> loss`, or with metrics and batch statistics,
            as for `make_train_step`; `context.train` is False.
        compute_dtype: what the parameters are cast to inside the loss; None for their own.
        mesh: where the state is placed; the batch is split over it.
        base: the `base` of the context.

    Returns:
        A function whose metrics are "loss" and those of the loss function.

    Raises:
        InputError: when called, as what `make_train_step` returns does.

    >>> import optax
    >>> from explorer.models.small import LinearRegression
    >>> from explorer.training.step.state import create_state
    >>> model, x = LinearRegression(), jnp.ones((4, 1))
    >>> state = create_state(model, optax.sgd(0.1), jax.random.key(0), x)
    >>> def loss_fn(params, batch, context):
    ...     return jnp.square(model.apply({"params": params}, batch)).mean()
    >>> list(make_eval_step(loss_fn)(state, x))
    ['loss']
    """

    def evaluate(state: TrainState, batch: Any, base: Any = None) -> Metrics:
        examples = count_examples(batch)
        batch = split_over_mesh(batch, mesh)
        rng = jax.random.fold_in(state.rng, state.step)
        params = cast_floats(state.params, compute_dtype)
        context = Context(rng, state.batch_stats, False, base)
        with activations_follow_batch(mesh, examples):
            outcome = outcome_of(loss_fn, params, batch, context)
        return {"loss": outcome.loss, **outcome.metrics}

    return jit_on_mesh(evaluate, mesh, kind=TrainState, base=base)


def count_examples(batch: Any) -> int | None:
    """Return how many examples a batch has; None where it has no arrays.

    Raises:
        InputError: arrays of different first axes or without one, or no example.
    """
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(batch)]
    if not shapes:
        return None
    sizes = {shape[:1] for shape in shapes}
    if len(sizes) > 1 or () in sizes:
        shown = ", ".join(str(shape) for shape in dict.fromkeys(shapes))
        raise InputError(
            "the batch",
            found=f"arrays of shapes {shown}",
            expected="one number of examples, along the first axis of each",
        )
    (examples,) = sizes.pop()
    if examples == 0:
        raise InputError("the batch", found="no examples", expected="at least one example")
    return examples


def outcome_of(loss_fn: LossFn, params: Any, batch: Any, context: Context) -> Outcome:
    """Return what a loss function answers, its loss in float32 at least.

    Raises:
        InputError: it cannot be called with the batch, the loss is not a scalar, a metric is
            none or takes a step's own name, or the batch statistics are others than came in.
    """
    returned = _answer(loss_fn, params, batch, context)
    loss, metrics, batch_stats = _parts(returned, context)
    loss = _scalar(loss, "the loss", "take its mean")
    if not jnp.issubdtype(loss.dtype, jnp.floating):
        raise InputError("loss_fn", found=f"a loss of {loss.dtype}", expected="a float")
    loss = loss.astype(jnp.promote_types(loss.dtype, jnp.float32))
    if not isinstance(metrics, Mapping):
        raise InputError(
            "loss_fn",
            found="metrics that are not a dict",
            expected="a dict of scalars by name",
        )
    taken = [name for name in metrics if name in RESERVED]
    if taken:
        raise InputError(
            "loss_fn",
            found=f"a metric called {taken[0]!r}, as the step's own",
            cure="give it another name",
        )
    named = {
        name: _scalar(value, f"the metric {printable(name, 60)}", "reduce it")
        for name, value in metrics.items()
    }
    _check_same(batch_stats, context.batch_stats)
    return Outcome(loss, named, batch_stats)


def _answer(loss_fn: LossFn, params: Any, batch: Any, context: Context) -> Any:
    """Return what a loss function returns; of shapes that do not match, one line."""
    try:
        return loss_fn(params, batch, context)
    except (TypeError, ValueError, LookupError, FlaxError) as error:
        if isinstance(error, ExplorerError):
            raise
        given = ", ".join(
            f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
            for leaf in jax.tree.leaves(batch)
        )
        message = first_line(error)
        raise InputError(
            "loss_fn", found=f"cannot be called with a batch of ({given}): {message}"
        ) from error


def _parts(returned: Any, context: Context) -> tuple[Any, Any, Any]:
    """Return loss, metrics and batch statistics, those left out filled in."""
    if not isinstance(returned, tuple):
        return returned, {}, context.batch_stats
    if len(returned) == 2:
        return *returned, context.batch_stats
    if len(returned) == 3:
        return returned
    raise InputError(
        "loss_fn",
        found=f"a tuple of {len(returned)}",
        expected="loss, (loss, metrics) or (loss, metrics, batch_stats)",
    )


def _scalar(value: Any, what: str, cure: str) -> jax.Array:
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            "loss_fn", found=f"{what} is a {type(value).__name__}", expected="a scalar"
        ) from error
    if array.shape != ():
        raise InputError(
            "loss_fn",
            found=f"{what} has shape {array.shape}",
            expected="a scalar",
            cure=cure,
        )
    return array


def _check_same(new: Any, old: Any) -> None:
    """Refuse batch statistics that could not stand where the old ones stood."""

    def describe(tree: Any) -> tuple[Any, list[tuple[Any, Any]]]:
        leaves, treedef = jax.tree.flatten(tree)
        return treedef, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]

    if describe(new) != describe(old):
        raise InputError(
            "loss_fn",
            found="batch_stats of another structure, shape or format than came in",
            expected='what apply(..., mutable=["batch_stats"]) returns under "batch_stats"',
        )
