"""What training keeps from step to step, and how it begins."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.sharding import Mesh
from jax.typing import DTypeLike

from explorer.errors import InputError
from explorer.training.modules.functional import functional
from explorer.training.modules.variables import Variables, zeros_like_shape
from explorer.training.sharding.annotations import LogicalAxes
from explorer.training.sharding.automatic import automatic, inside
from explorer.training.sharding.mesh import Rule, Rules, check_mesh
from explorer.training.sharding.placement import StatePlacement
from explorer.training.step.checks import (
    check_float,
    check_optimizer,
    check_rules,
    check_sizes,
    check_trainable,
    check_watch,
)
from explorer.training.step.leaves import on_host, strong, typed_key
from explorer.training.step.loaded import loaded_variables, plain_of
from explorer.tree.arrays import (
    check_arrays,
    check_not_donated,
)
from explorer.tree.nesting import check_tree

__all__ = [
    "TrainState",
    "cast_floats",
    "create_state",
    "state_from",
]

_Begin = Callable[..., "TrainState"]


class TrainState(struct.PyTreeNode):
    """All that a step reads and writes: an immutable pytree.

    `step` counts the steps taken (int32). `rng` is a typed key that never changes: a step
    folds its number into it, so that a resumed run draws what an uninterrupted one draws.
    `batch_stats` is {} where the module has none, and all collections by name where it has
    others too; `watch` what a Watch compares with.
    `halted` says that a step was not finite: it was not taken, and no step is after it.

    >>> from explorer.models.small import LinearRegression
    >>> shape = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    >>> state = create_state(LinearRegression(), optax.sgd(0.1), jax.random.key(0), shape)
    >>> later = state.replace(step=state.step + 1)
    >>> int(state.step), int(later.step), bool(later.halted), later.batch_stats
    (0, 1, False, {})
    """

    step: jax.Array
    params: Any
    opt_state: Any
    rng: jax.Array
    batch_stats: Any
    halted: jax.Array
    watch: Any = ()


def create_state(
    module: Any,
    optimizer: optax.GradientTransformation,
    rng: jax.Array,
    *inputs: Any,
    mesh: Mesh | None = None,
    rules: Rule | Rules | None = None,
    logical_axes: LogicalAxes | None = None,
    watch: Any = None,
    param_dtype: DTypeLike | None = None,
    params: Any = None,
    fresh: str | Sequence[str] = (),
    **kwargs: Any,
) -> TrainState:
    """Return the state that training begins with, created where it is placed.

    It is computed in one jitted call whose outputs are sharded: no device ever holds more than
    its part. Axes that the module annotates are placed as it says, all others by the rules.
    Inside `jax.eval_shape` nothing is computed.

    Args:
        module: as of `Trainer`. Of a Linen module all variables are kept but what it sows;
            what an NNX or Equinox module holds is copied.
        optimizer: any optax transformation.
        rng: a key; one half draws the parameters, the other is kept for the steps.
        *inputs: example inputs of the module's call: arrays, or `jax.ShapeDtypeStruct`s,
            for which zeros are used.
        mesh, rules, logical_axes, watch, param_dtype: as the fields of `Trainer`.
        params: parameters that are loaded rather than drawn; None for none. Also collections of
            a Linen module by name, or a module or state of NNX: their statistics are taken too.
        fresh: globs of the parameters that are drawn all the same, such as a new head.
        **kwargs: keyword arguments of the module's call.

    Raises:
        InputError: the module cannot be called so, has no parameters or some that are not
            floats; the rules or annotations do not fit, or have no mesh; or some of `params`
            are missing, left over or of other shapes.

    >>> from explorer.models.small import LinearRegression
    >>> shape = jax.ShapeDtypeStruct((1, 1), jnp.float32)
    >>> state = create_state(LinearRegression(), optax.adam(1e-3), jax.random.key(0), shape)
    >>> int(state.step), jax.tree.map(jnp.shape, state.params)
    (0, {'linear': {'bias': (1,), 'kernel': (1, 1)}})
    """
    made = functional(module)
    check_optimizer(optimizer)
    check_rules(rules, mesh, logical_axes)
    key = typed_key(rng)
    check_tree(inputs, kwargs)
    check_not_donated("the inputs", (inputs, kwargs))
    leaves, treedef = jax.tree.flatten((inputs, kwargs))
    given = [i for i, leaf in enumerate(leaves) if isinstance(leaf, np.ndarray | jax.Array)]
    check_arrays("the inputs", [leaves[index] for index in given])
    params = plain_of(params)
    check_arrays("params", params)
    check_not_donated("params", params)
    if params is None and fresh != ():
        raise InputError("fresh", found="no params", cure="pass params= as well")

    def begin(key_data: Any, arrays: list[Any], loaded: Any) -> TrainState:
        key_now = jax.random.wrap_key_data(key_data, impl=jax.random.key_impl(key))
        init_rng, step_rng = jax.random.split(key_now)
        filled = [zeros_like_shape(leaf) for leaf in leaves]
        for index, array in zip(given, arrays, strict=True):
            filled[index] = array
        args, keywords = treedef.unflatten(filled)
        variables = made.init(init_rng, args, keywords)
        if loaded is not None:
            variables = loaded_variables(variables, loaded, fresh)
        return _first(variables, optimizer, step_rng, watch, param_dtype)

    with jax.ensure_compile_time_eval():
        key_data = on_host(jax.random.key_data(key))
    arrays = [on_host(leaves[index]) for index in given]
    annotations = {} if mesh is None else made.annotations(key, inputs, kwargs)
    placed = StatePlacement(mesh, rules, annotations, logical_axes)
    if made.given is None or params is not None:
        return _jitted(begin, placed, key_data, arrays, jax.tree.map(on_host, params))
    step_key = jax.random.split(key)[1]
    return _copied(made.given, optimizer, step_key, placed, watch, param_dtype)


def state_from(
    params: Any,
    optimizer: optax.GradientTransformation,
    rng: jax.Array,
    *,
    batch_stats: Any = None,
    mesh: Mesh | None = None,
    rules: Rule | Rules | None = None,
    watch: Any = None,
    param_dtype: DTypeLike | None = None,
) -> TrainState:
    """Return the state that training begins with from parameters that exist.

    They are copied: a step that donates its state takes nothing from the caller.

    Args:
        params: a tree of arrays: pretrained parameters, those of another library's model,
            or adapters.
        optimizer: any optax transformation.
        rng: a key for the steps.
        batch_stats: running statistics; None for none.
        mesh, rules, watch, param_dtype: as the fields of `Trainer`.

    Raises:
        InputError: no parameters, some that are not floats, or rules that do not fit.

    >>> state = state_from({"scale": jnp.ones(3)}, optax.adam(1e-3), jax.random.key(0))
    >>> int(state.step), jax.tree.map(jnp.shape, state.params)
    (0, {'scale': (3,)})
    """
    check_optimizer(optimizer)
    check_rules(rules, mesh)
    given = Variables(params, {} if batch_stats is None else batch_stats)
    for place, tree in given._asdict().items():
        check_arrays(place, tree)
        check_not_donated(place, tree)
    key, placed = typed_key(rng), StatePlacement(mesh, rules)
    return _copied(given, optimizer, key, placed, watch, param_dtype)


def _copied(
    given: Variables,
    optimizer: optax.GradientTransformation,
    rng: jax.Array,
    placed: StatePlacement,
    watch: Any,
    param_dtype: DTypeLike | None,
) -> TrainState:
    """Return the state that begins with variables that exist, and a key for the steps."""
    impl = jax.random.key_impl(rng)

    def begin(key_data: Any, given: Variables) -> TrainState:
        step_rng = jax.random.wrap_key_data(key_data, impl=impl)
        copied = jax.tree.map(lambda leaf: jnp.copy(strong(leaf)), given)
        return _first(copied, optimizer, step_rng, watch, param_dtype)

    with jax.ensure_compile_time_eval():
        key_data = on_host(jax.random.key_data(rng))
    return _jitted(begin, placed, key_data, jax.tree.map(on_host, given))


def _jitted(begin: _Begin, placed: StatePlacement, *given: Any) -> TrainState:
    """Call it jitted, what it returns placed as the rules say."""
    if placed.mesh is None:
        try:
            return jax.jit(begin)(*given)
        except jax.errors.UnexpectedTracerError:
            raise InputError(
                "params",
                found="hold a tracer of a function that has ended",
                expected="arrays",
            ) from None
    check_mesh(placed.mesh)
    with inside(automatic(placed.mesh)):
        shardings = placed.shardings(placed.mesh, jax.eval_shape(begin, *given))
        return jax.jit(begin, out_shardings=shardings)(*given)


def _first(
    variables: Variables,
    optimizer: optax.GradientTransformation,
    rng: jax.Array,
    watch: Any,
    param_dtype: DTypeLike | None,
) -> TrainState:
    """Return the state that has these variables and no step behind it."""
    check_watch(watch)
    params = cast_floats(variables.params, param_dtype)
    check_trainable(params)
    check_sizes(variables._asdict())
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=jax.tree.map(strong, optimizer.init(params)),
        rng=rng,
        batch_stats=variables.batch_stats,
        halted=jnp.zeros((), bool),
        watch=() if watch is None else watch.init(params),
    )


def cast_floats(tree: Any, dtype: DTypeLike | None) -> Any:
    """Return a tree with its floating-point leaves cast; as it is where dtype is None.

    Raises:
        InputError: `dtype` is not a floating-point dtype.
    """
    if dtype is None:
        return tree
    check_float(dtype)

    def cast(leaf: jax.Array) -> jax.Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, tree)
