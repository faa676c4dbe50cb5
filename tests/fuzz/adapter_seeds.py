"""Seeds of what stands beside checkpoints: adapters, packed weights, tokenizers."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

import explorer as ex
from tests.fuzz.cutting import Parts, Seed, tokens, words
from tests.fuzz.folder_seeds import folder_of, marked

__all__ = ["BESIDE"]


def _safetensors(arrays: dict[str, np.ndarray]) -> tuple[Parts, Callable[[bytes], bytes]]:
    """Return the tokens of a header, and the frame that puts bytes of arrays behind it."""
    header, at = {}, 0
    kinds = {"float32": "F32", "uint8": "U8", "int32": "I32"}
    for name, array in arrays.items():
        span = [at, at := at + array.nbytes]
        dtype = kinds[array.dtype.name]
        header[name] = {"dtype": dtype, "shape": [*array.shape], "data_offsets": span}
    data = b"".join(array.tobytes() for array in arrays.values())

    def frame(raw: bytes) -> bytes:
        return struct.pack("<Q", len(raw)) + raw + data

    return tokens(json.dumps(header, separators=(",", ":")).encode()), frame


def _peft() -> Seed:
    config = {
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_rslora": False, "use_dora": True,
        "target_modules": ["q"], "rank_pattern": {"a.q": 2}, "alpha_pattern": {"[ab]\\.q": 8},
    }  # fmt: skip
    names = {"A.weight": (2, 8), "B.weight": (4, 2), "magnitude_vector": (4,)}
    arrays = {
        f"base_model.model.a.q.lora_{name}": np.ones(shape, np.float32)
        for name, shape in names.items()
    }
    header, frame = _safetensors(arrays)
    weights = "adapter_model.safetensors"
    files = {"adapter_config.json": tokens(json.dumps(config).encode()), weights: header}
    return folder_of(marked(files), {weights: frame})._replace(read=_read_adapters)


def _read_adapters(path: Path) -> int:
    from explorer.transforms.adapters.gguf_adapters import read_adapters

    return 4 * read_adapters(str(path)).parameters


def _bitsandbytes() -> Seed:
    state = {"blocksize": 64, "shape": [4, 64], "quant_type": "nf4", "dtype": "float32"}
    raw = np.frombuffer(json.dumps(state).encode(), np.uint8)
    arrays = {
        "l.weight": np.arange(128, dtype=np.uint8)[:, None],
        "l.weight.absmax": np.ones(4, np.float32),
        "l.weight.quant_map": np.linspace(-1, 1, 16, dtype=np.float32),
    }
    header, frame = _safetensors({**arrays, "l.weight.quant_state.bitsandbytes__nf4": raw})
    files = {"model.safetensors": header, "state": tokens(raw.tobytes())}
    seed = folder_of(marked(files), {"model.safetensors": frame})

    def write(folder: Path, parts: Parts) -> Path:
        path = seed.write(folder, parts)
        state = path / "state"
        file = path / "model.safetensors"
        if state.exists() and file.exists():  # the document stands at the end of the file
            said = state.read_bytes()[: len(raw)].ljust(len(raw))
            file.write_bytes(file.read_bytes()[: -len(raw)] + said)
            state.unlink()
        return path

    return Seed(seed.parts, write, _described)


def _gptq() -> Seed:
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32}}
    shapes = {"qweight": (8, 8), "qzeros": (2, 1), "g_idx": (64,)}
    arrays = {f"l.{name}": np.ones(shape, np.int32) for name, shape in shapes.items()}
    header, frame = _safetensors(arrays | {"l.scales": np.ones((2, 8), np.float32)})
    files = {
        "config.json": tokens(json.dumps(config).encode()),
        "model.safetensors": header,
    }
    seed = folder_of(marked(files), {"model.safetensors": frame})
    return seed._replace(read=_described)


def _described(path: Path) -> int:
    ex.describe(str(path))
    return 0


def _tokenizer() -> Seed:
    content = {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
        "added_tokens": [{"id": 3, "content": "<s>", "special": True}],
        "pre_tokenizer": {"type": "ByteLevel", "use_regex": True},
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend"}]},
    }
    settings = {
        "bos_token": {"content": "<s>"},
        "add_bos_token": True,
        "chat_template": "x",
    }
    files = {
        "tokenizer.json": tokens(json.dumps(content).encode()),
        "tokenizer_config.json": tokens(json.dumps(settings).encode()),
    }
    return folder_of(marked(files))._replace(read=_read_tokenizer)


def _read_tokenizer(path: Path) -> int:
    from explorer.pretrained.gguf.tokenizers import tokenizer_pairs

    pairs, _ = tokenizer_pairs(str(path), 8)
    return len(pairs)


def _digests() -> Seed:
    lines = b"# explorer value lock 1\n" + b"0" * 32 + b"  float32  2x3  a/w\n"
    return folder_of(marked({"a.lock": words(lines, 2)}))._replace(read=_read_lock)


def _read_lock(path: Path) -> int:
    from explorer.errors import FormatError
    from explorer.values.digest import read_digests

    try:
        text = (path / "a.lock").read_text()
    except (UnicodeDecodeError, OSError) as error:
        raise FormatError(path, found=str(error)) from None
    return len(read_digests("a.lock", text).tensors)


BESIDE: dict[str, Callable[[], Seed]] = {
    "peft": _peft,
    "packed bitsandbytes": _bitsandbytes,
    "packed gptq": _gptq,
    "tokenizer": _tokenizer,
    "value lock": _digests,
}
