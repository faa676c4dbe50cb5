"""How much memory of each chip of a TPU slice a sharded step of a large model needs, without a TPU.

The compiler in the libtpu wheel compiles the step for the slice ahead of time, from shapes
only, and reports its memory: the figures are XLA's own, none is an estimate.
"""

import argparse
import os
import time
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

# whatever accelerator there is stays untouched, and no cloud is asked which one it is
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TPU_SKIP_MDS_QUERY"] = "1"

import jax
import jax.numpy as jnp
import optax
from jax.experimental import topologies
from jax.sharding import Mesh

from explorer.architectures.resolve import resolve
from explorer.models.remat import REMAT
from explorer.models.transformer import Transformer
from explorer.training.sharding.batch_placement import batch_sharding
from explorer.training.sharding.mesh import make_mesh, sharded_shapes
from explorer.training.step.state import TrainState, create_state
from explorer.training.step.train_step import make_train_step

MISSING = "libtpu is not installed: pip install -e '.[tpu-aot]' in the repository (200 MB; needs no TPU)"
OPTIMIZER = optax.adamw(3e-4)


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llama-3.2-1b", help="a name of the catalog")
    parser.add_argument("--topology", default="v5e:4x4", help="a slice (default: v5e:4x4)")
    parser.add_argument("--fsdp", type=int, default=-1, help="parts; -1: what is left")
    parser.add_argument("--tensor", type=int, default=1, help="parts of each layer")
    parser.add_argument("--batch", type=int, default=16, help="sequences, of all chips")
    parser.add_argument("--length", type=int, default=1024, help="tokens of a sequence")
    parser.add_argument("--remat", choices=["none", *REMAT], default="full")
    return parser.parse_args()


def born(model: Transformer, length: int) -> TrainState:
    """Return the shapes of a state."""
    ids = jax.ShapeDtypeStruct((1, length), jnp.int32)

    def begin(key: jax.Array) -> TrainState:
        return create_state(model, OPTIMIZER, key, ids)

    return jax.eval_shape(begin, jax.random.key(0))


def lower(
    options: argparse.Namespace, model: Transformer, mesh: Mesh
) -> jax.stages.Lowered:
    """Return the bfloat16 step with float32 master parameters, for the chips of a mesh."""

    def loss_fn(params: Any, batch: Any, context: Any) -> jax.Array:
        logits = model.apply({"params": params}, batch[:, :-1]).logits  # pyright: ignore
        logits = logits.astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()

    step: Any = make_train_step(
        loss_fn,
        OPTIMIZER,
        compute_dtype=jnp.bfloat16,
        mesh=mesh,
    )
    shape = (options.batch, options.length + 1)
    batch = jax.ShapeDtypeStruct(shape, jnp.int32, sharding=batch_sharding(mesh))
    return step.lower(sharded_shapes(born(model, options.length), mesh), batch)


def show(memory: Any) -> None:
    """Print the bytes of one chip."""
    for what, nbytes in (
        ("arguments", memory.argument_size_in_bytes),
        ("temporaries", memory.temp_size_in_bytes),
        ("outputs", memory.output_size_in_bytes),
        ("outputs in place of arguments", memory.alias_size_in_bytes),
        ("peak", memory.peak_memory_in_bytes),
    ):
        print(f"  {what:30}{nbytes:>16,} bytes a chip")


def main() -> None:
    options = arguments()
    if not find_spec("libtpu"):
        print(MISSING)
        return
    topology = topologies.get_topology_desc(options.topology, "tpu")
    mesh = make_mesh(1, options.fsdp, options.tensor, topology.devices)
    remat = None if options.remat == "none" else options.remat
    model = Transformer(resolve(options.model).architecture, scan=True, remat=remat)
    size = sum(leaf.size for leaf in jax.tree.leaves(born(model, options.length).params))
    start = time.perf_counter()
    lowered = lower(options, model, mesh)
    middle = time.perf_counter()
    parts = ", ".join(f"{name} {count}" for name, count in mesh.shape.items())
    print(
        f"{options.model} ({size:,} parameters), AdamW, bfloat16 with float32 masters, "
        f"{options.batch} x {options.length} tokens, remat {options.remat}\n"
        f"  {options.topology} ({topology.devices[0].device_kind}), {parts}; "
        f"libtpu {version('libtpu')}, jax {jax.__version__}",
        flush=True,
    )
    try:
        memory = lowered.compile().memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print(f"  does not fit: {str(error).splitlines()[0]}")
    else:
        show(memory)
    took = time.perf_counter() - middle
    print(f"  lowered in {middle - start:.1f} s, compiled in {took:.1f} s")


if __name__ == "__main__":
    main()
