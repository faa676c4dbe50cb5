"""Experts by structure: over every catalogued model, and over what only looks like them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import explorer as ex
from explorer.analyses.experts import experts_note, experts_of
from explorer.architectures.catalog.entries import entries

normal = nn.initializers.normal()
X = jnp.ones((1, 6, 8))


class Mixture(nn.Module):
    """Four experts of which a token uses two, under names that say nothing."""

    @nn.compact
    def __call__(self, x):
        route = self.param("p0", normal, (8, 4))
        into = self.param("p1", normal, (4, 8, 16))
        out = self.param("p2", normal, (4, 16, 8))
        _, chosen = jax.lax.top_k(jax.nn.softmax(x @ route), 2)
        hidden = jax.nn.relu(jnp.einsum("btd,edf->btef", x, into))
        found = jnp.einsum("btef,efd->bted", hidden, out)
        return (found * jax.nn.one_hot(chosen, 4).sum(-2)[..., None]).sum(-2)


def test_what_structure_sees_is_what_the_configs_of_the_catalogue_say():
    seen = {entry.id for entry in entries() if experts_of(ex.explore(entry.id))}
    said = {e.id for e in entries() if getattr(ex.explore(e.id).card, "experts", 0)}
    assert seen == said
    assert len(seen) > 5


def test_that_active_equals_total_is_never_unremarked(tmp_path):
    variables = Mixture().init(jax.random.key(0), X)
    np.savez(tmp_path / "mixture.npz", **variables["params"])
    for target in (
        variables,
        variables["params"],
        (Mixture(), X),
        tmp_path / "mixture.npz",
    ):
        ledger = ex.ledger(target)
        assert (ledger.parameters, ledger.active_parameters) == (1056, None)
        (note,) = [note for note in ledger.notes if "experts" in note]
        assert note.startswith("experts seen by structure, 4 beside ")
        assert note.endswith("so that active parameters are not known")
    report = ex.report_roles(Mixture(), X)
    assert report.active == report.parameters
    assert report.experts.startswith("the input is not a batch of tokens: active")


@pytest.mark.parametrize(
    "shapes",
    [
        # convolutions of three taps, and a head of three classes
        {"conv_0": (3, 16, 16), "conv_1": (3, 16, 16), "head": (16, 3)},
        {"conv_0": (3, 4, 16), "conv_1": (3, 16, 16), "head": (16, 5)},
        # heads of attention
        {"query": (8, 2, 4), "key": (8, 2, 4), "out": (2, 4, 8), "mlp": (8, 16)},
        {"table": (100, 8), "kernel": (8, 16)},
    ],
)
def test_what_only_looks_like_experts(shapes):
    tree = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    assert experts_note(ex.explore(tree)) == []


@pytest.mark.parametrize("layers", [(), (3,)])
@pytest.mark.parametrize("swapped", [False, True])
def test_stacked_layers_and_both_orders_of_axes(layers, swapped):
    shapes = {"a/router/w": (8, 4), "a/b/in": (4, 8, 32), "a/b/out": (4, 16, 8)}
    if swapped:
        shapes = {name: (*s[:-2], s[-1], s[-2]) for name, s in shapes.items()}
    tree = {name: np.ones((*layers, *s), np.float32) for name, s in shapes.items()}
    (found,) = experts_of(ex.explore(tree))
    assert (found.number, found.router) == (4, ("a", "router", "w"))
    assert found.parameters == sum(tree[f"a/b/{name}"].size for name in ("in", "out"))
