"""Where tensors are placed, by rule and by default; and that it changes no number."""

import json
from functools import cache, partial

import jax
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType, PartitionSpec

from explorer.architectures.declaration import declare
from explorer.errors import InputError
from explorer.recipes import settings_of
from explorer.training.sharding.batch_placement import batch_sharding, place_batch
from explorer.training.sharding.mesh import (
    DEFAULT_RULES,
    Rule,
    make_mesh,
    sharded_shapes,
    shardings_of,
)
from explorer.training.step.state import create_state
from tests.training import tiny
from tests.training.devices import start

# no device is needed to know where things would be placed
MESH = AbstractMesh((2, 4, 2), ("data", "fsdp", "tensor"), (AxisType.Auto,) * 3)
DATA = AbstractMesh((2,), ("data",), (AxisType.Auto,))
LIKE_THE_FIRST = (DEFAULT_RULES[0].spec, DEFAULT_RULES[0].role)  # and still one's own


def shaped(**shapes):
    return {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()}


def specs(tree, rules=None):
    found = shardings_of(tree, MESH, rules)
    return jax.tree.map(lambda sharding: tuple(sharding.spec), found)


@cache
def on_eight_devices():
    process = start("sharding.on_devices", devices=8)
    found, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(found)


@pytest.mark.parametrize(
    ("alone", "name"),
    [
        ("network", "data"),
        ("transformer", "fsdp"),
        ("transformer", "tensor"),
        ("mixture", "expert"),
        ("transformer", "sequence"),
        ("network", "only data"),
        ("network", "no tensor"),
        ("transformer", "only tensor"),
    ],
)
def test_eight_devices_find_what_one_finds(alone, name):
    one, found = on_eight_devices()[alone], on_eight_devices()[name]
    np.testing.assert_allclose(found["losses"], one["losses"], rtol=1e-5)
    np.testing.assert_allclose(found["norms"], one["norms"], rtol=1e-4)
    np.testing.assert_allclose(found["sums"], one["sums"], rtol=1e-4)
    assert found["compiled"] == 1


def test_a_recipe_takes_the_devices_that_divide_its_batch():
    found = on_eight_devices()["recipe"]
    assert found["notes"] == ["on 4 devices, each with its part of every batch"]
    settings = settings_of("linear", ["steps=40", "batch=100"])
    parts = settings.parts()
    trainer = settings.trainer(parts)
    state = settings.first_state(trainer, parts)
    batches = settings.batches(parts)
    for _ in range(40):
        state, _ = trainer.step(state, next(batches))
    layer = state.params["linear"]
    one = [layer["kernel"].item(), layer["bias"].item()]
    np.testing.assert_allclose(found["line"], one, rtol=1e-5)


@pytest.mark.parametrize(("name", "parts"), [("data", 1), ("fsdp", 8), ("tensor", 4)])
def test_a_state_is_born_in_parts_and_stays_so(name, parts):
    found = on_eight_devices()[name]
    assert found["born"] == found["kept"]
    for path, (size, held) in found["born"].items():
        if "kernel" in path or "embedding" in path:
            assert held == [size // parts] * 8, path


def test_a_mesh_of_explicit_axes_is_taken_as_one_that_xla_splits():
    automatic, *others = on_eight_devices()["explicit"].values()
    assert others == [automatic] * 2


def test_devices_of_a_sequence_hold_a_part_of_what_layers_return():
    (split, split_bytes), (whole, whole_bytes) = on_eight_devices()["long"].values()
    np.testing.assert_allclose(split, whole, rtol=1e-5)
    assert split_bytes < whole_bytes / 2


def test_experts_are_split_by_their_axis_alone():
    for path, (size, held) in on_eight_devices()["expert"]["born"].items():
        if "kernel" in path or "embedding" in path:
            assert held == [size // (8 if "experts" in path else 2)] * 8, path


def test_parameters_are_gathered_and_activations_are_not():
    # each once, for the forward pass and the backward pass same
    found = on_eight_devices()["fsdp"]
    split = sum(size for size, held in found["born"].values() if held[0] < size) // 3
    assert split > 0.9 * found["parameters"]
    assert found["gathered"] == split


def test_batches_that_eight_devices_cannot_divide():
    wanted = 'expected a multiple of 8, the devices on "data" and "fsdp"'
    assert on_eight_devices()["refusals"] == [
        f"the batch: 12 examples; {wanted}",
        f"the batch: 4 examples; {wanted}",
        f"the batch: 12 examples; {wanted}",
    ]


def test_a_batch_is_laid_over_the_mesh_to_be_evaluated():
    found = on_eight_devices()["evaluated"]
    one, eight = found["losses"]
    assert eight == pytest.approx(one, rel=1e-5)
    assert found["parts"] == [[2, 6], [2, 8]]  # of 16 examples


def test_what_is_read_for_a_mesh_is_what_is_read():
    found = on_eight_devices()["loaded"]
    assert len(found) == 8
    assert all(found.values()), found


def test_a_set_over_tokens_is_evaluated_in_batches_that_devices_cannot_share():
    found = on_eight_devices()["evaluated"]["sets"]
    np.testing.assert_allclose(found["eight"], found["one"], rtol=1e-6)
    np.testing.assert_allclose(found["one"][:4], found["one"][0], rtol=1e-6)


def test_moments_are_placed_as_their_parameters_do():
    born = on_eight_devices()["fsdp"]["born"]
    params = {
        path[len("['params']") :]: parts
        for path, parts in born.items()
        if "['params']" in path
    }
    assert params
    for path, parts in params.items():
        moments = [
            found
            for other, found in born.items()
            if other.startswith("['opt_state']") and other.endswith(path)
        ]
        assert moments == [parts, parts], path


@pytest.mark.parametrize("scan", [False, True])
def test_layers_of_explorer_are_split_in_pairs(scan):
    model = tiny.llama(scan)
    shapes = jax.eval_shape(model.init, tiny.KEY, tiny.tokens(1))["params"]
    found = specs(shapes)
    layer = found["stages_0"]["block_0"] if scan else found["layers_1"]
    inward, outward = ("fsdp", "tensor"), ("tensor", "fsdp")
    stack = (None,) if scan else ()
    for name in ("query", "key", "value"):
        assert layer["attention"][name]["kernel"] == stack + inward
    assert layer["attention"]["out"]["kernel"] == stack + outward
    assert layer["mlp"]["gate_proj"]["kernel"] == stack + inward
    assert layer["mlp"]["up_proj"]["kernel"] == stack + inward
    assert layer["mlp"]["down_proj"]["kernel"] == stack + outward
    assert layer["mlp_norm"]["scale"] == ()
    assert found["embed"]["embedding"] == outward
    assert found["lm_head"]["kernel"] == inward
    for leaf in declare(model.architecture, scan):  # nothing large is on every device
        spec = found
        for name in leaf.path:
            spec = spec[name]
        if leaf.path[-1] in ("kernel", "embedding"):
            assert "fsdp" in spec
            assert "tensor" in spec


def test_any_tree_is_split_along_its_largest_axis_that_divides():
    tree = shaped(
        kernel=(6, 8),
        conv=(3, 3, 16, 4),
        odd=(5, 7),
        uneven=(12, 13),
        bias=(64,),
        scale=(2, 64),
    )
    assert specs(tree) == {
        "kernel": (None, "fsdp"),
        "conv": (None, None, "fsdp"),
        "odd": (),
        "uneven": ("fsdp",),
        "bias": (),
        "scale": (),
    }


def test_default_rules_split_over_the_axes_that_a_mesh_has():
    shapes = jax.eval_shape(tiny.llama(False, 1).init, tiny.KEY, tiny.tokens(1))["params"]
    whole = specs(shapes)
    assert any("tensor" in spec for spec in jax.tree.leaves(whole, is_leaf=is_spec))
    for axes in (("data",), ("data", "fsdp"), ("tensor",), ("fsdp", "tensor")):
        mesh = AbstractMesh((2,) * len(axes), axes, (AxisType.Auto,) * len(axes))
        found = shardings_of(shapes, mesh)
        of_fewer = jax.tree.map(lambda sharding: tuple(sharding.spec), found)
        left_out = set(MESH.axis_names) - set(axes)
        expected = jax.tree.map(partial(without, left_out), whole, is_leaf=is_spec)
        assert of_fewer == expected, axes
        own = [*DEFAULT_RULES]  # as they are given, by name or not
        assert jax.tree.leaves(shardings_of(shapes, mesh, own)) == jax.tree.leaves(found)
        if mesh.shape.get("data"):
            assert batch_sharding(mesh).shard_shape((8, 3)) == (8 // min(mesh.size, 4), 3)


def is_spec(found):
    return isinstance(found, tuple)


def without(names, spec):
    kept = [None if entry in names else entry for entry in spec]
    while kept and kept[-1] is None:
        kept.pop()
    return tuple(kept)


def test_an_axis_that_does_not_divide_is_replicated():
    # 50257 tokens divide by nothing
    assert specs(shaped(embedding=(50_257, 768))) == {"embedding": (None, "fsdp")}
    rule = Rule((("data", "fsdp"), "tensor"), role="kernel")
    assert specs(shaped(kernel=(12, 8)), [rule]) == {"kernel": (None, "tensor")}
    assert specs(shaped(kernel=(16, 8)), [rule]) == {"kernel": (("data", "fsdp"), "tensor")}


def test_the_first_rule_that_fits_decides():
    tree = {"attention": shaped(kernel=(8, 8), bias=(8,)), "mlp": shaped(kernel=(8, 8))}
    rules = [
        Rule(("tensor", None), glob="mlp/*"),
        Rule((None, "data"), component="attention", role="kernel"),
        Rule(()),
    ]
    assert specs(tree, rules) == {
        "attention": {"kernel": (None, "data"), "bias": ()},
        "mlp": {"kernel": ("tensor",)},
    }


def test_one_name_and_one_rule_are_enough():
    tree = {"mlp": shaped(kernel=(8, 8), bias=(8,))}
    rule = Rule("fsdp", glob="mlp/*")  # pyright: ignore[reportArgumentType]
    assert rule == Rule(("fsdp",), glob="mlp/*")
    assert rule == Rule(PartitionSpec("fsdp"), glob="mlp/*")  # pyright: ignore
    assert specs(tree, rule) == {"mlp": {"kernel": (None, "fsdp"), "bias": ("fsdp",)}}


def test_default_rules_after_ones_own_may_fit_nothing():
    mine = Rule(("data",), glob="**/bias")
    assert specs(shaped(bias=(8,)), [mine, *DEFAULT_RULES]) == {"bias": ("data",)}


def test_a_rule_that_another_comes_before_is_not_a_mistake():
    rules = [Rule(("data",), role="bias"), Rule(("fsdp",), glob="bias"), Rule(())]
    assert specs(shaped(bias=(8,)), rules) == {"bias": ("data",)}


QUERY = {"layers_0": {"query": shaped(kernel=(8, 8)), "norm": shaped(scale=(8,))}}


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adamw(1e-3),
        optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, momentum=0.9)),
        optax.adafactor(1e-3),
    ],
)
def test_optimizer_state_follows_parameters(optimizer):
    model = tiny.llama(scan=True)
    state = jax.eval_shape(lambda: create_state(model, optimizer, tiny.KEY, tiny.tokens(1)))
    shardings = shardings_of(state, MESH)
    params = dict(jax.tree_util.tree_flatten_with_path(shardings.params)[0])
    shapes = dict(jax.tree_util.tree_flatten_with_path(state.params)[0])
    slots = jax.tree_util.tree_flatten_with_path(shardings.opt_state)[0]
    leaves = jax.tree.leaves(state.opt_state)
    followed = 0
    for (keys, sharding), leaf in zip(slots, leaves, strict=True):
        same = [
            path
            for path in params
            if keys[-len(path) :] == path and shapes[path].shape == leaf.shape
        ]
        followed += len(same)
        expected = params[same[0]].spec if same else PartitionSpec()
        assert sharding.spec == expected, keys
    assert followed
    assert shardings.rng.spec == shardings.step.spec == PartitionSpec()


def test_variables_and_shapes_keep_their_structure():
    variables = {"params": shaped(kernel=(8, 8)), "batch_stats": shaped(mean=(8, 8))}
    assert specs(variables) == {
        "params": {"kernel": ("fsdp",)},
        "batch_stats": {"mean": ()},
    }
    mesh = make_mesh()
    shapes = sharded_shapes(variables, mesh)
    assert shapes["params"]["kernel"].shape == (8, 8)
    assert shapes["params"]["kernel"].sharding.mesh == mesh


def test_default_rules_pass_over_what_they_do_not_fit():
    assert specs(shaped(embedding=(8,), router=(8,))) == {"embedding": (), "router": ()}


def test_a_mesh_takes_what_is_left():
    devices = jax.devices()[:1]
    assert dict(make_mesh(data=-1, devices=devices).shape) == {
        "data": 1,
        "fsdp": 1,
        "tensor": 1,
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make_mesh(data=2, fsdp=4, devices=jax.devices()[:1]),
            "the mesh: 2 x 4 x 1 devices; expected at most 1 in all, as many as there are",
        ),
        (
            lambda: make_mesh(data=-1, fsdp=-1),
            "the mesh: -1 x -1 x 1; expected positive sizes, at most one of them -1 for the rest",
        ),
        (
            lambda: make_mesh(tensor=0),
            "the mesh: 1 x 1 x 0; expected positive sizes, at most one of them -1 for the rest",
        ),
        (
            lambda: specs({"dense": shaped(bias=(8,))}, [Rule(("fsdp", "tensor"))]),
            "dense/bias: a rule of 2 axes, ('fsdp', 'tensor'); expected at most 1, as its shape (8,) has",
        ),
        (
            lambda: specs(shaped(bias=(8,)), [Rule(("model",))]),
            "the rules: an axis 'model'; expected one of the mesh's: data, fsdp, tensor",
        ),
        (
            lambda: shardings_of(QUERY, DATA, [Rule(("fsdp", "tensor"), role="kernel")]),
            "the rules: an axis 'fsdp'; expected one of the mesh's: data",
        ),
        (
            lambda: shardings_of(shaped(embedding=(8, 8)), DATA, Rule(*LIKE_THE_FIRST)),
            "the rules: an axis 'tensor'; expected one of the mesh's: data",
        ),
        (
            lambda: batch_sharding(AbstractMesh((2, 2), ("batch", "model"))),  # pyright: ignore
            "the mesh: has no axis that splits batches, among ('batch', 'model'); expected "
            'an axis "data" or "fsdp"; name one of its axes so, as "data" for \'batch\'',
        ),
        (
            lambda: specs(QUERY, [Rule(("fsdp",), glob="**/quary/kernel")]),
            "the rules: Rule(spec=('fsdp',), glob='**/quary/kernel') fits none of 2 "
            "parameters; expected paths such as layers_0/norm/scale; did you mean query?",
        ),
        (
            lambda: specs(QUERY, [Rule(()), Rule(("fsdp",), role="bias")]),
            "the rules: Rule(spec=('fsdp',), role='bias') fits none of 2 parameters; "
            "expected a kind that there is: kernel of attention, scale of norm",
        ),
        (
            lambda: specs({"params": QUERY, "bias": shaped(a=(2,))}, Rule((), glob="a")),
            "the rules: Rule(spec=(), glob='a') fits none of 2 parameters; "
            "expected paths such as layers_0/norm/scale",
        ),
        (
            lambda: specs(QUERY, [("fsdp",)]),
            "the rules: [('fsdp',)]; expected one or several such as "
            'Rule(("fsdp", "tensor"), role="kernel")',
        ),
        (
            lambda: Rule(("fsdp", "fsdp")),
            "Rule(spec): ('fsdp', 'fsdp') names 'fsdp' twice; "
            "expected each axis of a mesh once",
        ),
        (
            lambda: Rule(("data", ("fsdp", "data"))),
            "Rule(spec): ('data', ('fsdp', 'data')) names 'data' twice; "
            "expected each axis of a mesh once",
        ),
        (
            lambda: Rule((1, None)),  # pyright: ignore[reportArgumentType]
            'Rule(spec): (1, None); expected axes of a mesh such as ("fsdp", None)',
        ),
        (
            lambda: Rule((("fsdp", 1),)),  # pyright: ignore[reportArgumentType]
            "Rule(spec): (('fsdp', 1),); expected axes of a mesh such as (\"fsdp\", None)",
        ),
        (
            lambda: Rule((), glob=("a", "b")),  # pyright: ignore[reportArgumentType]
            "Rule(glob=): ('a', 'b'); expected one glob",
        ),
        (
            lambda: Rule((), role="weights"),
            "Rule(role=): 'weights'; expected one of kernel, embedding, scale, bias, other",
        ),
        (
            lambda: Rule((), component="heads"),
            "Rule(component=): 'heads'; expected one of embedding, attention, mlp, experts, "
            "router, norm, head, other",
        ),
        (
            lambda: place_batch(np.ones(3), make_mesh(), axis=1),
            "the batch: an array of shape (3,), without an axis 1 of examples; "
            'expected a multiple of 1, the devices on "data" and "fsdp"',
        ),
    ],
)
def test_what_does_not_fit_is_said(call, message):
    with pytest.raises(InputError) as raised:
        call()
    assert str(raised.value) == message


def test_rules_are_in_the_words_of_roles():
    assert all(rule.role or rule.glob for rule in DEFAULT_RULES)
