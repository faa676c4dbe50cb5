"""Folders of training frameworks: what of them is read, and what is refused by name."""

import os
from pathlib import Path

import flax.serialization
import numpy as np
import pytest

import explorer as ex
from explorer.errors import ExplorerError, FormatError, TargetError
from tests.checkpoints import Layout, write_folder, write_sparse
from tests.formats.torch_bytes import Call, tensor, write_zip, zeros

DATA = Path(__file__).parents[1] / "data/torch_containers"
LAYOUT: Layout = {
    "model.embed_tokens.weight": ((100, 64), "BF16"),
    "model.norm.weight": ((64,), "BF16"),
}
SIZE = Call("torch", "Size", ((3, 4),))
BIAS = Call("torch", "Size", ((3,),))
PARAMETERS = {"w": SIZE, "b": BIAS}


def write_dcp(folder: Path) -> Path:
    """The metadata is PyTorch's own, of a linear layer, its momentum and a step."""
    folder.mkdir(parents=True)
    (folder / ".metadata").write_bytes((DATA / "dcp_metadata").read_bytes())
    (folder / "__0_0.distcp").write_bytes(bytes(6000))
    return folder


def write_states(
    folder: Path, root: dict, name: str = "mp_rank_00_model_states.pt"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_zip(folder / name, root, {"0": zeros(12), "1": zeros(3), "2": zeros(5)})
    (folder / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"junk")
    return folder


# What is beside a model


def test_an_index_of_a_variant_alone(tmp_path: Path):
    from tests.checkpoints import write_sharded

    folder = write_sharded(tmp_path / "unet", LAYOUT, 2)
    index = folder / "model.safetensors.index.json"
    variant = index.rename(folder / "model.safetensors.index.fp16.json")
    assert ex.explore(folder).num_parameters == 6464
    assert ex.explore(variant).num_parameters == 6464


def test_training_state_beside_a_model(tmp_path: Path):
    folder = write_folder(tmp_path, LAYOUT)
    names = ("optimizer.bin", "rng_state_0.pth", "rng_state_1.pth", "scheduler.pt")
    for name in (*names, "scaler.pt", "training_args.bin", "random_states_0.pkl"):
        (folder / name).write_bytes(b"PK\x03\x04junk")
    inventory = ex.explore(folder)
    assert inventory.num_parameters == 6464
    assert inventory.remarks == (
        "training state was not read: optimizer.bin, random_states_0.pkl, rng_state_0.pth "
        "and 4 more",
    )


def test_training_state_alone(tmp_path: Path):
    (tmp_path / "optimizer.bin").write_bytes(b"junk")
    with pytest.raises(TargetError, match="holds training state only"):
        ex.explore(tmp_path)


def test_the_full_state_that_fsdp_gathers(tmp_path: Path):
    write_zip(
        tmp_path / "pytorch_model_fsdp.bin", {"w": tensor("0", (2, 3))}, {"0": zeros(6)}
    )
    (tmp_path / "optimizer.bin").write_bytes(b"junk")
    inventory = ex.explore(tmp_path)
    assert inventory.num_parameters == 6
    assert inventory.remarks == ("training state was not read: optimizer.bin",)


def test_an_adapter_beside_its_model(tmp_path: Path):
    folder = write_folder(tmp_path, LAYOUT)
    write_sparse(
        folder / "adapter_model.safetensors", {"a.lora_A.weight": ((8, 64), "F32")}
    )
    inventory = ex.explore(folder)
    assert inventory.num_parameters == 6464
    assert inventory.remarks == (
        "adapter_model.safetensors is an adapter and was not counted: name it to see it",
    )
    (folder / "model.safetensors").unlink()
    assert ex.explore(folder).num_parameters == 512


def test_a_second_copy_beside_shards(tmp_path: Path):
    from tests.checkpoints import write_sharded

    folder = write_sharded(tmp_path / "m", LAYOUT, 2)
    write_sparse(folder / "consolidated.safetensors", LAYOUT)
    inventory = ex.explore(folder)
    assert inventory.num_parameters == 6464
    assert inventory.remarks == (
        "model.safetensors.index.json was read; not consolidated.safetensors",
    )


def test_variants_of_one_name(tmp_path: Path):
    write_sparse(tmp_path / "net.safetensors", LAYOUT)
    write_sparse(tmp_path / "net.fp16.safetensors", LAYOUT)
    inventory = ex.explore(tmp_path)
    assert inventory.num_parameters == 6464
    assert inventory.remarks == ("net.safetensors was read; not net.fp16.safetensors",)


def test_folders_in_a_folder_are_named(tmp_path: Path):
    write_folder(tmp_path / "checkpoint-500", LAYOUT)
    write_folder(tmp_path / "checkpoint-1000", LAYOUT)
    with pytest.raises(TargetError) as error:
        ex.explore(tmp_path)
    assert (
        "holds no weights itself; folders in it do: checkpoint-1000, checkpoint-500"
        in str(error.value)
    )
    write_folder(tmp_path, LAYOUT)
    assert ex.explore(tmp_path).remarks == (
        "folders of weights in it were not read: checkpoint-1000, checkpoint-500",
    )


def test_files_of_other_programs_in_a_folder_are_named(tmp_path: Path):
    (tmp_path / "tf_model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(TargetError, match=r"tf_model.h5 is an HDF5 file"):
        ex.explore(tmp_path)


# DCP and FSDP


def test_dcp(tmp_path: Path):
    inventory = ex.explore(write_dcp(tmp_path / "step-10"))
    assert inventory.source == "dcp"
    assert inventory.num_parameters == 4 * 3 + 3
    assert inventory["model/weight"].shape == (3, 4)
    assert inventory["optim/state/m"].collection == "opt_state"
    assert inventory.remarks == ("pickled objects that are not tensors: 1",)
    assert inventory.file_bytes == 6000 + (DATA / "dcp_metadata").stat().st_size


def test_dcp_without_its_metadata(tmp_path: Path):
    folder = write_dcp(tmp_path / "step-10")
    (folder / ".metadata").unlink()
    for target in (folder, folder / "__0_0.distcp"):
        with pytest.raises(FormatError, match=r"DCP checkpoint.*expected its \.metadata"):
            ex.explore(target)


def test_dcp_of_which_files_are_missing(tmp_path: Path):
    folder = write_dcp(tmp_path / "x")
    (folder / "__0_0.distcp").write_bytes(b"")
    (folder / ".metadata").write_bytes((DATA / "dcp_metadata").read_bytes())
    assert ex.explore(folder).num_parameters == 15
    with pytest.raises(FormatError, match="values of DCP folders are not read; convert"):
        ex.load(folder)


def test_one_file_of_a_dcp_folder(tmp_path: Path):
    folder = write_dcp(tmp_path / "x")
    for name in (".metadata", "__0_0.distcp"):
        assert ex.explore(folder / name).num_parameters == 15
    (folder / ".metadata").unlink()
    with pytest.raises(
        FormatError, match=r"is a part of a DCP checkpoint .*; expected its"
    ):
        ex.explore(folder / "__0_0.distcp")


def test_fsdp_folders_of_a_trainer(tmp_path: Path):
    write_dcp(tmp_path / "pytorch_model_fsdp_0")
    write_dcp(tmp_path / "optimizer_0")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    inventory = ex.explore(tmp_path)
    assert inventory.num_parameters == 15
    assert "pytorch_model_fsdp_0 was read; not optimizer_0" in inventory.remarks


def test_the_newest_of_several_dcp_steps(tmp_path: Path):
    write_dcp(tmp_path / "step-9")
    write_dcp(tmp_path / "step-10")
    assert "step-10 was read, of 2 steps" in ex.explore(tmp_path).remarks


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"PK\x03\x04junk", "is broken: its pickle"),
        (b"", "is broken: is empty"),
        (b"\x80\x02}.", "lists no state_dict_metadata"),
        (b"\x80\x02cos\nsystem\n.", r"names os\.system, which is not a part of a tensor"),
    ],
)
def test_broken_dcp(tmp_path: Path, content: bytes, fault: str):
    folder = write_dcp(tmp_path / "x")
    (folder / ".metadata").write_bytes(content)
    with pytest.raises(ExplorerError, match=fault) as error:
        ex.explore(folder)
    assert "\n" not in str(error.value)


# DeepSpeed


def test_deepspeed_with_the_weights_in_the_file(tmp_path: Path):
    module = {
        "w": tensor("0", (3, 4)),
        "b": tensor("1", (3,)),
        "inv_freq": tensor("2", (5,)),
    }
    root = {
        "module": module,
        "buffer_names": ["inv_freq"],
        "param_shapes": [PARAMETERS],
        "optimizer": None,
        "ds_version": "0.15",
    }
    write_states(tmp_path / "global_step5", root)
    (tmp_path / "latest").write_text("global_step5")
    (tmp_path / "zero_to_fp32.py").write_text("")
    for folder in (tmp_path, tmp_path / "global_step5"):
        inventory = ex.explore(folder)
        assert inventory.num_parameters == 15
        assert inventory["inv_freq"].collection == "buffers"
        assert inventory["w"].nbytes == 48
    values = ex.load(tmp_path / "global_step5", "w")
    np.testing.assert_array_equal(values["w"], np.zeros((3, 4), np.float32))


def test_tied_parameters_of_deepspeed_count_once(tmp_path: Path):
    """The head is the embedding: one storage under two names, of which one has a shape."""
    module = {"w": tensor("0", (3, 4)), "head": tensor("0", (3, 4))}
    root = {"module": module, "buffer_names": [], "param_shapes": [{"w": SIZE}]}
    write_states(tmp_path / "a", root)
    assert ex.explore(tmp_path / "a").num_parameters == 12
    empty = {name: tensor("0", (0,), size=12) for name in ("w", "head")}
    shapes = {"w": SIZE, "head": SIZE}
    shared = {"param_shapes": [shapes], "shared_params": {"head": "w"}, "module": empty}
    write_states(tmp_path / "b", shared)
    assert ex.explore(tmp_path / "b").num_parameters == 12


def test_names_of_deepspeed_that_are_not_text(tmp_path: Path):
    """They name no parameter, also where they cannot be looked up."""
    module = {"w": tensor("0", (3, 4)), 5: tensor("1", (3,))}
    shared = {"w": [1], 5: "w", "b": {}}
    root = {"module": module, "param_shapes": [{"w": SIZE}], "shared_params": shared}
    write_states(tmp_path, root | {"buffer_names": [5, []]})
    assert ex.explore(tmp_path).num_parameters == 12
    np.testing.assert_array_equal(ex.load(tmp_path)["w"], np.zeros((3, 4), np.float32))


def test_deepspeed_inside_a_folder_of_lightning(tmp_path: Path):
    """Lightning's step has no number: `latest` names it, and it is the only one."""
    root = {"module": {"w": tensor("0", (3, 4))}, "param_shapes": [{"w": SIZE}]}
    write_states(tmp_path / "epoch=1.ckpt/checkpoint", root)
    assert ex.explore(tmp_path / "epoch=1.ckpt").num_parameters == 12
    (tmp_path / "epoch=1.ckpt/latest").write_text("checkpoint")
    assert ex.explore(tmp_path / "epoch=1.ckpt").num_parameters == 12


def test_deepspeed_zero_3_has_the_shapes_only(tmp_path: Path):
    """The module's tensors are empty: each rank holds slices in its optimizer states."""
    empty = {name: tensor("0", (0,), size=12) for name in PARAMETERS}
    root = {"module": empty, "buffer_names": [], "param_shapes": [PARAMETERS]}
    frozen = {"frozen_param_shapes": {"base": Call("torch", "Size", ((7,),))}}
    for rank in (0, 1):
        name = f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt"
        write_states(tmp_path, root | frozen, name)
    file = tmp_path / "zero_pp_rank_1_mp_rank_00_model_states.pt"
    assert ex.explore(file).num_parameters == 12 + 3 + 7
    inventory = ex.explore(tmp_path)
    assert inventory.num_parameters == 12 + 3 + 7
    assert any(
        remark.startswith("ZeRO 3: 3 shapes without") for remark in inventory.remarks
    )
    assert inventory.nbytes == 4 * 22
    with pytest.raises(FormatError, match=r"join them with zero_to_fp32\.py"):
        ex.load(tmp_path)


def test_deepspeed_in_several_slices_is_refused(tmp_path: Path):
    root = {"module": {}, "param_shapes": [PARAMETERS]}
    for rank in (0, 1):
        write_states(tmp_path, root, f"mp_rank_0{rank}_model_states.pt")
    with pytest.raises(
        FormatError, match="a DeepSpeed checkpoint in 2 tensor-parallel ranks"
    ):
        ex.explore(tmp_path)
    alone = write_states(tmp_path / "alone", {**root, "mp_world_size": 2})
    with pytest.raises(FormatError, match="is one of 2 tensor-parallel ranks"):
        ex.explore(alone / "mp_rank_00_model_states.pt")
    write_states(tmp_path / "pipe", root, "layer_00-model_00-model_states.pt")
    with pytest.raises(FormatError, match="a DeepSpeed checkpoint in pipeline stages"):
        ex.explore(tmp_path / "pipe")


def test_broken_deepspeed(tmp_path: Path):
    write_states(tmp_path, {"module": None, "param_shapes": [{"w": 3}]})
    with pytest.raises(
        FormatError, match="model states of a DeepSpeed checkpoint: 'w' has no"
    ):
        ex.explore(tmp_path)
    (tmp_path / "mp_rank_00_model_states.pt").write_bytes(b"PK\x03\x04junk")
    with pytest.raises(FormatError, match="of a DeepSpeed checkpoint: has no central"):
        ex.explore(tmp_path)


# Megatron


def test_megatron(tmp_path: Path):
    rank = tmp_path / "iter_0000500/mp_rank_00"
    rank.mkdir(parents=True)
    write_zip(
        rank / "model_optim_rng.pt", {"model": {"w": tensor("0", (4,))}}, {"0": zeros(4)}
    )
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("500")
    assert ex.explore(tmp_path).num_parameters == 4
    (tmp_path / "iter_0000500/mp_rank_01").mkdir()
    with pytest.raises(FormatError, match=r"a Megatron checkpoint in 2 ranks \(mp_rank_00"):
        ex.explore(tmp_path)


# Flax


def test_legacy_flax_checkpoints(tmp_path: Path):
    for step in (3, 12):
        state = {"params": {"w": np.ones((2, step), np.float32)}, "step": step}
        path = tmp_path / f"checkpoint_{step}"
        path.write_bytes(flax.serialization.msgpack_serialize(state))
    inventory = ex.explore(tmp_path)
    assert inventory.num_parameters == 24
    assert inventory.remarks == ("checkpoint_12 was read, the newest of 2",)
    assert ex.explore(tmp_path / "checkpoint_3").num_parameters == 6


def test_old_orbax_aggregates(tmp_path: Path):
    state = {"params": {"w": np.ones((2, 2), np.float32)}}
    folder = tmp_path / "checkpoint_5"
    folder.mkdir()
    (folder / "checkpoint").write_bytes(flax.serialization.msgpack_serialize(state))
    assert ex.explore(folder).num_parameters == 4


def test_trees_that_are_saved_side_by_side_by_number_are_steps(tmp_path: Path):
    import orbax.checkpoint as ocp

    saver = ocp.StandardCheckpointer()
    for name in ("checkpoint_3", "checkpoint_12"):
        saver.save(os.path.join(tmp_path, "ck", name), {"params": {"w": np.ones((2, 3))}})
    for name in ("model", "ema"):
        saver.save(os.path.join(tmp_path, "items", name), {"w": np.ones((2, 3))})
    saver.wait_until_finished()
    inventory = ex.explore(tmp_path / "ck")
    assert inventory.num_parameters == 6
    assert inventory.remarks == ("step 12 was read, the newest of 2",)
    assert ex.explore(tmp_path / "items").num_tensors == 2
