"""An annotated NNX network on eight devices: `python -m tests.training.modules.on_devices FOLDER`.

It prints what it found as JSON.
"""

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn
from flax import nnx

from explorer.errors import InputError
from explorer.training import Checkpoints, Trainer, fit
from explorer.training.sharding.mesh import make_mesh
from explorer.tree.walk import names_of
from tests.training import tiny
from tests.training.modules.networks import Network, points, squares

MESH = make_mesh(data=2, fsdp=2, tensor=2)
OPTIMIZER = optax.adam(1e-2)


class Loader(Iterator[Any]):
    """Batches in an order of their own, with a position as of grain's iterators: bytes."""

    def __init__(self) -> None:
        self.seed = 0

    def __next__(self) -> Any:
        self.seed += 1
        return jax.tree.map(np.asarray, points(16, self.seed))

    def get_state(self) -> bytes:
        return str(self.seed).encode()

    def set_state(self, state: bytes) -> None:
        self.seed = int(state)


def trainer_of(**options: Any) -> Trainer:
    return Trainer(partial(Network, **options), squares, OPTIMIZER, mesh=MESH)


def specs(tree: Any, end: str) -> list[Any]:
    """Return the spec of the leaf whose path ends so."""
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if "/".join(names_of(keys)).endswith(end):
            return list(leaf.sharding.spec)
    raise AssertionError(end)


def placed() -> dict[str, Any]:
    state = trainer_of().init(tiny.KEY)
    return {
        "up/kernel": specs(state.params, "up/kernel"),
        "layers/0/kernel": specs(state.params, "layers/0/kernel"),
        "mu of up/kernel": specs(state.opt_state, "mu/up/kernel"),
    }


def planned() -> dict[str, Any]:
    trainer = trainer_of()
    state, found = trainer.init(tiny.KEY), trainer.plan()
    why = {row.name: row.why for row in found.tensors}
    leaves = [
        jax.random.key_data(leaf) if "key" in str(leaf.dtype) else leaf
        for leaf in jax.tree.leaves(state)
    ]
    return {
        "state_bytes": found.state_bytes,
        "nbytes": sum(leaf.nbytes for leaf in leaves),
        "device_bytes": found.device_bytes,
        "on one device": sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves),
        "why": [why[name] for name in ("up/kernel", "layers/0/kernel", "up/bias")],
    }


def logical() -> dict[str, Any]:
    init = nn.with_logical_partitioning(nn.initializers.ones, ("embed", "heads"))
    linen = nn.Dense(16, kernel_init=init, use_bias=False)
    axes = {"embed": "fsdp", "heads": None}
    loss = lambda params, batch, context: 0.0  # noqa: E731
    trainer = Trainer(linen, loss, OPTIMIZER, mesh=MESH, logical_axes=axes)
    state = trainer.init(tiny.KEY, points()[0])
    made = partial(Network, axes=("embed", "heads"))
    axes = {"embed": None, "heads": "tensor"}
    other = Trainer(made, squares, OPTIMIZER, mesh=MESH, logical_axes=axes).init(tiny.KEY)
    return {"linen": specs(state.params, "kernel"), "nnx": specs(other.params, "up/kernel")}


def run(folder: Path, ends: tuple[int, ...]) -> dict[str, Any]:
    """Return the sums of all leaves after a run in several parts, each in a new process's words."""
    losses: dict[int, float] = {}
    result, best, chosen = None, None, None
    for end in ends:
        trainer, batches = trainer_of(), Loader()
        state = trainer.init(tiny.KEY)
        with Checkpoints(folder, every=2, keep=2, best=("loss", "min")) as checkpoints:
            if saved := checkpoints.restore(state, batches=batches):
                state = saved.state
            history = trainer.history(state)
            result = fit(
                trainer, state, batches, steps=end, checkpoints=checkpoints, history=history
            )
            losses |= {r.step: r.metrics["loss"] for r in history.records}
            best = checkpoints.best_step()
            chosen = checkpoints.restore(result.state, step=best)
    saved_losses = {step: loss for step, loss in losses.items() if step % 2 == 0}
    lowest = min(saved_losses, key=lambda step: saved_losses[step])
    assert result is not None
    assert chosen is not None
    return {
        "sums": [
            float(np.abs(np.asarray(x)).sum()) for x in jax.tree.leaves(result.state.params)
        ],
        "losses": losses,
        "best": {"kept": [best, chosen.step], "lowest": [lowest, lowest]},
    }


def errors() -> Iterator[tuple[str, str]]:
    cases = {
        "unknown": ("embed", None),
        "divides": (("data", "tensor"), None),
        "rank": ("tensor",),
        "twice": ("tensor", "tensor"),
    }
    mesh = make_mesh(data=4, fsdp=1, tensor=2)
    for name, axes in cases.items():
        made = partial(Network, axes=axes)
        try:
            Trainer(made, squares, OPTIMIZER, mesh=mesh).init(tiny.KEY)
        except InputError as error:
            yield name, str(error)


def main() -> None:
    nnx.use_eager_sharding(False)
    folder = Path(sys.argv[1])
    whole, resumed = run(folder / "whole", (8,)), run(folder / "resumed", (4, 8))
    best = resumed.pop("best")
    whole.pop("best")
    found = {
        "specs": placed(),
        "logical": logical(),
        "plan": planned(),
        "whole": whole,
        "resumed": resumed,
        "best": best,
        "errors": dict(errors()),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
