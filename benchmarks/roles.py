"""The cost of inferring roles from a program, on top of tracing the program.

The peer is `jax.make_jaxpr` of the same function: a plain transformer with unrolled layers,
and one with as many scanned layers as a 671B model.
"""

import gc

import jax
import jax.numpy as jnp
from jax import lax
from timing import best_call

import explorer as ex
from explorer.inventory.gc_pause import paused_gc

WIDTH, HEADS, VOCABULARY = 512, 8, 32_000
TOKENS = jax.ShapeDtypeStruct((1, 64), jnp.int32)


def shape(*sides: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sides, jnp.float32)


def layer_shapes(*stack: int) -> dict:
    """Return the parameters of one layer, or of a stack of them."""
    square, gain = shape(*stack, WIDTH, WIDTH), shape(*stack, WIDTH)
    return {
        **dict.fromkeys(("query", "key", "value", "out"), square),
        **dict.fromkeys(("norm", "norm_bias", "mlp_norm", "mlp_bias", "down_bias"), gain),
        "up": shape(*stack, WIDTH, 4 * WIDTH),
        "up_bias": shape(*stack, 4 * WIDTH),
        "down": shape(*stack, 4 * WIDTH, WIDTH),
    }


def norm(x, scale, bias):
    centred = x - x.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + bias


def layer(x, p):
    """Pre-norm attention and MLP."""
    h = norm(x, p["norm"], p["norm_bias"])
    heads = [(h @ p[n]).reshape(*h.shape[:2], HEADS, -1) for n in ("query", "key", "value")]
    seen = jax.nn.dot_product_attention(*heads, is_causal=True).reshape(x.shape)
    x = x + seen @ p["out"]
    h = norm(x, p["mlp_norm"], p["mlp_bias"])
    return x + jax.nn.gelu(h @ p["up"] + p["up_bias"]) @ p["down"] + p["down_bias"]


def unrolled(params, tokens):
    x = params["embed"][tokens] + params["positions"][: tokens.shape[1]]
    for p in params["layers"]:
        x = layer(x, p)
    return x @ params["embed"].T


def scanned(params, tokens):
    x = params["embed"][tokens] + params["positions"][: tokens.shape[1]]
    x, _ = lax.scan(lambda x, p: (layer(x, p), None), x, params["layers"])
    return x @ params["embed"].T


def compare(what: str, fn, layers) -> None:
    params = {
        "embed": shape(VOCABULARY, WIDTH),
        "positions": shape(1024, WIDTH),
        "layers": layers,
    }

    def trace() -> object:
        # a new function each time: JAX caches the program of a known one
        return jax.make_jaxpr(lambda *a: fn(*a))(params, TOKENS)

    def trace_and_read() -> object:
        return ex.trace_roles(fn, params, TOKENS)

    # in turns, so that both see the same machine load; without the collector, as timeit
    with paused_gc():
        runs = [(best_call(trace, 1), best_call(trace_and_read, 1)) for _ in range(9)]
    gc.collect()
    tracing, both = map(min, zip(*runs, strict=True))
    print(
        f"{what}: make_jaxpr {tracing * 1e3:.1f} ms, trace_roles {both * 1e3:.1f} ms: "
        f"{both / tracing - 1:+.0%} (goal: at most +30%)"
    )


def main() -> None:
    for depth in (12, 24, 48, 96):
        compare(f"{depth} layers unrolled", unrolled, [layer_shapes()] * depth)
    compare("61 layers scanned", scanned, layer_shapes(61))


if __name__ == "__main__":
    main()
