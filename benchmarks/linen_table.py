"""The table of a 48-layer transformer: linen's tabulate against explorer's.

Tabulate traces the module; explorer is timed both from shapes and from the module.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from timing import best_call, report

import explorer as ex

LAYERS, WIDTH, HEADS, VOCABULARY, POSITIONS = 48, 768, 12, 50_257, 1024
TOKENS = jax.ShapeDtypeStruct((1, 128), jnp.int32)


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    @nn.compact
    def __call__(self, x):
        mask = nn.make_causal_mask(x[..., 0])
        x = x + nn.SelfAttention(HEADS)(nn.LayerNorm()(x), mask)
        return x + nn.Dense(WIDTH)(nn.gelu(nn.Dense(4 * WIDTH)(nn.LayerNorm()(x))))


class Transformer(nn.Module):
    """The shape of GPT-2, deeper."""

    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(VOCABULARY, WIDTH)
        positions = self.param("positions", nn.initializers.zeros, (POSITIONS, WIDTH))
        x = embed(tokens) + positions[: tokens.shape[-1]]
        for _ in range(LAYERS):
            x = Block()(x)
        return embed.attend(nn.LayerNorm()(x))


def main() -> None:
    model = Transformer()
    shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)
    layer = 12 * WIDTH * WIDTH + 13 * WIDTH
    total = LAYERS * layer + (VOCABULARY + POSITIONS + 2) * WIDTH
    assert (
        ex.count_parameters(shapes)
        == ex.count_parameters(ex.explore(model, TOKENS))
        == total
    )
    tabulate = best_call(
        lambda: model.tabulate(jax.random.key(0), TOKENS, console_kwargs={"width": 200})
    )
    report(
        f"{LAYERS} layers, {total:,} parameters, the table from shapes",
        best_call(lambda: str(ex.explore(shapes))),
        "linen tabulate",
        tabulate,
        goal="under a tenth",
    )
    report(
        f"{LAYERS} layers, the table from the module",
        best_call(lambda: str(ex.explore(model, TOKENS))),
        "linen tabulate",
        tabulate,
        goal="none: most of both is tracing the module",
    )


if __name__ == "__main__":
    main()
