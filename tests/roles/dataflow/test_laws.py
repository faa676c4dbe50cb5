"""What leaves the answer unchanged: names, jit, remat, vmap, scan, the tree's shape."""

import random
from typing import Any

import jax
import numpy as np
import pytest
from msgspec.structs import replace

from explorer.roles.dataflow import ParameterRole, trace
from tests.roles.dataflow.reading import records_of, roles_of
from tests.roles.dataflow.zoo import BLOCK, ZOO, transformer, transformer_params

every_model = pytest.mark.parametrize("name", ZOO)


@every_model
def test_the_truth(name: str):
    model = ZOO[name]
    assert roles_of(model.fn, model.params(), *model.inputs) == model.truth


@every_model
def test_a_tree_of_shapes_is_as_good(name: str):
    model = ZOO[name]
    abstract = jax.eval_shape(lambda: (model.params(), model.inputs))
    assert records_of(model.fn, abstract[0], *abstract[1]) == records_of(
        model.fn, model.params(), *model.inputs
    )


@every_model
@pytest.mark.parametrize("seed", range(3))
def test_renaming_every_key(name: str, seed: int):
    model = ZOO[name]
    chance = random.Random(seed)
    names = {key: f"{chance.random():.17f}" for key in model.shapes}

    def renamed(params, *inputs):
        return model.fn({key: params[new] for key, new in names.items()}, *inputs)

    params = {names[key]: leaf for key, leaf in model.params().items()}
    found = records_of(renamed, params, *model.inputs)
    expected = records_of(model.fn, model.params(), *model.inputs)
    assert {key: found[new] for key, new in names.items()} == expected


@every_model
@pytest.mark.parametrize(
    "wrap", [jax.jit, jax.checkpoint, lambda f: jax.jit(jax.checkpoint(f))]
)
def test_jit_and_remat(name: str, wrap: Any):
    model = ZOO[name]
    found = trace(wrap(model.fn), model.params(), *model.inputs)
    assert found == trace(model.fn, model.params(), *model.inputs)


@every_model
def test_splitting_the_tree(name: str):
    model = ZOO[name]
    params = model.params()
    halves = dict(list(params.items())[::2]), dict(list(params.items())[1::2])

    def joined(halves, *inputs):
        return model.fn({**halves[0], **halves[1]}, *inputs)

    found = records_of(joined, halves, *model.inputs)
    expected = records_of(model.fn, params, *model.inputs)
    assert {path.split("/")[1]: record for path, record in found.items()} == expected


# JAX maps no ragged product over its rows
@pytest.mark.parametrize("name", [name for name in ZOO if name != "ragged_experts"])
def test_vmap_over_inputs(name: str):
    model = ZOO[name]
    batch = jax.tree.map(lambda x: np.stack([x, x, x]), model.inputs)

    def mapped(params, *inputs):
        return jax.vmap(model.fn, (None, *[0] * len(inputs)))(params, *inputs)

    found = records_of(mapped, model.params(), *batch)
    expected = records_of(model.fn, model.params(), *model.inputs)
    assert {path: facts(record) for path, record in found.items()} == {
        path: facts(record) for path, record in expected.items()
    }


@every_model
def test_vmap_over_models(name: str):
    model = ZOO[name]
    stack = jax.tree.map(lambda x: np.stack([x, x]), model.params())

    def mapped(params, *inputs):
        return jax.vmap(model.fn, (0, *[None] * len(inputs)))(params, *inputs)

    found = records_of(mapped, stack, *model.inputs)
    expected = records_of(model.fn, model.params(), *model.inputs)
    assert {path: facts(record) for path, record in found.items()} == {
        path: facts(record) for path, record in expected.items()
    }


def facts(record: ParameterRole) -> tuple:
    return record.role, record.reached, record.differentiable, record.tied


@every_model
def test_the_gradient_step_uses_what_the_forward_pass_does(name: str):
    model = ZOO[name]

    def repeated(params, *inputs):
        return model.fn(params, *inputs), model.fn(params, *inputs)

    once = records_of(model.fn, model.params(), *model.inputs)
    twice = records_of(repeated, model.params(), *model.inputs)
    for path, record in once.items():
        assert facts(twice[path]) == facts(record)
        assert twice[path].macs == 2 * record.macs
        assert sorted(map(repr, twice[path].uses)) == sorted(map(repr, 2 * record.uses))


def test_scan_instead_of_a_loop():
    depth, tokens = 4, ZOO["transformer"].inputs[0]
    params = transformer_params(depth)
    stack = jax.tree.map(lambda *layers: np.stack(layers), *params["layers"])
    unrolled = trace(transformer, params, tokens)
    scanned = trace(transformer, {**params, "layers": stack}, tokens)
    assert (scanned.macs, scanned.free_macs) == (unrolled.macs, unrolled.free_macs)
    for name in BLOCK:
        one = unrolled.roles["layers"][0][name]
        all_layers = scanned.roles["layers"][name]
        assert all_layers.macs == sum(
            layer[name].macs for layer in unrolled.roles["layers"]
        )
        times = [replace(u, times=u.times * depth, macs=u.macs * depth) for u in one.uses]
        assert [replace(u, source="") for u in all_layers.uses] == [
            replace(u, source="") for u in times
        ]
        assert facts(all_layers) == facts(one)
    for name in ("embed", "positions"):
        assert scanned.roles[name] == unrolled.roles[name]


def test_a_stack_that_is_unrolled_or_split():
    tokens = ZOO["transformer"].inputs[0]
    params = transformer_params(4)
    stack = jax.tree.map(lambda *layers: np.stack(layers), *params["layers"])

    def unrolled(params, tokens):
        layers = [jax.tree.map(lambda x, i=i: x[i], params["layers"]) for i in range(4)]
        return transformer({**params, "layers": layers}, tokens)

    def split(params, tokens):
        for part in (slice(0, 2), slice(2, 4)):
            layers = jax.tree.map(lambda x, part=part: x[part], params["layers"])
            logits = transformer({**params, "layers": layers}, tokens)
        return logits

    whole = {**params, "layers": stack}
    expected = roles_of(transformer, whole, tokens)
    assert roles_of(unrolled, whole, tokens) == expected
    assert roles_of(split, whole, tokens) == expected
