"""What the authors' code for SparseGPT and GPTQ makes of one small kernel, as goldens.

    python -m tests.conformance.calibrated FOLDER

FOLDER holds `sparsegpt.py` of locuslab/wanda (lib/) and `gptq.py` with `quantizer.py` of AutoGPTQ
(auto_gptq/quantization/; its relative import made absolute). It needs PyTorch; `transformers` is
replaced by a stand-in, as only classes of layers are asked of it.
"""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["PATH", "layer_of"]

PATH = Path(__file__).parents[1] / "data/goldens/calibrated.npz"
OUTPUTS, INPUTS, TOKENS = 8, 256, 512


def layer_of() -> tuple[np.ndarray, np.ndarray]:
    """Return a kernel [out, in] and the sums of products of correlated inputs, exact in float32."""
    rng = np.random.default_rng(15)
    x = rng.integers(-3, 4, (TOKENS, INPUTS))
    for shift in (1, 3):
        x[:, shift:] += x[:, :-shift]
    x[:, 7] = 0  # an input that is never seen
    x[:, 11] *= 3
    weight = rng.normal(size=(OUTPUTS, INPUTS), scale=0.05).astype(np.float32)
    weight[:, 7] /= 16  # nor decides a scale
    return weight, (x.T @ x).astype(np.float32)


def main(folder: str) -> None:
    """Write the goldens."""
    import torch

    sys.path.insert(0, folder)
    stand_in: Any = ModuleType("transformers")
    stand_in.Conv1D = type("Conv1D", (), {})
    stand_in.pytorch_utils = SimpleNamespace(Conv1D=stand_in.Conv1D)
    sys.modules["transformers"] = stand_in
    torch.cuda.synchronize = lambda *args: None  # pyright: ignore[reportAttributeAccessIssue]
    from gptq import GPTQ  # pyright: ignore[reportMissingImports]
    from sparsegpt import SparseGPT  # pyright: ignore[reportMissingImports]

    weight, hessian = layer_of()

    def made(kind: Any) -> Any:
        layer = torch.nn.Linear(INPUTS, OUTPUTS, bias=False)
        layer.weight.data = torch.tensor(weight)
        found = kind(layer)
        found.H = torch.tensor(hessian)
        found.nsamples = 1
        return found

    goldens: dict[str, np.ndarray] = {}
    block = OUTPUTS * 128
    # the code prunes one entry of a block more than int(entries * share)
    for name, settings in {
        "0.5": {"sparsity": (block // 2 - 0.5) / block},
        "2:4": {"sparsity": 0, "prune_n": 2, "prune_m": 4},
    }.items():
        found = made(SparseGPT)
        found.fasterprune(**settings)
        goldens[f"sparsegpt_{name}"] = found.layer.weight.data.numpy()
    for name, symmetric, settings in (
        ("groups", False, {"group_size": 128}),
        ("act_order", False, {"group_size": 128, "actorder": True}),
        ("channel", False, {}),
        ("symmetric", True, {"group_size": 128, "actorder": True}),
    ):
        found = made(GPTQ)
        found.quantizer.configure(4, perchannel=True, sym=symmetric)
        scales, zeros, groups = found.fasterquant(**settings)
        goldens |= {
            f"gptq_{name}_scales": scales.numpy(),
            f"gptq_{name}_zeros": zeros.numpy(),
            f"gptq_{name}_groups": groups.numpy(),
            f"gptq_{name}_values": found.layer.weight.data.numpy(),
        }
    np.savez_compressed(PATH, **goldens)  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    main(sys.argv[1])
