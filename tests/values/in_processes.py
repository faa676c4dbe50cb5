"""One of two processes: describes arrays whose shards are in both, and prints what it finds."""

import json
import sys

import jax
import jax.numpy as jnp
import ml_dtypes
import msgspec
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import explorer as ex

__all__ = ["SPECS", "whole_arrays"]

SPECS = {
    "rows": PartitionSpec("processes"),
    "columns": PartitionSpec(None, "processes"),
    "both": PartitionSpec("processes", "devices"),
    "copies": PartitionSpec(None, "devices"),  # each process holds all of it
    "everywhere": PartitionSpec(),
}


def whole_arrays() -> dict[str, np.ndarray]:
    """Return the arrays as one process has them: with NaN and infinities in several shards."""
    numbers = np.random.default_rng(0).standard_normal((64, 96)).astype(np.float32)
    numbers[50, 3] = numbers[7, 90] = np.nan
    numbers[2, 94] = numbers[60, 1] = -np.inf
    numbers[:, 0::2][20] = 0
    halves = numbers.astype(ml_dtypes.bfloat16)
    return {
        f"{kind}/{name}": array.copy()  # else they are tied
        for kind, array in (("f32", numbers), ("bf16", halves))
        for name in SPECS
    }


def main(port: str, number: int) -> None:
    """Describe the arrays, sharded over both processes of two devices."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", 2, number)
    mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("processes", "devices"))
    sharded = {}
    for name, array in whole_arrays().items():
        sharding = NamedSharding(mesh, SPECS[name.split("/")[1]])
        sharded[name] = jax.make_array_from_callback(
            array.shape, sharding, lambda index, array=array: jnp.asarray(array[index])
        )
    found = {
        statistics: msgspec.to_builtins(ex.describe(sharded, statistics=statistics))
        for statistics in ("all", "moments")
    }
    refused = {}
    for name, call in {"check": ex.check_values, "digest": ex.digest}.items():
        try:
            call(sharded)
        except ex.InputError as error:
            refused[name] = str(error)
    print("\n" + json.dumps({"found": found, "refused": refused}))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
