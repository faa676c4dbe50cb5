"""Writes Orbax checkpoints from eight devices, and what Orbax and JAX say is in them.

Run as a script: python write_orbax.py FOLDER. `oracle.json` gets, for each checkpoint,
path -> [shape, dtype] by the tree itself, and path -> shape by Orbax's metadata().
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax.training.train_state import TrainState
from jax.sharding import Mesh, NamedSharding, PartitionSpec

MESH = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))


def placed_parameters(array: Any, *spec: Any) -> jax.Array:
    return jax.device_put(array, NamedSharding(MESH, PartitionSpec(*spec)))


def params() -> dict[str, Any]:
    return {
        "sharded": placed_parameters(
            jnp.arange(800 * 64, dtype=jnp.float32).reshape(800, 64),
            ("data", "model"),
            None,
        ),
        "halved": placed_parameters(jnp.ones((6, 10), jnp.bfloat16), None, "model"),
        "everywhere": placed_parameters(jnp.zeros((3,)), None),
        "int4": jnp.arange(-4, 4, dtype=jnp.int4).reshape(2, 4),
        "fp8": jnp.ones((2, 3), jnp.float8_e4m3fn),
        "scalar": jnp.float32(2.5),
        "numpy": np.arange(5, dtype=np.int16),
        "keys": jax.random.split(jax.random.key(0), 3),
        "list": [jnp.ones(2), (jnp.ones(3),)],
        "none": None,
        "empty": {},
    }


def train_state() -> TrainState:
    module = nn.Dense(3)
    variables = module.init(jax.random.key(0), jnp.ones((1, 2)))
    state = TrainState.create(
        apply_fn=module.apply, params=variables["params"], tx=optax.adamw(1e-3)
    )
    return state.replace(step=jnp.int32(7))


def reported_by_tree(tree: Any) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {name(path): [list(jnp.shape(leaf)), str(leaf.dtype)] for path, leaf in leaves}


def reported_by_orbax(metadata: Any) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(metadata)
    return {name(path): list(leaf.shape) for path, leaf in leaves if hasattr(leaf, "shape")}


def name(path: Any) -> str:
    return "/".join(
        str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", "")))) for k in path
    )


def main(folder: Path) -> None:
    logging.disable(logging.WARNING)
    oracle: dict[str, Any] = {}

    def tell(label: str, tree: Any, metadata: Any) -> None:
        oracle[label] = {
            "tree": reported_by_tree(tree),
            "orbax": reported_by_orbax(metadata),
        }

    for is_ocdbt in (False, True):
        for is_zarr3 in (False, True):
            label = (
                f"{'ocdbt' if is_ocdbt else 'folders'}_{'zarr3' if is_zarr3 else 'zarr2'}"
            )
            handler = ocp.PyTreeCheckpointHandler(use_ocdbt=is_ocdbt, use_zarr3=is_zarr3)
            with ocp.Checkpointer(handler) as checkpointer:
                checkpointer.save(folder / label, {**params(), "text": "hello"})
                found = checkpointer.metadata(folder / label).item_metadata.tree
            tell(label, params(), found)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "train_state", train_state())
        checkpointer.wait_until_finished()
        found = checkpointer.metadata(folder / "train_state").item_metadata.tree
    tell("train_state", train_state(), found)
    with ocp.CheckpointManager(folder / "steps") as manager:
        for step in (3, 12):
            tree = {"params": {"kernel": jnp.ones((step, 2))}, "step": jnp.int32(step)}
            manager.save(step, args=ocp.args.StandardSave(tree))
        manager.wait_until_finished()
        tell("steps", tree, manager.item_metadata(12).tree)
    items = {
        "state": ocp.args.StandardSave(
            {"params": {"w": jnp.ones(2)}, "step": jnp.int32(1)}
        ),
        "params": ocp.args.PyTreeSave({"w": jnp.ones((2, 3)), "cache": {"w": jnp.ones(4)}}),
        "opt_state": ocp.args.StandardSave({"mu": {"params": {"w": jnp.ones(2)}}}),
        "config": ocp.args.JsonSave({"width": 3}),
    }
    with ocp.CheckpointManager(folder / "items") as manager:
        manager.save(5, args=ocp.args.Composite(**items))
    (folder / "oracle.json").write_text(json.dumps(oracle))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
