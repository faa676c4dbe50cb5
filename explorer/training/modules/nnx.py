"""NNX modules: split into a static graph and nested dicts of arrays, by the types of Variables.

`nnx.Param` and its subclasses are parameters. Random streams are not kept in the state: each
step seeds them from its own key, so that a resumed run draws what an uninterrupted one draws.
All other Variables, such as running statistics, are kept from step to step.
"""

import inspect
import zlib
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.core import Tracer

from explorer.errors import InputError, first_line, shown
from explorer.training.modules.variables import Annotations, Variables
from explorer.tree.nest import nest
from explorer.tree.walk import Path

__all__ = ["NnxModule"]

_AXES = ("out_sharding", "sharding_names", "sharding")
# a path of the module's own -> its Variable, whose value stands for what is put in
_Flat = list[tuple[tuple[Any, ...], Any]]


class NnxModule:
    """An NNX module, or what makes one of `rngs`.

    Args:
        model: a module, whose values training begins with; or a class or function that takes
            `rngs`, by which they are drawn where they are placed.

    Raises:
        InputError: it cannot be called, or makes something else.
    """

    def __init__(self, model: Any):
        self._factory = None if isinstance(model, nnx.Module) else model
        made = model
        if self._factory is not None:
            made = nnx.merge(*jax.eval_shape(self._split).parts)
        self._graph, params, rngs, rest = nnx.split(made, nnx.Param, nnx.RngState, ...)
        self._params, self._rngs, self._rest = map(_flat, (params, rngs, rest))

    @property
    def given(self) -> Variables | None:
        """What a module that exists holds."""
        if self._factory is not None:
            return None
        return Variables(_values(self._params), _values(self._rest))

    def init(self, rng: jax.Array, args: Any, kwargs: Any) -> Variables:
        """Return what the factory makes, or the module holds; NNX needs no inputs for that."""
        if self.given is not None:
            return self.given
        _, params, _, rest = nnx.split(self._make(rng), nnx.Param, nnx.RngState, ...)
        return Variables(_values(_flat(params)), _values(_flat(rest)))

    def annotations(self, rng: jax.Array, args: Any, kwargs: Any) -> Annotations:
        """Return the names that `nnx.with_partitioning` gave."""
        found = {}
        for path, variable in self._params:
            metadata = variable.get_metadata()
            names = next((metadata[n] for n in _AXES if metadata.get(n) is not None), None)
            if names is not None:  # or a NamedSharding, which has them as its spec
                found[_named(path)] = tuple(getattr(names, "spec", names))
        return found

    def loss(self, loss_fn: Any) -> Any:
        """Return a loss that is called with a module, and finds out what that module keeps."""

        def of_params(params: Any, batch: Any, context: Any) -> Any:
            module = self._merged(params, context.batch_stats, context.rng)
            module.train() if context.train else module.eval()
            before = _numbers(module)
            returned = loss_fn(module, batch, context)
            _check_unchanged(before, _numbers(module))
            if not isinstance(returned, tuple):
                returned = (returned, {})
            if len(returned) != 2:
                raise InputError(
                    "loss_fn",
                    found=f"a tuple of {len(returned)}",
                    expected="loss or (loss, metrics)",
                    cure="the module keeps its own statistics",
                )
            return *returned, _values(self._kept(module))

        return of_params

    def module(self, params: Any, batch_stats: Any) -> Any:
        """Return the module with these parameters, its random streams as they began."""
        return self._merged(params, batch_stats, None)

    def _kept(self, module: nnx.Module) -> _Flat:
        """Return what a module keeps besides its parameters, after a call.

        Raises:
            InputError: the call made a Variable, which the next step would not find.
        """
        kept = dict(_flat(nnx.state(module)))
        known = {path for path, _ in (*self._params, *self._rngs, *self._rest)}
        for path, variable in kept.items():
            if path not in known and _is_kept(variable):
                raise InputError(
                    "/".join(_named(path)),
                    found=f"a {type(variable).__name__} that the module made in a call",
                    expected="those that it has from the beginning",
                    cure="make it in __init__",
                )
        return [(path, kept[path]) for path, _ in self._rest]

    def _make(self, rng: jax.Array) -> Any:
        factory: Any = self._factory
        rngs = nnx.Rngs(rng)
        try:
            with _unplaced():
                made = factory(rngs=rngs) if _takes_rngs_by_name(factory) else factory(rngs)
        except InputError:
            raise
        except Exception as error:  # whatever the user's own code may raise
            raise InputError(
                "module",
                found=f"{shown(factory, 60)} cannot be called with rngs: {first_line(error)}",
                cure="pass a function of rngs, such as lambda rngs: Model(..., rngs=rngs)",
            ) from error
        if not isinstance(made, nnx.Module):
            raise InputError(
                "module",
                found=f"{shown(factory, 60)} returned {shown(made, 60)}",
                expected="an NNX module",
            )
        _mark_arrays(made)
        return made

    def _split(self) -> "_Made":
        graph, state = nnx.split(self._make(jax.random.key(0)))
        _values(_flat(state))  # refuses what is not an array
        return _Made((graph, state))

    def _merged(self, params: Any, rest: Any, rng: jax.Array | None) -> Any:
        rngs = self._rngs
        if rng is not None or self._factory is not None:
            rngs = _seeded(rngs, jax.random.key(0) if rng is None else rng)
        states = (_filled(self._params, params), rngs, _filled(self._rest, rest))
        with _unplaced():
            return nnx.merge(self._graph, *map(nnx.from_flat_state, states))


class _Made:
    """Parts of a module, static and not, as one pytree."""

    def __init__(self, parts: Any):
        self.parts = parts


jax.tree_util.register_pytree_node(
    _Made, lambda made: ((made.parts[1],), made.parts[0]), lambda g, s: _Made((g, *s))
)


def _unplaced() -> Any:
    """Make Variables without placing them: training places what it keeps of them."""
    eager = getattr(nnx, "use_eager_sharding", None)
    return nullcontext() if eager is None else eager(False)


def _takes_rngs_by_name(factory: Any) -> bool:
    while isinstance(factory, partial):
        factory = factory.func
    made = factory.__init__ if isinstance(factory, type) else factory
    try:
        return "rngs" in inspect.signature(made).parameters
    except (TypeError, ValueError):  # of no signature that is known
        return False


def _mark_arrays(module: nnx.Module) -> None:
    """Mark the arrays that traced code gave a module as data: NNX takes them for settings."""
    mark: Any = getattr(nnx, "data", None)
    if mark is None:  # before flax 0.12 they are data
        return
    for _, node in nnx.iter_graph(module):
        for name, value in list(vars(node).items()) if isinstance(node, nnx.Module) else ():
            if isinstance(value, Tracer):
                setattr(node, name, mark(value))


def _numbers(module: nnx.Module) -> dict[tuple[Any, ...], Any]:
    """Return the Python numbers that modules have as attributes, by their paths."""
    return {
        (*path, name): value
        for path, node in nnx.iter_graph(module)
        if isinstance(node, nnx.Module)
        for name, value in vars(node).items()
        if type(value) in (int, float)
    }


def _check_unchanged(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> None:
    """Refuse a call that changed a number: compiled once, it would do so for no other step.

    Raises:
        InputError: the number is named.
    """
    for path, old in before.items():
        new = after.get(path, old)
        if new != old and new == new:
            raise InputError(
                "/".join(_named(path)),
                found=f"was changed from {old} to {new} by a call",
                expected="numbers that stay",
                cure="keep it in an nnx.Variable",
            )


def _is_kept(variable: Any) -> bool:
    """Return whether a loop of NNX would keep this: not what is sown, nor a cache of a call."""
    passing = isinstance(variable, nnx.Intermediate | nnx.Cache)
    return isinstance(variable, nnx.Variable) and not passing


def _flat(state: Any) -> _Flat:
    return [(tuple(path), variable) for path, variable in nnx.to_flat_state(state)]


def _named(path: tuple[Any, ...]) -> Path:
    return tuple(map(str, path))


def _values(flat: _Flat) -> dict[str, Any]:
    """Return the arrays of Variables as nested dicts, by their paths."""
    return nest({_named(path): _value(path, variable) for path, variable in flat})


def _filled(flat: _Flat, tree: Mapping[str, Any]) -> _Flat:
    """Return Variables with the arrays of a nested dict in them."""
    found = []
    for path, variable in flat:
        value: Any = tree
        for name in _named(path):
            value = value[name]
        found.append((path, _with(variable, value)))
    return found


def _value(path: tuple[Any, ...], variable: Any) -> Any:
    """Return the array of a Variable, or one that a module holds without a Variable.

    Raises:
        InputError: it is not an array, nor a number.
    """
    value = variable.get_value() if isinstance(variable, nnx.Variable) else variable
    if isinstance(value, int | float):
        return jnp.asarray(value)
    if not all(hasattr(value, name) for name in ("shape", "dtype")):
        raise InputError(
            "/".join(_named(path)),
            found=f"a {type(variable).__name__} of {shown(value, 40)}",
            expected="an array or a number",
            cure="keep it as an attribute of the module",
        )
    return value


def _with(variable: Any, value: Any) -> Any:
    return variable.replace(value) if isinstance(variable, nnx.Variable) else value


def _seeded(flat: _Flat, rng: jax.Array) -> _Flat:
    """Return random streams that begin with a key of their own each, of one key."""
    found = []
    for path, variable in flat:
        shape = variable.get_value().shape
        if isinstance(variable, nnx.RngKey):
            key = jax.random.fold_in(rng, zlib.crc32("/".join(_named(path)).encode()))
            value = jax.random.split(key, shape) if shape else key
        else:
            value = jnp.zeros(shape, variable.get_value().dtype)
        found.append((path, variable.replace(value)))
    return found
