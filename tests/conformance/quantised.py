"""What bitsandbytes makes of small matrices, and what other libraries read of explorer's files.

    python -m tests.conformance.quantised write FOLDER     with explorer: a model in each scheme
    python -m tests.conformance.quantised check FOLDER     with transformers and the libraries
    python -m tests.conformance.quantised make tests/data/quantisation/bitsandbytes.npz

`check` loads each folder with transformers, which asks bitsandbytes and compressed-tensors, and
compares the weights that its layers stand for. `make` writes the goldens of
tests/transforms/quantisation/test_bitsandbytes.py (bitsandbytes 0.50.2 on CPU).
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

# what transformers opens on a CPU; a scheme's own numbers, to bfloat16
SCHEMES = (
    "nf4", "nf4:double", "fp4", "int8", "int8:asym", "int8:tensor", "int4:g32", "int4:asym:g32",
    "int4:channel", "fp8", "fp8:channel",
)  # fmt: skip
_CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 64, "hidden_size": 128,
    "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "torch_dtype": "bfloat16",
}  # fmt: skip
_LIMIT = 2**-7  # of the largest weight: two roundings to bfloat16

CASES = ("nf4", "fp4", "nf4:double", "fp4:double", "nf4:g128")


def matrices() -> dict[str, np.ndarray]:
    """Return small matrices: usual, odd, with a rest of a block, heavy-tailed, hostile."""
    rng = np.random.default_rng(0)
    ones = np.ones(256)
    hostile = [
        0 * ones,
        3 * ones,
        1e-30 * ones,
        1e30 * ones,
        np.where(np.arange(256) % 2, -0.0, 1e-5),
        np.arange(256) == 0,
    ]
    found = {
        "usual": rng.normal(0, 0.02, (24, 320)),
        "odd": rng.normal(0, 0.02, (7, 13)),
        "rest": rng.normal(0, 0.02, (5, 100)),
        "heavy": rng.standard_t(2, (20, 260)),
        "hostile": np.stack(hostile),
    }
    return {name: matrix.astype(np.float32) for name, matrix in found.items()}


def goldens() -> dict[str, np.ndarray]:
    """Return what bitsandbytes stores of each matrix, and what it reads back."""
    import bitsandbytes.functional as bnb
    import torch

    found: dict[str, np.ndarray] = {}
    for name, matrix in matrices().items():
        found[name] = matrix
        for case in CASES:
            values, state = bnb.quantize_4bit(
                torch.tensor(matrix),
                quant_type=case[:3],
                compress_statistics="double" in case,
                blocksize=128 if "g128" in case else 64,
            )
            key = f"{name} {case}"
            found[f"{key} values"] = values.numpy().reshape(-1)
            found[f"{key} scales"] = state.absmax.numpy()
            if state.nested:
                found[f"{key} nested_scales"] = state.state2.absmax.numpy()
                found[f"{key} offset"] = np.array([state.offset.item()], np.float32)
                found["table"] = state.state2.code.numpy()
            else:
                # as one row: its C code takes blocks that cross rows wrongly
                state.shape = torch.Size([matrix.size])
                weights = bnb.dequantize_4bit(values, state).numpy()
                found[f"{key} weights"] = weights.reshape(matrix.shape)
        values, scales, _ = bnb.int8_vectorwise_quant(torch.tensor(matrix))
        found[f"{name} int8 values"] = values.numpy()
        found[f"{name} int8 scales"] = scales.numpy()
    return found


def weights_of(folder: str) -> dict[str, np.ndarray]:
    """Return the weights of the linear layers of a folder, as transformers reads it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils.quantization_config import CompressedTensorsConfig

    said: Any = getattr(AutoConfig.from_pretrained(folder), "quantization_config", {})
    options: dict[str, Any] = {"dtype": torch.bfloat16}
    if said.get("quant_method") == "compressed-tensors":
        options["quantization_config"] = CompressedTensorsConfig(run_compressed=False)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    found = {}
    for name, module in model.named_modules():
        width = getattr(module, "in_features", None)
        if width is not None:
            with torch.no_grad():
                rows = module(torch.eye(width, dtype=torch.bfloat16)).float()
            found[f"{name}.weight"] = rows.T.contiguous().numpy()
    return found


def write(folder: Path) -> int:
    """Write a folder for each scheme from a tree, and the weights it stands for; return 0."""
    import jax
    import jax.numpy as jnp

    import explorer as ex

    model = ex.build_model(_CONFIG)
    params = model.init(jax.random.key(0), jnp.zeros((1, 4), int))["params"]
    params = jax.tree.map(lambda leaf: leaf.astype("bfloat16"), params)
    for scheme in SCHEMES:
        tree, _ = ex.quantize(params, scheme)
        ex.save(tree, folder / scheme, config=_CONFIG)
        tensors = ex.to_checkpoint(ex.dequantize(tree), _CONFIG)
        plain = {name: np.asarray(array, np.float32) for name, array in tensors.items()}
        np.savez(folder / f"{scheme}.npz", **plain)  # pyright: ignore[reportArgumentType]
    return 0


def check(folder: Path) -> int:
    """Print a line for each scheme; return 1 if weights differ, else 0."""
    wrong = 0
    for scheme in SCHEMES:
        written = np.load(folder / f"{scheme}.npz")
        found = weights_of(str(folder / scheme))
        gaps = [
            float(np.abs(found[name] - written[name]).max() / np.abs(written[name]).max())
            for name in found
            if name in written and not name.startswith("lm_head")
        ]
        is_wrong = len(gaps) != 14 or not max(gaps) <= _LIMIT
        print(
            f"{scheme:16} {len(gaps)} layers, {max(gaps):.1e}{'  DIFFERS' if is_wrong else ''}"
        )
        wrong |= is_wrong
    return int(wrong)


if __name__ == "__main__":
    verb, place = sys.argv[1:]
    if verb == "make":
        np.savez_compressed(place, **goldens())  # pyright: ignore[reportArgumentType]
    else:
        sys.exit({"write": write, "check": check}[verb](Path(place)))
