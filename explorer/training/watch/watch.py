"""Statistics of every parameter as it learns, computed inside the compiled step.

A watched step gives the host one small array; one that is not pays for a comparison.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
from jax import lax

from explorer.errors import (
    InputError,
    TreeError,
    shown,
)
from explorer.training.watch.rows import Stacks, plan_rows, stacks_of
from explorer.training.watch.statistics import WatchedFigures, statistics
from explorer.tree.arrays import check_not_donated
from explorer.tree.nesting import check_tree

__all__ = ["Watch"]


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """Which statistics are taken of which parameters, and how often.

    Only tensors of real floating numbers are watched: no other learns by gradient. Sums
    are in float32, or in float64 where the tensor is.

    Args:
        every: steps from one measurement to the next; step 0 is measured.
        glob: which rows, as of `Inventory.select`: by the name of a tensor or of a row.
        distance: whether the initial parameters are kept, at the cost of their memory, to
            measure how far each tensor has moved from them.
        stacks: (glob, axes) pairs: a tensor that a glob matches stacks equal tensors along
            so many leading axes, and each of these is a row. None: as explorer's scanned
            models stack layers. Those of others, such as Flax's own `nn.scan`, are one row
            unless given here: a shape does not say whether its 3 are layers or inputs.

    Raises:
        InputError: `every` is below 1, or `glob` or `stacks` are none.

    >>> params = {"dense": {"kernel": jnp.ones((8, 2)), "bias": jnp.zeros(2)}}
    >>> watch = Watch(every=10)
    >>> watch.rows(params)
    ('dense/bias', 'dense/kernel')
    >>> table = watch.measure(0, params, params, params, watch.init(params))
    >>> table.shape, watch.COLUMNS[0], float(table[1, 0])
    ((2, 9), 'norm', 4.0)
    >>> layers = {"ScanBlock_0": {"Dense_0": {"kernel": jnp.ones((2, 8, 8))}}}
    >>> Watch(stacks=(("ScanBlock_0/**", 1),)).rows(layers)
    ('ScanBlock_0/Dense_0/kernel[0]', 'ScanBlock_0/Dense_0/kernel[1]')
    """

    COLUMNS: ClassVar[tuple[str, ...]] = WatchedFigures._fields

    every: int = 50
    glob: str = "**"
    distance: bool = False
    stacks: Stacks | None = None

    def __post_init__(self) -> None:
        if type(self.every) is not int or self.every < 1:
            wanted = "a whole number of steps, 1 or more"
            raise InputError("Watch(every=)", found=shown(self.every), expected=wanted)
        if not isinstance(self.glob, str):
            raise InputError("Watch(glob=)", found=shown(self.glob), expected="one glob")
        msgspec.structs.force_setattr(self, "stacks", stacks_of(self.stacks))

    def rows(self, params: Any) -> tuple[str, ...]:
        """Return the name of each row, numbers in names ordered as numbers.

        A tensor is a row. Of a stacked tensor each part is one: of a scanned model
        "layers_7/mlp/up_proj/kernel", as of one that is not; of others "blocks/kernel[7]".

        Args:
            params: a pytree of arrays or of shapes.

        Raises:
            InputError: the glob matches nothing, or a tensor has fewer axes than it is
                given to stack.
        """
        return plan_rows(params, self.glob, self.stacks).names

    def init(self, params: Any) -> Any:
        """Return what a state keeps for `measure`.

        Returns:
            A copy of the watched parameters, None for the others; () without a distance.
        """
        if not self.distance:
            return ()
        check_tree(params)
        check_not_donated("params", params)
        leaves, treedef = jax.tree.flatten(params)
        plan = plan_rows(params, self.glob, self.stacks)
        watched = {tensor.leaf for tensor in plan.tensors}
        # a copy: donating the parameters to a step would free these with them
        return treedef.unflatten(
            jnp.copy(leaf) if index in watched else None
            for index, leaf in enumerate(leaves)
        )

    def measure(
        self, step: Any, params: Any, grads: Any, updates: Any, kept: Any = ()
    ) -> jax.Array:
        """Return the statistics of one step; pure, made to be traced inside it.

        Of the n elements x of each row: norm, sqrt(sum x²); rms, norm / sqrt(n); mean; std,
        of the population; grad_norm; update_ratio, the norm of the update over that of x
        (0 / 0 is 0); zeros, the fraction of x that is 0; dead_rows, the fraction of
        units (outputs of a kernel, rows of an embedding: `unit_axes`) all of whose weights are
        0, NaN for a vector; distance,
        the norm of x less the initial x, NaN where it is not asked for. An average over no
        elements is NaN.

        Args:
            step: the number of the step, an integer scalar.
            params: the parameters before the update.
            grads: their gradients, in the same structure.
            updates: what the optimizer adds to them, in the same structure.
            kept: what `init` returned for the first parameters.

        Returns:
            float32 [rows, columns]; NaN throughout where `step` is not a multiple of `every`.

        Raises:
            InputError: as `rows`; or the distance is asked for and `kept` has nothing.
            TreeError: a tree is not of the structure of `params`.
        """
        check_tree(params, grads, updates, kept)
        check_not_donated("the trees", (params, grads, updates, kept))
        plan = plan_rows(params, self.glob, self.stacks)
        if self.distance and not jax.tree.leaves(kept):
            cure = (
                "make it with Trainer(watch=watch).init or create_state(..., watch=watch)"
            )
            found = "the state keeps no initial parameters"
            raise InputError("Watch(distance=True)", found=found, cure=cure)
        leaves = [
            _leaves_like(params, place, tree)
            for place, tree in (("params", params), ("grads", grads), ("updates", updates))
        ]
        first: list[Any] = [None] * len(plan.tensors)
        if self.distance:
            first = _leaves_like(jax.eval_shape(self.init, params), "kept", kept)

        def table() -> jax.Array:
            chosen = [[tree[tensor.leaf] for tensor in plan.tensors] for tree in leaves]
            return statistics(plan, *chosen, first=first)[np.array(plan.order)]

        if self.every == 1:
            return table()
        unwatched = np.full((len(plan.names), len(self.COLUMNS)), np.nan, np.float32)
        is_watched = jnp.asarray(step) % self.every == 0
        return lax.cond(is_watched, table, lambda: jnp.asarray(unwatched))


def _leaves_like(params: Any, place: str, tree: Any) -> list[Any]:
    if jax.tree.structure(tree) != jax.tree.structure(params):
        raise TreeError(
            f"Watch.measure({place}=)",
            found=f"a tree of {len(jax.tree.leaves(tree))} leaves",
            expected=f"the structure of the parameters, {len(jax.tree.leaves(params))} leaves",
        )
    return jax.tree.leaves(tree)
