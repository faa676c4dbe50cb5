"""Names that people type: found, listed, or not there; never another model's."""

from math import ceil, prod

import pytest

import explorer as ex
from explorer.architectures.catalog.entries import CatalogEntry, entries, find, undisclosed
from explorer.architectures.catalog.search import search, similar
from explorer.architectures.families import architecture_of, checkpoint_names_of
from explorer.architectures.stored_tensors import stored_tensors
from explorer.architectures.tensor_counts import tensor_counts
from explorer.errors import TargetError
from tests import facts


def _names(models) -> list[str]:
    return [model.names[0] for model in models]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["llama", "70b"], ["llama-2-70b", "llama-3.1-70b"]),
        (["LLAMA", "3"], [f"llama-3.1-{n}b" for n in (8, 70, 405)] + ["llama-3.2-1b", "llama-3.2-3b"]),
        (["8B"], ["llama-3.1-8b", "qwen3-8b"]),
        (["gpt2"], ["distilgpt2", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"]),
        (["gpt-oss"], ["gpt-oss-20b", "gpt-oss-120b"]),
        (["meta-llama", "405B"], ["llama-3.1-405b"]),
        (["google", "9b"], ["gemma-2-9b"]),
        (["Anthropic"], ["claude", "claude-3.5-sonnet"]),
        (["deepseek_v3"], ["deepseek-v3", "deepseek-r1", ]),
        (["kimi", "1t"], ["kimi-k2"]),
        (["Qwen/Qwen2.5-7B-Instruct"], ["qwen2.5-7b"]),
        (["llama-3-8b"], ["llama-3.1-8b"]),
        (["Llama", "2", "70B", "chat"], ["llama-2-70b"]),
        (["phi-3", "instruct"], ["phi-3-mini", "phi-3-medium"]),
        (["nothing"], []),
        (["llama", "9b"], []),
    ],
)  # fmt: skip
def test_words_in_any_spelling(words: list[str], expected: list[str]):
    assert _names(search(*words)) == expected


def test_no_word_finds_every_model_and_every_name_finds_its_own():
    assert search() == [*entries(), *undisclosed()]
    for model in (*entries(), *undisclosed()):
        for name in model.names:
            if "#" not in name:
                assert model in search(name)
            assert model in similar(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-3-8b", ["llama-3.1-8b"]),
        ("meta-llama/Meta-Llama-3-8B-Instruct", ["llama-3.1-8b"]),
        ("Qwen/Qwen2.5-7B-Instruct", ["qwen2.5-7b"]),
        ("mistralai/Mistral-7B-Instruct-v0.3", ["mistral-7b"]),
        ("unsloth/Llama-3.2-1B-Instruct-bnb-4bit", ["llama-3.2-1b"]),
        ("8B", ["llama-3.1-8b", "qwen3-8b"]),
        ("kimi", ["kimi-k2"]),
        ("roberta", ["roberta-base", "roberta-large"]),
        ("bert-base-cased", ["bert-base-uncased", "bert-base-uncased#mlm", "bert-base-uncased#pretraining"]),
        ("falcon-7b", []),
        ("t5-small", []),
        ("model", []),
        ("a", []),
        ("gpt2.safetensors", []),
        ("./gpt2", []),
        ("x" * 10**6, []),
        ("", []),
    ],
)  # fmt: skip
def test_what_a_name_may_be(name: str, expected: list[str]):
    found = _names(similar(name))
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("llama-3-8b", "the catalogue has llama-3.1-8b"),
        ("Qwen/Qwen2.5-7B-Instruct", "the catalogue has qwen2.5-7b"),
        ("8B", "the catalogue has llama-3.1-8b, qwen3-8b"),
        # no slip of mixtral-8x7b
        ("mistral", "the catalogue has mistral-7b, mistral-nemo-12b"),
        ("qwen2.5", "qwen2.5-14b and 2 more (explorer catalog)"),
        ("mixtrall-8x7b", "did you mean mixtral-8x7b?"),
    ],
)
def test_errors_list_what_exists(name: str, cure: str):
    with pytest.raises(TargetError) as caught:
        ex.explore(name)
    assert str(caught.value).endswith(cure)


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.names[0])
def test_file_tensors_are_the_sum_of_their_columns(entry: CatalogEntry):
    counts = tensor_counts(architecture_of(entry.config), entry.tensors, **entry.beside)
    inventory = ex.explore(entry.names[0])
    assert counts.module_leaves == inventory.num_tensors
    assert inventory.card is not None
    assert counts.checkpoint_tensors == inventory.card.checkpoint_tensors
    if entry.tensors is None:
        assert not entry.beside
        return
    besides = counts.buffers + counts.scales + counts.second_names + counts.extra_layers
    assert entry.tensors == counts.checkpoint_tensors + besides
    advertised = inventory.card.advertised
    assert counts.sum == f"{entry.tensors:,} file tensors = {advertised.file_sum}"


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("openai-community/gpt2-xl", "gpt2-xl"),
        ("openai/gpt-oss-20b", "gpt-oss-20b"),
        ("deepseek-ai/DeepSeek-V3", "deepseek-v3"),
    ],
)
def test_the_columns_are_what_the_files_list(model_id: str, name: str):
    names = facts.listing(model_id, ondisk=True)["tensors"]
    extra = [each for each in names if each.startswith("model.layers.61.")]
    scales = [each for each in names if each.endswith(("_scale_inv", "_scales"))]
    beside = {
        "extra_layers": len(extra),
        "scales": len(set(scales) - set(extra)),
        "buffers": sum(each.endswith(".attn.bias") for each in names),
    }
    entry = next(each for each in entries() if name in each.names)
    assert entry.beside == {kind: number for kind, number in beside.items() if number}


def _stored_bytes(name: str, nbytes) -> int:
    architecture = architecture_of(find(name).config)
    stored = stored_tensors(architecture, checkpoint_names_of(architecture))
    return sum(nbytes(key, tensor.shape) for key, tensor in stored.items())


def _fp8(key: str, shape: tuple[int, ...]) -> int:
    """FP8 elements with a float32 scale for each block of 128 x 128, in DeepSeek's files."""
    if key.endswith("e_score_correction_bias"):
        return 4 * prod(shape)
    if ".layers." not in key or len(shape) == 1 or key.endswith("mlp.gate.weight"):
        return 2 * prod(shape)
    return prod(shape) + 4 * prod(ceil(size / 128) for size in shape)


def _mxfp4(key: str, shape: tuple[int, ...]) -> int:
    """Experts in 4 bits and a byte for each 32, in OpenAI's files (2025)."""
    packed = key.endswith(("experts.gate_up_proj", "experts.down_proj"))
    return prod(shape) * 17 // 32 if packed else 2 * prod(shape)


def test_the_bytes_of_quantised_files():
    sizes = {"F8_E4M3": 1, "U8": 1, "BF16": 2, "F32": 4}
    listed = {}
    for model_id in ("deepseek-ai/DeepSeek-V3", "openai/gpt-oss-20b"):
        tensors = facts.listing(model_id, ondisk=True)["tensors"]
        listed[model_id] = {
            k: prod(shape) * sizes[kind] for k, (shape, kind) in tensors.items()
        }
        assert find(model_id).file_bytes == sum(listed[model_id].values())
    v3 = listed["deepseek-ai/DeepSeek-V3"]
    extra = sum(size for key, size in v3.items() if "layers.61." in key)
    assert find("deepseek-v3").file_bytes == _stored_bytes("deepseek-v3", _fp8) + extra
    assert find("deepseek-r1").file_bytes == find("deepseek-v3").file_bytes
    # 61 tensors of 32 rotary frequencies in float32
    assert find("kimi-k2").file_bytes == _stored_bytes("kimi-k2", _fp8) + 61 * 32 * 4
    assert "derived, no header confirms it" in find("kimi-k2").file_format
    for name in ("gpt-oss-20b", "gpt-oss-120b"):
        assert find(name).file_bytes == _stored_bytes(name, _mxfp4)
    # "Our checkpoint sizes are 60.8 GiB" and 12.8 GiB: the model card of gpt-oss
    assert find("gpt-oss-120b").file_bytes / 2**30 == pytest.approx(60.8, abs=0.05)
    ledger = ex.ledger("gpt-oss-20b")
    assert ledger.advertised.file_bytes == 13_761_264_768
    assert ledger.advertised.file_format == "experts in MXFP4"
