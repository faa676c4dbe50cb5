"""The smallest slice that fits, and tables over meshes."""

import pytest

import explorer as ex
from explorer.errors import InputError
from explorer.sizing.meshes.placed import placed_parameters, share_of_fullest
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.meshes.table import (
    mesh_table,
    meshes_of,
    slice_advice,
    slices_of,
    smallest_slice,
    suitable_meshes,
)
from tests.sizing.subjects import published, subject_of

V5E = 16 * 10**9  # bytes, as the book below counts them


# "How to Scale Your Model", chapter 8 (applied inference), question 2: the smallest
# topologies of TPU v5e for LLaMA 3-70B: 4x4 in bf16, 4x2 in int8, 2x2 in int4 (there 45 GB,
# where 4 bits of 70e9 parameters are 35 GB)
@pytest.mark.parametrize(("bits", "chips"), [(16, 16), (8, 8), (4, 4)])
def test_the_smallest_slice_of_a_70b_model(bits: int, chips: int):
    subject = published("llama-3.1-70b")

    def weights(placement: Placement) -> int:
        share = share_of_fullest(placed_parameters(subject, placement))
        return int(subject.inventory.num_parameters * share * bits / 8)

    found = smallest_slice(weights, V5E, ("tensor",), slices_of("tpu"))
    assert found is not None
    assert (found.devices, found.fits) == (chips, True)


def test_the_smallest_slice_is_the_fewest_devices_with_which_a_plan_fits():
    def needed(placement: Placement) -> int:
        return ex.plan("llama-3.1-70b", mesh=placement.mesh, dtype="bf16").per_device_bytes

    total = ex.plan("llama-3.1-70b", dtype="bf16").total_bytes
    said = slice_advice(needed, "tpu-v5e", V5E, train=False, at_least=total)
    assert said is not None
    assert said.startswith("--device tpu-v5e:16 (mesh tensor=16) needs ")
    assert needed(Placement(mesh={"tensor": 8})) > V5E


def test_no_slice_may_suffice():
    assert smallest_slice(lambda mesh: 10**15, V5E, ("tensor",), (1, 2, 4)) is None


@pytest.mark.parametrize("devices", [1, 2, 12, 64])
def test_every_mesh_is_there_once(devices: int):
    found = list(meshes_of(devices, ("data", "fsdp", "tensor")))
    assert {Placement(mesh=mesh).devices for mesh in found} == {devices}
    divisors = [n for n in range(1, devices + 1) if devices % n == 0]
    pairs = sum(devices // n % m == 0 for n in divisors for m in divisors)
    assert len({str(mesh) for mesh in found}) == len(found) == pairs


def test_meshes_that_split_nothing_are_left_out():
    meshes = suitable_meshes(subject_of("mixtral"), 16, train=False)
    assert meshes[0]  # no axis over four experts has eight devices
    assert {mesh.get("expert", 1) for mesh in meshes} == {1, 2, 4}
    assert not any("fsdp" in mesh for mesh in meshes)
    dense = suitable_meshes(subject_of("llama"), 8, train=True)
    assert dense[0] == {"fsdp": 8}
    assert dense[-1] == {"data": 8}


def test_a_table_over_meshes_is_a_sweep():
    table = ex.sweep("llama-3.1-8b", {"mesh": 16}, train=True)
    assert len(table.rows) == 15
    held = []
    for row in table.rows:
        plan = ex.plan("llama-3.1-8b", train=True, mesh=row.settings["mesh"])
        assert row.per_device_bytes == plan.per_device_bytes
        held.append(plan.per_device_bytes)
    assert held == sorted(held)  # the mesh that needs least of a device comes first


@pytest.mark.parametrize("devices", [0, 5000])
def test_numbers_of_devices_are_bounded(devices: int):
    with pytest.raises(InputError, match=f"meshes: is {devices}; expected 1 to 4,096"):
        mesh_table(lambda mesh: 1, devices, ("data",))
