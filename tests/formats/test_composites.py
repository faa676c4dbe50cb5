"""Folders of several models: parts are read with their own configs, summed and named."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import explorer as ex
from explorer.errors import FormatError, TargetError
from tests.checkpoints import Layout, write_folder, write_sharded, write_sparse

UNET: Layout = {"conv_in.weight": ((32, 4, 3, 3), "F16"), "conv_in.bias": ((32,), "F16")}
VAE: Layout = {"encoder.conv_in.weight": ((16, 3, 3, 3), "F16")}
TEXT: Layout = {"text_model.embeddings.token_embedding.weight": ((100, 8), "F16")}
PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "safety_checker": [None, None],
    "requires_safety_checker": True,
}
# of the layouts: 32*4*9 + 32, 16*27, 100*8
UNET_SIZE, VAE_SIZE, TEXT_SIZE = 1184, 432, 800


def write_pipeline(folder: Path) -> Path:
    for name, layout in (("unet", UNET), ("vae", VAE), ("text_encoder", TEXT)):
        (folder / name).mkdir(parents=True)
        file = "model" if name == "text_encoder" else "diffusion_pytorch_model"
        write_sparse(folder / name / f"{file}.safetensors", layout)
    (folder / "scheduler").mkdir()
    (folder / "scheduler/scheduler_config.json").write_text("{}")
    (folder / "model_index.json").write_text(json.dumps(PIPELINE))
    return folder


def write_modules(folder: Path, *types: tuple[str, str]) -> Path:
    modules = [
        {
            "idx": n,
            "name": str(n),
            "path": path,
            "type": f"sentence_transformers.models.{of}",
        }
        for n, (path, of) in enumerate(types)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def write_sentences(folder: Path) -> Path:
    """A transformer in the folder itself, and a projection behind it."""
    write_folder(folder, {"embeddings.word_embeddings.weight": ((100, 16), "F32")})
    dense: Layout = {"linear.weight": ((32, 16), "F32"), "linear.bias": ((32,), "F32")}
    write_folder(folder / "2_Dense", dense, {"in_features": 16, "out_features": 32})
    types = ("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")
    return write_modules(folder, *types, ("3_Normalize", "Normalize"))


# Diffusers


def test_a_pipeline_is_the_sum_of_its_parts(tmp_path: Path):
    folder = write_pipeline(tmp_path / "sd")
    inventory = ex.explore(folder)
    parts = [ex.explore(folder / name) for name in ("unet", "vae", "text_encoder")]
    assert [p.num_parameters for p in parts] == [UNET_SIZE, VAE_SIZE, TEXT_SIZE]
    assert inventory.num_parameters == UNET_SIZE + VAE_SIZE + TEXT_SIZE == 2416
    assert inventory.num_biases == 32
    assert inventory.nbytes == sum(part.nbytes for part in parts)
    assert inventory.file_bytes == sum(part.file_bytes or 0 for part in parts)
    assert inventory.files == 3
    assert inventory["unet/conv_in/bias"].size == 32
    assert inventory.select("vae/**").num_parameters == VAE_SIZE
    assert inventory.remarks == (
        "part unet (UNet2DConditionModel): 1,184 parameters in 2 tensors",
        "part vae (AutoencoderKL): 432 parameters in 1 tensor",
        "part text_encoder (CLIPTextModel): 800 parameters in 1 tensor",
        "parts without weights: scheduler, tokenizer",
    )


def test_a_part_that_is_missing_is_an_error(tmp_path: Path):
    folder = write_pipeline(tmp_path / "sd")
    (folder / "vae/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FormatError) as error:
        ex.explore(folder)
    assert str(error.value) == (
        f"{folder}/vae: holds no weights of AutoencoderKL, a part of this diffusers model; "
        "fetch it, or name the parts that are there"
    )


def test_variants_and_files_that_are_not_parts_are_named(tmp_path: Path):
    folder = write_pipeline(tmp_path / "sd")
    write_sparse(folder / "unet/diffusion_pytorch_model.fp16.safetensors", UNET)
    write_sparse(folder / "sd-v1-5.safetensors", UNET)
    (folder / "lora").mkdir()
    write_sparse(folder / "lora/pytorch_lora_weights.safetensors", UNET)
    remarks = ex.explore(folder).remarks
    assert ex.explore(folder).num_parameters == 2416
    assert "folders of weights that are not parts: lora" in remarks
    assert "files of weights that are not parts: sd-v1-5.safetensors" in remarks
    assert (
        "unet: diffusion_pytorch_model.safetensors was read; "
        "not diffusion_pytorch_model.fp16.safetensors"
    ) in remarks


def test_parts_may_be_sharded_and_quantized_each_by_its_config(tmp_path: Path):
    """The config.json of a part decides of that part alone: a tied head, a packed format."""
    folder = tmp_path / "pipe"
    table = ((50, 8), "F32")
    layout: Layout = {"model.embed_tokens.weight": table, "lm_head.weight": table}
    tied = {"model_type": "llama", "tie_word_embeddings": True}
    write_folder(folder / "text_encoder", layout, tied)
    write_sharded(folder / "text_encoder_2", layout, 2)
    (folder / "text_encoder_2/config.json").write_text(
        json.dumps({"tie_word_embeddings": False})
    )
    names = {f"text_encoder{n}": ["transformers", "LlamaModel"] for n in ("", "_2")}
    (folder / "model_index.json").write_text(json.dumps(names))
    inventory = ex.explore(folder)
    assert inventory.num_parameters == 400 + 800
    assert [tie.keys for tie in inventory.ties] == [
        (
            ("text_encoder", "model", "embed_tokens", "weight"),
            ("text_encoder", "lm_head", "weight"),
        )
    ]


def test_the_values_of_parts(tmp_path: Path):
    for name, value in (("unet", 1.0), ("vae", 2.0)):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "diffusion_pytorch_model.safetensors"
        save_file({"conv.weight": np.full(3, value)}, str(file))
    manifest = {"unet": ["diffusers", "A"], "vae": ["diffusers", "B"]}
    (tmp_path / "model_index.json").write_text(json.dumps(manifest))
    tree = ex.load(tmp_path)
    np.testing.assert_array_equal(tree["vae"]["conv"]["weight"], np.full(3, 2.0))
    assert set(ex.load(tmp_path, "unet/**")) == {"unet"}
    assert {t.name for t in ex.explore(tmp_path)} == {"unet/conv/weight", "vae/conv/weight"}


# sentence-transformers


def test_modules_of_sentence_transformers(tmp_path: Path):
    inventory = ex.explore(write_sentences(tmp_path / "st"))
    assert inventory.num_parameters == 100 * 16 + 32 * 16 + 32 == 2144
    assert {t.name for t in inventory} == {
        "embeddings/word_embeddings/weight",
        "2_Dense/linear/weight",
        "2_Dense/linear/bias",
    }
    assert inventory.remarks == (
        "part in the folder itself (Transformer): 1,600 parameters in 1 tensor",
        "part 2_Dense (Dense): 544 parameters in 2 tensors",
        "parts without weights: 1_Pooling, 3_Normalize",
    )


def test_a_part_that_is_listed_again_is_an_error(tmp_path: Path):
    """Each time it would be read and counted again."""
    folder = write_folder(write_modules(tmp_path, ("", "Transformer"), ("", "Other")), TEXT)
    with pytest.raises(
        FormatError, match="part '' of this sentence-transformers model twice"
    ):
        ex.explore(folder)
    write_folder(tmp_path / "b/a", TEXT)
    write_modules(tmp_path / "b", *[("a", "Transformer")] * 2)
    with pytest.raises(
        FormatError, match="part 'a' of this sentence-transformers model twice"
    ):
        ex.explore(tmp_path / "b")


def test_one_module_is_an_ordinary_folder(tmp_path: Path):
    folder = write_folder(tmp_path, {"w": ((2, 2), "F32")})
    write_modules(folder, ("", "Transformer"), ("1_Pooling", "Pooling"))
    inventory = ex.explore(folder)
    assert (inventory.source, inventory.num_parameters) == ("safetensors", 4)
    assert inventory["w"].key == "w"


def test_a_projection_that_is_missing_is_an_error(tmp_path: Path):
    folder = write_sentences(tmp_path / "st")
    (folder / "2_Dense/model.safetensors").unlink()
    with pytest.raises(FormatError, match="2_Dense: holds no weights of Dense, a part of"):
        ex.explore(folder)


def test_modules_in_folders_of_folders(tmp_path: Path):
    """A router keeps one module for queries and one for documents."""
    for name in ("query_0_Static", "document_0_Static"):
        write_folder(tmp_path / "0_Router" / name, {"embedding.weight": ((10, 4), "F32")})
    write_modules(tmp_path, ("0_Router", "Router"))
    assert ex.explore(tmp_path).num_parameters == 80


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ('[{"type": "x"}]', "lists a module without a path"),
        ('[{"path": "../x", "type": "x"}]', "names part '../x', outside its folder"),
        ('[{"path": "2_Dense", "type": "x.Dense"}]', "2_Dense: holds no weights of Dense"),
        ('[{"path": "1_Pooling", "type": "x.Pooling"}]', "whose parts hold no weights"),
    ],
)
def test_broken_manifests(tmp_path: Path, text: str, message: str):
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises((FormatError, TargetError), match=message):
        ex.explore(tmp_path)


def test_a_manifest_of_something_else_is_ignored(tmp_path: Path):
    folder = write_folder(tmp_path, {"w": ((2, 2), "F32")})
    for text in ("[]", '{"name": "modules of a web page"}'):
        (folder / "modules.json").write_text(text)
        assert ex.explore(folder).num_parameters == 4


def test_configs_without_any_weights_are_a_config(tmp_path: Path):
    config = {"model_type": "bert", "vocab_size": 10, "hidden_size": 8}
    config |= {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config |= {"max_position_embeddings": 4, "type_vocab_size": 2}
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_modules(tmp_path, ("", "Transformer"), ("2_Dense", "Dense"))
    (tmp_path / "2_Dense").mkdir()
    assert ex.explore(tmp_path).is_declared
