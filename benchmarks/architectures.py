"""From a name to exact counts for every catalogued architecture, and the cost of tracing.

The abstract build is `jax.eval_shape` of the Flax module's init; the ledger is computed from
it. The peer of the unrolled trace is a hand-written `nn.compact` loop of the same depth.
"""

import subprocess
import sys
import time

import jax
import jax.numpy as jnp
from flax import linen as nn
from timing import best_call, report

import explorer as ex
from explorer.architectures.catalog.entries import entries

TOKENS = jax.ShapeDtypeStruct((1, 8), jnp.int32)
_ONE = """
import resource, sys, time
import jax, jax.numpy as jnp, flax.linen
import explorer as ex
import explorer.models.transformer, explorer.objects.linen, explorer.api
start = time.perf_counter()
module = ex.build_model(sys.argv[1], scan=True)
ledger = ex.ledger(ex.explore(module, jax.ShapeDtypeStruct((1, 8), jnp.int32)))
took = time.perf_counter() - start
arrays = sum(a.nbytes for a in jax.live_arrays())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
print(ledger.parameters, f"{took:.3f}", peak, arrays)
"""


class Loop(nn.Module):
    """Llama-2-70B as one would write it by hand: nn.Dense and a loop."""

    @nn.compact
    def __call__(self, ids):
        size, heads, groups, head = 8192, 64, 8, 128
        x = nn.Embed(32_000, size, param_dtype=jnp.float16, name="embed")(ids)
        length = ids.shape[1]
        mask = jnp.tril(jnp.ones((length, length), bool))
        angle = jnp.arange(length)[:, None] / 10_000 ** (jnp.arange(0, head, 2) / head)
        cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]

        def dense(features, name):
            return nn.Dense(features, use_bias=False, param_dtype=jnp.float16, name=name)

        def rotate(y):
            a, b = jnp.split(y, 2, -1)
            turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
            return turned.astype(y.dtype)

        for i in range(80):
            h = nn.RMSNorm(1e-5, param_dtype=jnp.float16, name=f"norm_{i}")(x)
            q = dense(heads * head, f"q_{i}")(h).reshape(*ids.shape, heads, head)
            k = dense(groups * head, f"k_{i}")(h).reshape(*ids.shape, groups, head)
            v = dense(groups * head, f"v_{i}")(h).reshape(*ids.shape, groups, head)
            a = jax.nn.dot_product_attention(rotate(q), rotate(k), v, mask=mask[None, None])
            x = x + dense(size, f"o_{i}")(a.reshape(*ids.shape, heads * head))
            h = nn.RMSNorm(1e-5, param_dtype=jnp.float16, name=f"mlp_norm_{i}")(x)
            gate = nn.silu(dense(28_672, f"gate_{i}")(h))
            x = x + dense(size, f"down_{i}")(gate * dense(28_672, f"up_{i}")(h))
        x = nn.RMSNorm(1e-5, param_dtype=jnp.float16, name="norm")(x)
        return dense(32_000, "head")(x)


def alone(name: str) -> tuple[int, float, int, int]:
    """Return a process's parameters, seconds after imports, peak MB, bytes of arrays left."""
    words = [sys.executable, "-c", _ONE, name]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    parameters, took, peak, arrays = done.stdout.split()
    return int(parameters), float(took), int(peak), int(arrays)


def main() -> None:
    for name, advertised in (("deepseek-v3", 671_026_404_352), ("kimi-k2", None)):
        parameters, took, peak, arrays = alone(name)
        assert advertised in (None, parameters)
        print(
            f"{name}: {parameters:,} parameters, scanned module and ledger in {took:.2f} s "
            f"(goal: 1 s), peak {peak} MB (goal: 600 MB), {arrays} bytes of arrays left"
        )
    slowest = ("", 0.0)
    for entry in entries():
        inputs = (
            jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
            if entry.config["model_type"] == "vit"
            else TOKENS
        )
        start = time.perf_counter()
        inventory = ex.explore(ex.build_model(entry.config, scan=True), inputs)
        took = time.perf_counter() - start
        assert inventory.num_parameters == entry.parameters, entry.id
        slowest = max(slowest, (entry.id, took), key=lambda pair: pair[1])
    print(
        f"{len(entries())} catalogued models, scanned, each exact; the slowest {slowest[0]} "
        f"in {slowest[1]:.2f} s (goal: 0.5 s)"
    )
    key = jax.random.key(0)
    unrolled = ex.build_model("llama-2-70b")
    loop = Loop()
    assert ex.count_parameters(ex.explore(loop, TOKENS)) == 68_976_648_192
    report(
        "Llama-2-70B unrolled, trace of init",
        best_call(lambda: jax.eval_shape(unrolled.init, key, TOKENS), 5),
        "a hand-written nn.compact loop",
        best_call(lambda: jax.eval_shape(loop.init, key, TOKENS), 5),
        goal="at most 1.2x its time",
    )


if __name__ == "__main__":
    main()
