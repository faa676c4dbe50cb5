"""Tables of positions that are added whole, and biases of several axes that are not tables."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import explorer as ex
from tests.roles.dataflow.reading import floats, ids, roles_of

KEY = jax.random.key(0)
normal = nn.initializers.normal()


class Positions(nn.Module):
    """A table for eight tokens, sliced to as many as there are."""

    @nn.compact
    def __call__(self, x):
        pe = self.param("pos_embedding", normal, (1, 8, 4))
        return nn.Dense(2)(x + pe[:, : x.shape[1]])


@pytest.mark.parametrize("shape", [(1, 8, 4), (1, 6, 4), (5, 8, 4), (3, 1, 4)])
def test_a_table_is_an_embedding_whatever_the_length_of_the_batch(shape):
    inventory = ex.explore(Positions(), jnp.ones(shape))
    assert (inventory.num_parameters, inventory.num_biases) == (42, 2)
    report = ex.report_roles(Positions(), jnp.ones(shape))
    assert (report.parameters, report.biases, report.disagreements) == (42, 2, ())


class Vision(nn.Module):
    """Patches, tokens placed before them, positions added whole, attention and an MLP."""

    shape: tuple[int, ...] = (1, 19, 8)
    where: str = "tokens"

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (2, 2), strides=(2, 2), use_bias=False)(x)
        if self.where == "grid":
            x = x + self.param("position", normal, (4, 4, 8))
        x = x.reshape(x.shape[0], -1, 8)
        placed = jnp.broadcast_to(self.param("placed", normal, (3, 8)), (x.shape[0], 3, 8))
        x = jnp.concatenate([placed, x], 1)
        if self.where == "tokens":
            x = x + self.param("position", normal, self.shape)
        x = x + nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(x))
        x = x + nn.Dense(8)(nn.gelu(nn.Dense(16)(nn.LayerNorm()(x))))
        if self.where == "late":
            x = nn.LayerNorm()(x) + self.param("position", normal, self.shape)
        return nn.Dense(2)(x.mean(1))


@pytest.mark.parametrize(
    "module",
    [
        Vision(),
        Vision((19, 8)),
        Vision(where="grid"),
        Vision(where="late"),
        Vision((19, 8), where="late"),
    ],
    ids=str,
)
def test_tables_of_vision_transformers(module):
    variables = jax.eval_shape(module.init, KEY, floats(2, 8, 8, 3))
    roles = roles_of(module.apply, variables, floats(2, 8, 8, 3))
    assert roles["params/position"] == roles["params/placed"] == "embedding"
    biases = {path for path, role in roles.items() if role == "bias"}
    assert biases == {path for path in roles if path.endswith("bias")}


def test_tables_of_language_models_and_of_images_in_channels_first_order():
    def text(p, i):
        x = (p["words"][i] + p["whole"] + p["types"][0]) * 2.0
        return jax.nn.relu(x @ p["w"] + p["b"]) + p["again"][None]

    shapes = {"words": (9, 4), "whole": (6, 4), "types": (2, 4), "w": (4, 4), "b": (4,), "again": (6, 4)}  # fmt: skip
    params = {name: floats(*shape) for name, shape in shapes.items()}
    assert roles_of(text, params, ids(2, 6)) == {
        "words": "embedding",
        "whole": "embedding",
        "types": "bias",
        "w": "kernel",
        "b": "bias",
        "again": "embedding",
    }
    conv = eqx.nn.Conv2d(3, 4, 2, key=KEY)
    arrays, rest = eqx.partition(conv, eqx.is_array)

    def image(p, x):
        return eqx.combine(p["conv"], rest)(x) + p["whole"]

    params = {"conv": arrays, "whole": floats(4, 7, 7)}
    assert roles_of(image, params, floats(3, 8, 8)) == {
        "conv/weight": "kernel",
        "conv/bias": "bias",
        "whole": "embedding",
    }


def ensemble(p: Any, x: Any) -> Any:
    def one(p: Any) -> Any:
        return jax.nn.relu((x + p["first"]) @ p["w"] + p["b"])

    return jax.vmap(one)(p)


# what is added and varies along several axes, and has no row for each position
BIASES: dict[str, tuple[Any, dict[str, tuple[int, ...]], Any]] = {
    "heads": (
        lambda p, x: jnp.einsum("td,dhk->thk", x, p["w"]) + p["bias"],
        {"w": (4, 2, 3), "bias": (2, 3)},
        floats(6, 4),
    ),
    "experts": (
        lambda p, x: jnp.einsum("ecd,edf->ecf", x, p["w"]) + p["bias"][:, None],
        {"w": (3, 4, 5), "bias": (3, 5)},
        floats(3, 6, 4),
    ),
    "columns of a table": (
        lambda p, x: x[..., None] * p["w"] + p["bias"],
        {"w": (4, 8), "bias": (4, 8)},
        floats(6, 4),
    ),
    "a scale of the same axes": (
        lambda p, x: (x - x.mean((1, 2), keepdims=True)) * p["w"] + p["bias"],
        {"w": (6, 4), "bias": (6, 4)},
        floats(2, 6, 4),
    ),
    "scores": (
        lambda p, x: jax.nn.softmax((x @ p["w"]) @ x.swapaxes(1, 2) + p["bias"]) @ x,
        {"w": (4, 4), "bias": (1, 6, 6)},
        floats(2, 6, 4),
    ),
    "distances": (
        lambda p, x: jnp.abs((x @ p["w"])[:, None] - p["bias"]).sum(-1),
        {"w": (4, 4), "bias": (1, 7, 4)},
        floats(6, 4),
    ),
    "tokens that are mixed": (
        lambda p, x: x.swapaxes(1, 2) @ p["w"] + p["bias"],
        {"w": (6, 8), "bias": (8,)},
        floats(2, 6, 4),
    ),
    "queries": (
        lambda p, x: jnp.einsum("td,dhk->thk", x, p["w"]) + p["bias"][None],
        {"w": (4, 2, 3), "bias": (2, 3)},
        floats(6, 4),
    ),
    "flattened": (
        lambda p, x: (x @ p["w"]).reshape(2, 3, 8) + p["bias"],
        {"w": (4, 24), "bias": (1, 3, 8)},
        floats(2, 4),
    ),
    "of features alone": (lambda p, x: x + p["bias"], {"bias": (4,)}, floats(2, 6, 4)),
    "of tokens alone": (
        lambda p, x: x + p["bias"][:, None],
        {"bias": (6,)},
        floats(2, 6, 4),
    ),
}


@pytest.mark.parametrize("name", BIASES)
def test_biases_stay_biases(name):
    fn, shapes, x = BIASES[name]
    params = {key: floats(*shape) for key, shape in shapes.items()}
    assert roles_of(fn, params, x)["bias"] == "bias"


def test_biases_of_an_ensemble_stay_biases():
    params = {"first": floats(3, 4), "w": floats(3, 4, 5), "b": floats(3, 5)}
    expected = {"first": "bias", "w": "kernel", "b": "bias"}
    assert roles_of(ensemble, params, floats(6, 4)) == expected


def test_an_untied_convolution_and_a_norm_over_tokens_keep_their_biases():
    for module, x in (
        (nn.ConvLocal(6, (3, 3)), floats(2, 8, 8, 4)),
        (nn.LayerNorm(reduction_axes=(1, 2), feature_axes=(1, 2)), floats(2, 6, 4)),
        (nn.Einsum((3, 4, 5), "bti,tio->bto"), floats(2, 3, 4)),
        (nn.DenseGeneral((2, 3), axis=(-2, -1), batch_dims=(0,)), floats(2, 6, 4)),
    ):
        variables = jax.eval_shape(module.init, KEY, x)
        assert roles_of(module.apply, variables, x)["params/bias"] == "bias"
    norm = eqx.nn.LayerNorm((6, 4))
    roles = roles_of(lambda norm, x: norm(x), norm, np.ones((6, 4)))
    assert roles == {"weight": "scale", "bias": "bias"}


def test_wrapping_changes_no_table_and_no_bias():
    def fn(p, x):
        h = x @ p["w"] + p["whole"]
        return jnp.einsum("...td,dhk->...thk", h, p["heads"]) + p["bias"]

    shapes = {"w": (4, 8), "whole": (6, 8), "heads": (8, 2, 3), "bias": (2, 3)}
    params = {key: floats(*shape) for key, shape in shapes.items()}
    truth = {"w": "kernel", "whole": "embedding", "heads": "kernel", "bias": "bias"}

    def scanned(p, x):
        def step(total, row):
            return total + fn(p, row).sum(), fn(p, row)

        return jax.lax.scan(step, 0.0, x)

    x = floats(5, 6, 4)
    for wrapped in (fn, jax.jit(fn), jax.checkpoint(fn), scanned, jax.vmap(fn, (None, 0))):
        assert roles_of(wrapped, params, x) == truth
    stack = {key: floats(3, *shape) for key, shape in shapes.items()}
    assert roles_of(jax.vmap(fn, (0, None)), stack, x) == truth
    assert roles_of(fn, params, floats(6, 4)) == truth
