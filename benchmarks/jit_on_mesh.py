"""What the checks around a step on a mesh cost over `jax.jit` with the same shardings.

Both run one function, which does next to nothing, on states of a few and of many arrays: what
is measured is the way into the compiled step. Calls are taken in turns; figures are medians.

    python benchmarks/jit_on_mesh.py [rounds]
"""

import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
from timing import report

from explorer.training.sharding.jit_on_mesh import jit_on_mesh
from explorer.training.sharding.mesh import make_mesh

ROUNDS = int(sys.argv[1]) if sys.argv[1:] else 2000
MESH = make_mesh()
GOAL = "at most 100 microseconds more"
PLACED = jax.NamedSharding(MESH, jax.P())
BATCH = {"x": jnp.ones((8, 8)), "y": jnp.ones(8)}


def step(state: Any, batch: Any) -> Any:
    """Change every array of a state a little."""
    return jax.tree.map(lambda leaf: leaf * 0.5, state), batch["y"].sum()


def measured(arrays: int) -> tuple[float, float]:
    """Return the seconds of a call, explorer's and that of `jax.jit`."""
    layers = {f"w{i}": jnp.ones((8, 8)) for i in range(arrays)}
    first = jax.device_put({"params": layers}, PLACED)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, first)
    runs = {
        "explorer": jit_on_mesh(step, MESH, returns_state=True),
        "jax": jax.jit(step, out_shardings=(shardings, None)),
    }
    states = dict.fromkeys(runs, first)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(ROUNDS):
        for name in sorted(runs, reverse=number % 2 == 1):
            start = time.perf_counter()
            states[name], out = runs[name](states[name], BATCH)
            jax.block_until_ready((states[name], out))
            times[name].append(time.perf_counter() - start)
    return statistics.median(times["explorer"]), statistics.median(times["jax"])


def main() -> None:
    for arrays in (4, 100, 1000):
        ours, theirs = measured(arrays)
        report(f"A call, state of {arrays:,} arrays", ours, "jax.jit", theirs, goal=GOAL)
        print(f"  {(ours - theirs) * 1e6:,.0f} microseconds more")


if __name__ == "__main__":
    main()
