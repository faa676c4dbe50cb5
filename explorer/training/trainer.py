"""Trainer: all that a run trains with, in one frozen record of pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from types import NoneType
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from jax.typing import DTypeLike

from explorer.errors import InputError, check_type
from explorer.training.logging.history import History, Writer
from explorer.training.modules.functional import functional
from explorer.training.modules.variables import FunctionalModule
from explorer.training.sharding.annotations import LogicalAxes
from explorer.training.sharding.mesh import Rule, Rules
from explorer.training.sharding.placed_tensors import PlacementTable
from explorer.training.sharding.placement import StatePlacement, place_tree
from explorer.training.step.checks import (
    check_float,
    check_optimizer,
    check_rules,
    check_watch,
)
from explorer.training.step.evaluation import EvalStep, make_eval_step, make_eval_totals
from explorer.training.step.freezing import Freezing
from explorer.training.step.outcome import LossFn
from explorer.training.step.state import TrainState, create_state, state_from
from explorer.training.step.train_step import Step, make_train_step
from explorer.training.watch.watch import Watch
from explorer.tree.arrays import check_arrays, check_not_donated
from explorer.tree.types import Params, PyTree

__all__ = ["Trainer"]

_LOGICAL = 'a mapping of names of axes to axes of the mesh: {"embed": "fsdp"}'


@dataclass(frozen=True, eq=False)
class Trainer:
    """A model, its loss and its optimizer, and how they are trained. Nothing is said twice.

    The record is immutable, holds no parameters and compares by identity; `replace` of
    `dataclasses` makes another one. `step` and `eval_step` are jitted, and traced once for
    all batches of one shape.

    Args:
        model: a Linen module; an NNX module, or a class or function that takes `rngs` and
            makes one; an Equinox module; `(params, apply)`, a tree and a function of it; None
            where training begins with `init_from`.
        loss_fn: `(params, batch, context) -> loss`, a scalar; or `(loss, metrics)`, a dict
            of scalars; or `(loss, metrics, batch_stats)`: what `apply(..., mutable=...)` gave
            of the collections that are not to stay as they are. See `Context`. With a model of NNX
            or Equinox its first argument is the module, which keeps its own statistics. A
            mean over something other than examples, as tokens, is a `Weighted`.
        optimizer: any optax transformation; clipping is a part of it, as optax has it. It is
            given `value`, `grad` and `value_fn` of the loss where it asks for them.
        watch: statistics of the parameters as they are trained; None for none.
        freeze: what keeps its values: a glob of paths, several, or a `Freezing`.
        mesh: the devices to place the state on, of `make_mesh` or any whose axes have those
            names; None for the default device. One of explicit axes is taken as one whose axes
            XLA splits.
        rules: which axes of the mesh a parameter's axes are split over, where the model does
            not annotate them; None for the default rules.
        logical_axes: the axis of the mesh, or None, for each name that the model annotates
            axes with and that the mesh does not have.
        accumulate: micro-batches that each batch is split into, computed one after the
            other, for less memory. The mean of their gradients is that of the complete batch
            where the loss is a mean over examples, or `Weighted`.
        steps_per_call: steps of one call, by `lax.scan`: batches and metrics have them as
            their first axis.
        compute_dtype: what floating-point parameters are cast to inside the loss; the state
            keeps its own format. The batch is not cast: of a float32 input and a bfloat16
            kernel most layers make a float32 product, so cast its floats in the loss.
        param_dtype: what floating-point parameters are created in; None for the module's.
        remat: what the backward pass computes again instead of keeping it, of the complete
            loss at once: "full" everything, "dots" all but matrix products, "dots_no_batch"
            all but those without batch axes. A module that does so layer by layer, as
            `Transformer(remat=)`, needs far less memory.
        donate: whether the memory of the old state is used for the new one.
        base: a tree of arrays that the loss reads as `context.base` and no step changes: the
            frozen parameters below adapters. It is neither donated nor saved in checkpoints.

    Raises:
        InputError: a field is out of range or of another kind, or rules or logical axes have no mesh.

    >>> import jax.numpy as jnp
    >>> from explorer.models.small import LinearRegression
    >>> def loss_fn(params, batch, context):
    ...     return jnp.square(model.apply({"params": params}, batch[0]) - batch[1]).mean()
    >>> model, x = LinearRegression(), jnp.linspace(-1, 1, 9)[:, None]
    >>> trainer = Trainer(model, loss_fn, optax.sgd(0.5), watch=Watch(every=10))
    >>> state = trainer.init(jax.random.key(0), x)
    >>> for _ in range(60):
    ...     state, metrics = trainer.step(state, (x, 2 * x + 1))
    >>> print(int(state.step), f"{state.params['linear']['kernel'].item():.3f}")
    60 2.000
    """

    model: Any
    loss_fn: LossFn
    optimizer: optax.GradientTransformation
    _: KW_ONLY
    watch: Watch | None = None
    freeze: Freezing | str | Sequence[str] | None = None
    mesh: Mesh | None = None
    rules: Rule | Rules | None = None
    logical_axes: LogicalAxes | None = None
    accumulate: int = 1
    steps_per_call: int = 1
    compute_dtype: DTypeLike | None = None
    param_dtype: DTypeLike | None = None
    remat: str | None = None
    donate: bool = True
    base: PyTree = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.freeze is not None and not isinstance(self.freeze, Freezing):
            object.__setattr__(self, "freeze", Freezing(self.freeze))
        _ = self._functional
        check_optimizer(self.optimizer)
        check_arrays("base", self.base)
        check_type("logical_axes", self.logical_axes, (Mapping, NoneType), _LOGICAL)
        check_rules(self.rules, self.mesh, self.logical_axes)
        for name in ("compute_dtype", "param_dtype"):
            if getattr(self, name) is not None:
                check_float(getattr(self, name), name)
        check_watch(self.watch)
        _ = self._step  # made, not compiled: it refuses what is out of range

    def init(
        self,
        rng: jax.Array,
        *inputs: Any,
        params: Params | None = None,
        fresh: str | Sequence[str] = (),
        **kwargs: Any,
    ) -> TrainState:
        """Return the state that training begins with, created where it is placed.

        Args:
            rng: a key; one half draws the parameters, the other is kept for the steps.
            inputs: example inputs of a Linen module's call: arrays, or
                `jax.ShapeDtypeStruct`s, for which zeros are used.
            params: pretrained parameters of the model; None to draw them all. Also collections
                of a Linen module, or a module or state of NNX, with their statistics.
            fresh: globs of the parameters that are drawn all the same, as those of a new head
                are; what else is missing or left over is an error that names it.
            kwargs: keyword arguments of that call.

        Raises:
            InputError: as `create_state`, or `freeze` matches no parameter or all of them.
        """
        if self.model is None:
            cure = "call init_from with its parameters"
            raise InputError("Trainer", found="has no model", cure=cure)
        return create_state(
            self.model,
            self._optimizer,
            rng,
            *inputs,
            mesh=self.mesh,
            rules=self.rules,
            logical_axes=self.logical_axes,
            watch=self.watch,
            param_dtype=self.param_dtype,
            params=params,
            fresh=fresh,
            **kwargs,
        )

    def init_from(
        self, params: Params, rng: jax.Array, *, batch_stats: PyTree = None
    ) -> TrainState:
        """Return the state that training begins with from parameters that exist, copied.

        Args:
            params: pretrained parameters, those of another library's model, or adapters.
            rng: a key for the steps.
            batch_stats: running statistics; None for none.

        Raises:
            InputError: as `state_from`, or `freeze` matches no parameter or all of them.
        """
        return state_from(
            params,
            self._optimizer,
            rng,
            batch_stats=batch_stats,
            mesh=self.mesh,
            rules=self.rules,
            watch=self.watch,
            param_dtype=self.param_dtype,
        )

    def plan(self, *inputs: Any, **kwargs: Any) -> PlacementTable:
        """Return where `init` would place each parameter, why, and what each device holds.

        Nothing is computed, and the mesh may be larger than this machine.

        Args:
            inputs, kwargs: as of `init`.

        Raises:
            InputError: there is no mesh or no model, or annotations or rules do not fit.

        >>> from explorer.models.small import LinearRegression
        >>> from explorer.training.sharding.mesh import make_mesh
        >>> def loss_fn(params, batch, context):
        ...     return params["linear"]["bias"].sum()
        >>> trainer = Trainer(LinearRegression(), loss_fn, optax.sgd(0.1), mesh=make_mesh())
        >>> [row.why for row in trainer.plan(jax.ShapeDtypeStruct((1, 4), "float32")).tensors]
        ['default rule: bias', 'largest axis']
        """
        if self.mesh is None or self._functional is None:
            found = "has no mesh" if self.mesh is None else "has no model"
            cure = "pass mesh=make_mesh(...) and a model"
            raise InputError("Trainer", found=found, cure=cure)
        key = jax.random.key(0)
        shapes = jax.eval_shape(
            lambda: create_state(
                self.model,
                self._optimizer,
                key,
                *inputs,
                watch=self.watch,
                param_dtype=self.param_dtype,
                **kwargs,
            )
        )
        annotations = self._functional.annotations(key, inputs, kwargs)
        placement = StatePlacement(self.mesh, self.rules, annotations, self.logical_axes)
        return placement.table(self.mesh, shapes)

    def module(self, state: TrainState) -> Any:
        """Return the model with the parameters of a state: a module as it was given.

        Args:
            state: of `init` or a step. A Linen module is bound to its variables. A step that
                donates this state takes the module's memory with it.

        Raises:
            InputError: the trainer has no model, or a step took over the memory of the state.
        """
        check_type("state", state, TrainState, "what init or a step returned")
        check_not_donated("the state", state)
        if self._functional is None:
            raise InputError("Trainer", found="has no model", cure="use state.params")
        return self._functional.module(state.params, state.batch_stats)

    @property
    def step(self) -> Step:
        """The jitted `(state, batch) -> (state, metrics)`; see `make_train_step`."""
        return self._step

    @property
    def eval_step(self) -> EvalStep:
        """The jitted `(state, batch) -> metrics`, which changes nothing."""
        return self._eval_step

    @property
    def eval_totals(self) -> EvalStep:
        """The jitted `(state, batch) -> Weighted metrics`, for `evaluate`."""
        return self._eval_totals

    def history(
        self, state: TrainState, *, run: str = "", writers: Iterable[Writer] = ()
    ) -> History:
        """Return an empty history with a row for each part of the state that is watched.

        Args:
            state: of `init`.
            run: a name that identifies the run in the files that are written.
            writers: receive each record as it arrives: a `JsonlWriter`, an `EventWriter`.
        """
        check_type("state", state, TrainState, "what init or a step returned")
        rows = () if self.watch is None else self.watch.rows(state.params)
        return History(rows, run=run, writers=writers)

    @cached_property
    def _functional(self) -> FunctionalModule | None:
        return None if self.model is None else functional(self.model)

    @cached_property
    def _loss_fn(self) -> LossFn:
        made = self._functional
        return self.loss_fn if made is None else made.loss(self.loss_fn)

    @cached_property
    def _step(self) -> Step:
        return make_train_step(
            self._loss_fn,
            self._optimizer,
            accumulate=self.accumulate,
            steps_per_call=self.steps_per_call,
            watch=self.watch,
            compute_dtype=self.compute_dtype,
            remat=self.remat,
            labels=self.freeze.labels if isinstance(self.freeze, Freezing) else None,
            donate=self.donate,
            mesh=self.mesh,
            base=self._placed_base,
        )

    @cached_property
    def _eval_step(self) -> EvalStep:
        return make_eval_step(self._loss_fn, **self._of_evaluation)

    @cached_property
    def _eval_totals(self) -> EvalStep:
        return make_eval_totals(self._loss_fn, **self._of_evaluation)

    @property
    def _of_evaluation(self) -> dict[str, Any]:
        settings = {"compute_dtype": self.compute_dtype, "mesh": self.mesh}
        return {**settings, "base": self._placed_base}

    @cached_property
    def _placed_base(self) -> PyTree:
        return place_tree(self.base, self.mesh, self.rules)  # once, not in every step

    @cached_property
    def _optimizer(self) -> optax.GradientTransformation:
        if isinstance(self.freeze, Freezing):
            return self.freeze.optimizer(self.optimizer)
        return self.optimizer
