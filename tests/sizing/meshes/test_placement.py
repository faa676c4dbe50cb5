"""What each device holds, beside what devices do hold of states that training places."""

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

import jax
import optax
import pytest

import explorer as ex
from explorer import explore
from explorer.errors import InputError
from explorer.models.transformer import Transformer
from explorer.sizing.compiled.platforms import platform_for
from explorer.sizing.meshes.placed import (
    check_axes,
    notes_on,
    placed_parameters,
    share_of_fullest,
)
from explorer.sizing.meshes.placement import Placement, placement_of
from explorer.sizing.meshes.terms import placed_terms
from explorer.sizing.records import Term, Workload
from explorer.sizing.subject import Subject
from explorer.training.sharding.mesh import make_mesh, shardings_of
from explorer.training.step.state import create_state
from tests.models.tiny import inputs_of
from tests.sizing.subjects import CONFIGS, published, subject_of

MESHES = (
    {"fsdp": 8},
    {"data": 2, "fsdp": 2, "tensor": 2},
    {"tensor": 4, "fsdp": 2},
    {"fsdp": 2, "expert": 4},
)


def names_of(keys: Any) -> tuple[str, ...]:
    return tuple(key.key for key in keys)


def real_mesh(placement: Placement) -> Any:
    sizes = {axis: placement.size(axis) for axis in ("data", "fsdp", "tensor", "expert")}
    return make_mesh(**sizes, devices=platform_for(placement.devices).devices)


@pytest.mark.slow
@pytest.mark.representatives("llama", "mixtral", "deepseek_v3")
@pytest.mark.parametrize(
    ("name", "mesh", "scan"),
    [
        ("llama", MESHES[0], True),
        ("gpt2", MESHES[1], False),
        ("gpt_oss", MESHES[2], True),
        ("mixtral", MESHES[3], False),
        ("deepseek_v3", MESHES[3], True),
    ],
)
def test_a_real_state_is_placed_as_is_said(name: str, mesh: dict[str, int], scan: bool):
    subject, placement = subject_of(name), Placement(mesh=mesh, scan=scan)
    model = Transformer(subject.architecture, scan=scan)
    key, inputs = jax.random.key(0), inputs_of(subject.architecture)
    state = create_state(model, optax.adamw(1e-3), key, inputs, mesh=real_mesh(placement))
    held: Counter[Any] = Counter()
    for keys, leaf in jax.tree_util.tree_leaves_with_path(state.params):
        parts = [shard.data.nbytes for shard in leaf.addressable_shards]
        said = placement.on_fullest(names_of(keys), leaf.shape, leaf.nbytes)
        assert parts == [said] * placement.devices, keys
        held.update({shard.device: shard.data.nbytes for shard in leaf.addressable_shards})
    for leaf in jax.tree.leaves(state.opt_state):
        held.update({shard.device: shard.data.nbytes for shard in leaf.addressable_shards})
    counter, correction = 4, corrections(state.params)
    share = share_of_fullest(placed_parameters(subject, placement))
    assert set(held.values()) == {
        3 * (4 * subject.inventory.num_parameters * share + correction) + counter
    }


def corrections(params: Any) -> int:
    """Return the bytes of what the module holds and no gradient changes: on every device."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return sum(
        leaf.addressable_shards[0].data.nbytes
        for keys, leaf in leaves
        if names_of(keys)[-1] == "e_score_correction_bias"
    )


def shapes(name: str, scan: bool) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Yield path, shape and sharding of every parameter, by JAX, on each mesh."""
    subject = subject_of(name)
    model = Transformer(subject.architecture, scan=scan)
    inputs = inputs_of(subject.architecture)
    params = jax.eval_shape(model.init, jax.random.key(0), inputs)["params"]
    for mesh in MESHES:
        placement = Placement(mesh=mesh, scan=scan)
        shardings = jax.tree.leaves(shardings_of(params, real_mesh(placement)))
        leaves = jax.tree_util.tree_leaves_with_path(params)
        yield (
            placement,
            [
                (names_of(keys), leaf.shape, sharding.shard_shape(leaf.shape))
                for (keys, leaf), sharding in zip(leaves, shardings, strict=True)
            ],
        )


BUILT = [name for name in CONFIGS if not subject_of(name).architecture.unbuilt]


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("name", BUILT)
def test_every_family_is_placed_as_jax_shards_it(name: str, scan: bool):
    subject = subject_of(name)
    for placement, leaves in shapes(name, scan):
        for path, shape, part in leaves:
            said = placement.on_fullest(path, shape, prod(shape))
            assert said == prod(part), (path, placement.mesh)
        parameters = [
            part for path, _, part in leaves if path[-1] != "e_score_correction_bias"
        ]
        placed = placed_parameters(subject, placement)
        held = share_of_fullest(placed) * subject.inventory.num_parameters
        assert held == sum(map(prod, parameters))


def test_a_tree_without_an_architecture_is_placed_by_its_names():
    tree = {"mlp": {"kernel": jax.ShapeDtypeStruct((8, 64), "float32")}}
    found = explore({**tree, "bias": jax.ShapeDtypeStruct((64,), "float32")})
    placed = placed_parameters(Subject("tree", found), Placement(mesh={"fsdp": 4}))
    assert {(each.path, each.shards) for each in placed} == {
        (("mlp", "kernel"), 4),
        (("bias",), 1),
    }


def test_devices_alone_are_a_mesh():
    assert placement_of(Workload(), 1).mesh == placement_of(Workload()).mesh == {}
    assert placement_of(Workload(), 8).mesh == {"tensor": 8}
    assert placement_of(Workload(train=True), 8).mesh == {"fsdp": 8}
    assert placement_of(Workload(mesh={"data": 2, "tensor": 4}), 8).devices == 8
    assert placement_of(Workload(compile=True, topology="4x4", train=True)).mesh == {
        "fsdp": 16
    }
    found = ex.plan("gpt2", device="h100:8").notes
    assert found[0] == (
        "8 devices for inference are taken as the mesh tensor=8; another by --mesh"
    )


def test_what_is_held_more_than_once_is_named():
    # 50,257 tokens divide by nothing, and norms and most biases stay whole
    subject, placement = published("gpt2"), Placement(mesh={"tensor": 8})
    notes = notes_on(subject, placement, Workload(), 2)
    norms, output_biases = 25 * 2 * 768, 12 * 2 * 768
    whole = 50_257 * 768 + norms + output_biases
    assert notes[-1].startswith("on more devices than one: embed/embedding (50257 x 768), ")
    assert notes[-1].endswith(f": {2 * whole:,} bytes of each")
    assert notes_on(subject, Placement(), Workload(), 2) == ()


def test_a_batch_is_raised_to_what_the_mesh_divides():
    found = ex.plan("llama-3.2-1b", train=True, batch=9, mesh={"data": 2, "fsdp": 4})
    assert "the batch is raised from 9 to 16: data x fsdp = 8 divides it" in found.notes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"mesh": {"fsdp": 8, "tensor": 4}, "device": "h100:16"},
            "mesh: fsdp=8,tensor=4 is 32 devices; expected axes whose sizes multiply to 16, "
            "the number of devices",
        ),
        (
            {"mesh": {"expert": 4}},
            "mesh: expert=4 divides no parameter of gpt2; expected other axes: it has no "
            "stacked experts",
        ),
        (
            {"mesh": {"tensor": 7}},
            "mesh: tensor=7 divides no parameter of gpt2; expected a divisor of its sizes, "
            "such as 768",
        ),
        (
            {"device": "h100:eight"},
            "device: h100:eight: a number 'eight'; expected a name and a number from 1 to "
            "1,048,576: h200:8",
        ),
        ({"topology": "4x4"}, "topology: nothing is compiled; add --compile"),
    ],
)
def test_a_mesh_that_does_not_suit_is_one_line(settings: dict[str, Any], message: str):
    with pytest.raises(InputError) as raised:
        ex.plan("gpt2", **settings)
    assert str(raised.value) == message


def test_an_axis_for_experts_has_to_divide_them():
    with pytest.raises(InputError, match="expected a divisor of its 4 experts"):
        check_axes(subject_of("mixtral"), Placement(mesh={"expert": 3}))


def test_terms_of_the_state_are_divided_and_others_are_not():
    subject, placement = subject_of("llama"), Placement(mesh={"data": 2, "fsdp": 2})
    share = share_of_fullest(placed_parameters(subject, placement))
    terms = [Term.exact("optimizer", 8_000_000), Term.exact("activations", 100)]
    optimizer, activations = placed_terms(terms, subject, placement)
    assert optimizer.on_device == -(-8_000_000 * share.numerator // share.denominator)
    assert activations.per_device is None
    mine = Term.exact("parameters", 64, per_device=5)
    assert placed_terms([mine], subject, placement) == [mine]


# Rajbhandari et al. 2020, figure 1: 7.5B parameters, 64 devices, mixed precision with Adam
@pytest.mark.parametrize(
    ("stage", "gigabytes"), [(0, "120"), (1, "31.4"), (2, "16.6"), (3, "1.88")]
)
def test_stages_of_zero_divide_what_copies_hold(stage: int, gigabytes: str):
    n = 7_500_000_000
    kernel = jax.ShapeDtypeStruct((n // 1000, 1000), "float32")
    subject = Subject("7.5B", explore({"mlp": {"kernel": kernel}}))
    parts: dict[Any, int] = {"parameters": 2, "gradients": 2, "optimizer": 12}
    terms = [Term.exact(name, each * n) for name, each in parts.items()]
    placement = placement_of(Workload(train=True, zero=stage, mesh={"data": 64}))
    held = sum(t.on_device for t in placed_terms(terms, subject, placement, stage)) / 1e9
    digits = len(gigabytes.partition(".")[2])
    assert f"{held:.{digits}f}" == gigabytes


def test_zero_is_about_copies():
    assert placement_of(Workload(train=True, zero=1), 8).mesh == {"data": 8}
    with pytest.raises(InputError, match="zero: is 1, and nothing is copied over data"):
        placement_of(Workload(train=True, zero=1))
    with pytest.raises(InputError, match="zero: is 4; expected a stage, 0 to 3"):
        ex.plan("gpt2", train=True, zero=4)
    whole, divided = (
        ex.plan("gpt2", train=True, mesh={"data": 4}, zero=stage) for stage in (2, 3)
    )
    parameters = 4 * 124_439_808
    assert [p.terms[0].on_device for p in (whole, divided)] == [parameters, parameters // 4]
