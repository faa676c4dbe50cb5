"""What a loss function receives, and what it may return."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.errors import FlaxError

from explorer.errors import ExplorerError, InputError, first_line, printable
from explorer.paths import name_of
from explorer.training.modules.variables import by_collection
from explorer.training.step.weighted import Weighted, shared_weight
from explorer.tree.walk import names_of

__all__ = ["Context", "LossFn", "Metrics", "Outcome", "count_examples", "outcome_of"]

Metrics = dict[str, Any]
# what a step itself says, which a loss function's metrics may not be called
RESERVED = ("loss", "grad_norm", "finite", "bad", "watch")


class Context(NamedTuple):
    """What a loss function may need besides parameters and a batch.

    `rng` is a key of this step alone, for dropout; `batch_stats` the running statistics, {}
    where the module has none (of a Linen module with further collections, all of them by
    name); `train` a plain bool, False in an evaluation; `base` what the
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

    def variables(self, params: Any) -> dict[str, Any]:
        """Return parameters with all else that a Linen module keeps, as its `apply` takes them.

        >>> Context(jax.random.key(0), {"BatchNorm_0": {"mean": 0.0}}, True).variables({})
        {'params': {}, 'batch_stats': {'BatchNorm_0': {'mean': 0.0}}}
        """
        return {"params": params, **by_collection(self.batch_stats)}


# loss_fn(params, batch, context) -> loss | (loss, metrics) | (loss, metrics, batch_stats);
# loss and metrics are scalars or Weighted
LossFn = Callable[[Any, Any, Context], Any]


class Outcome(NamedTuple):
    """What a loss function answered: its loss, its metrics, the batch statistics after."""

    loss: Weighted
    metrics: dict[str, Weighted]
    batch_stats: Any

    @property
    def means(self) -> Metrics:
        """The loss and the metrics by name, as scalars."""
        return {name: value.mean for name, value in self.weighted.items()}

    @property
    def weighted(self) -> dict[str, Weighted]:
        """The loss and the metrics by name."""
        return {"loss": self.loss, **self.metrics}


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
    loss = _weighted(loss, "the loss", "take its mean")
    if not jnp.issubdtype(loss.total.dtype, jnp.floating):
        raise InputError(
            "loss_fn", found=f"a loss of {loss.total.dtype}", expected="a float"
        )
    loss = jax.tree.map(_wide, loss)
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
    named = {}
    for name, value in metrics.items():
        found = _weighted(value, f"the metric {printable(name, 60)}", "reduce it")
        is_plain = found.weight is None
        named[name] = shared_weight(found.total, loss.weight) if is_plain else found
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


def _weighted(value: Any, what: str, cure: str) -> Weighted:
    """Return a scalar, or a total and its weight, as arrays; a scalar has no weight."""
    if not isinstance(value, Weighted):
        return Weighted(_scalar(value, what, cure), None)
    total = _scalar(value.total, f"{what}'s total", cure)
    return Weighted(total, _scalar(value.weight, f"{what}'s weight", "take its sum"))


def _wide(number: jax.Array) -> jax.Array:
    """Return a number in float32 at least."""
    return number.astype(jnp.promote_types(number.dtype, jnp.float32))


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

    def described(tree: Any) -> dict[str, str]:
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        return {
            name_of(names_of(keys)): f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
            for keys, leaf in leaves
        }

    came, left = described(old), described(new)
    if came == left and jax.tree.structure(old) == jax.tree.structure(new):
        return
    differing = (name for name in (*came, *left) if came.get(name) != left.get(name))
    name = next(differing, None)
    if name is None:
        found = "statistics (batch_stats) of another structure than came in"
    else:
        what = left.get(name, "nothing")
        found = f"statistics in which {printable(name)} is {what}, {came.get(name, 'nothing')} before"
    raise InputError(
        "loss_fn",
        found=found,
        expected="what came in, with other values",
        cure='of a Linen module return what apply(..., mutable=["batch_stats"]) gives under '
        '"batch_stats"',
    )
