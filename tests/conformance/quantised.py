"""What bitsandbytes makes of small matrices, and what other libraries read of explorer's files.

Run where they are installed, without JAX:

    python -m tests.conformance.quantised make tests/data/quantisation/bitsandbytes.npz
    python -m tests.conformance.quantised read FOLDER OUT.npz

`make` writes the goldens of tests/transforms/quantisation/test_bitsandbytes.py (bitsandbytes 0.50.2
on CPU); `read` loads a folder with transformers and writes the weights that its layers stand for.
"""

import sys
from typing import Any

import numpy as np

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


if __name__ == "__main__":
    verb, *paths = sys.argv[1:]
    result = goldens() if verb == "make" else weights_of(paths[0])
    np.savez_compressed(paths[-1], **result)  # pyright: ignore[reportArgumentType]
