"""GPT-2 124M on a GPU: tokens a second and model FLOPs utilisation, against torch.compile.

bfloat16 with float32 master parameters, sequences of 1024, AdamW, and the largest batch that
fits, found by halving. The sides are explorer's step with JAX's default attention, the same
with cuDNN's, and a torch.compile GPT-2 that does the same work from the same weights, each in
a process of its own, one after the other, because each fills the memory. PyTorch with CUDA may
be installed in another environment (name its interpreter as an argument or in TORCH_PYTHON).

The FLOPs of a token follow Chowdhery et al. 2022 (PaLM, appendix B): 6 for each parameter that
multiplies, here all but the positions, and 12 x layers x width x length for attention, without
a reduction for the causal mask and without recomputation.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch_gpt import MISSING, Config, explorer_run, has_torch, torch_run

GPT2 = {
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
}
TINY = GPT2 | {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 32, "vocab_size": 96}
# Dense bfloat16 peaks in TFLOP/s, from the vendors' data sheets, without sparsity,
# gathered in github.com/stas00/ml-engineering (compute/accelerator) and in torchtitan's
# get_peak_flops; the first pattern found in the device's name decides.
PEAKS = (
    (r"\bB200\b", 2250.0),
    (r"\bH200\b", 989.0),
    (r"\bH100 PCIe\b", 756.0),
    (r"\bH100\b", 989.4),
    (r"\bA100\b", 312.0),
    (r"\bL4\b", 121.0),
    (r"\bRTX 4090\b", 165.2),
    (r"\bRTX 3090\b", 71.2),
    (r"\bMI300X\b", 1307.4),
)
TITLES = {
    "xla": "explorer, JAX's default attention",
    "cudnn": "explorer, cuDNN's attention",
    "torch": "PyTorch, torch.compile",
}
ENVIRONMENT = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95"} | os.environ
NO_MEMORY = 3  # the exit code of a process that ran out of memory


class Found(NamedTuple):
    """The batch of a side, its median seconds a step, its parameters and first losses."""

    batch: int
    seconds: float
    size: int
    losses: list[float]


def peak_of(device: str) -> float | None:
    """Return a device's peak in FLOP/s, None if it is not in the table."""
    fits = (peak for pattern, peak in PEAKS if re.search(pattern, device, re.IGNORECASE))
    peak = next(fits, None)
    return None if peak is None else peak * 1e12


def flops_of_token(config: Config, size: int) -> int:
    """Return the model's FLOPs for one token, forward and backward."""
    length, width = config["n_positions"], config["n_embd"]
    return 6 * (size - length * width) + 12 * config["n_layer"] * width * length


def made(side: str, tiny: bool, file: Path) -> tuple[Callable[[Any], Any], Any, Any, int]:
    """Return a side's step, functions that place a batch and await a loss, its parameters."""
    config = TINY if tiny else GPT2
    if side != "torch":
        import jax

        model = {"implementation": side}
        run, weights = explorer_run(config, dtype=jax.numpy.bfloat16, model=model)
        np.savez(file, **weights)  # pyright: ignore[reportArgumentType]
        size = sum(each.size for each in weights.values())
        return run, jax.numpy.asarray, jax.block_until_ready, size
    import torch  # pyright: ignore[reportMissingImports]

    device = "cpu" if tiny else "cuda"
    weights = dict(np.load(file))
    run, size = torch_run(config, weights, compiled=True, device=device, bfloat16=True)

    def place(batch: np.ndarray) -> Any:
        return torch.tensor(batch, dtype=torch.int64, device=device)

    return run, place, float, size  # to read a loss is to wait for it


def work(side: str, batch: int, tiny: bool, file: Path) -> None:
    """Run one side with one batch size and print what was measured."""
    run, place, wait, size = made(side, tiny, file)
    config = TINY if tiny else GPT2
    shape = (2, batch, config["n_positions"] + 1)
    drawn = np.random.default_rng(0).integers(0, config["vocab_size"], shape, np.int32)
    batches = [place(each) for each in drawn]
    losses = [float(run(batches[number % 2])) for number in range(6)]
    times = []
    count = 2 if tiny else 10
    for _ in range(5):
        start = time.perf_counter()
        for number in range(count - 1):
            run(batches[number % 2])
        wait(run(batches[1]))
        times.append((time.perf_counter() - start) / count)
    print(json.dumps(Found(batch, statistics.median(times), size, losses)))


def tried(python: str, side: str, batch: int, tiny: bool, file: Path) -> Found | None:
    """Return what a process of a side measures, None if it ran out of memory."""
    words = [python, __file__, "--side", side, "--batch", str(batch), "--file", str(file)]
    done = subprocess.run(
        words + ["--tiny"] * tiny,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    if done.returncode == NO_MEMORY:
        return None
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-2000:])
    return Found(*json.loads(done.stdout.splitlines()[-1]))


def largest(python: str, side: str, batch: int, tiny: bool, file: Path) -> Found:
    """Return what is measured with the largest batch that fits."""
    while batch >= 1:
        found = tried(python, side, batch, tiny, file)
        if found is not None:
            return found
        batch //= 2
    raise RuntimeError("not even one sequence fits")


def device() -> tuple[str, str, int]:
    """Return platform, name and bytes of the device, queried in a process of its own."""
    program = (
        "import jax, json; d = jax.devices()[0]; print(json.dumps([jax.default_backend(), "
        "d.device_kind, (d.memory_stats() or {}).get('bytes_limit', 0)]))"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    platform, name, memory = json.loads(done.stdout.splitlines()[-1])
    return platform, name, memory


def out_of_memory(error: Exception) -> bool:
    """Return whether an error of JAX or PyTorch says that memory ran out."""
    text = f"{type(error).__name__}: {error}"
    return any(word in text for word in ("RESOURCE_EXHAUSTED", "OutOfMemoryError"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("TORCH_PYTHON", sys.executable)
    parser.add_argument("python", nargs="?", default=default, help="with PyTorch and CUDA")
    parser.add_argument("--tiny", action="store_true", help="a small model, on any device")
    parser.add_argument("--batch", type=int, default=0, help="the first one tried")
    parser.add_argument("--side", choices=list(TITLES), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        try:
            work(options.side, options.batch, options.tiny, options.file)
        except Exception as error:
            if out_of_memory(error):
                sys.exit(NO_MEMORY)
            raise
        return
    platform, name, memory = device()
    if platform != "gpu" and not options.tiny:
        print(
            f"No GPU here (JAX sees {platform}): nothing measured; --tiny runs on any device"
        )
        return
    with tempfile.TemporaryDirectory() as folder:
        options.file = Path(folder) / "weights.npz"
        compare(options, platform, name, memory)


def compare(options: argparse.Namespace, platform: str, name: str, memory: int) -> None:
    """Measure all sides and print the results."""
    config = TINY if options.tiny else GPT2
    # a sequence takes more than 0.4 GB, so this power of two is too large
    batch = options.batch or (
        4 if options.tiny else 2 ** (memory // 400_000_000).bit_length()
    )
    sides = [side for side in TITLES if side != "cudnn" or platform == "gpu"]
    if not has_torch(options.python):
        print(MISSING)
        sides.remove("torch")
    print(f"{name}, sequences of {config['n_positions']}, bfloat16 with float32 masters")
    speeds: dict[str, float] = {}
    for side in sides:
        python = options.python if side == "torch" else sys.executable
        try:
            found = largest(python, side, batch, options.tiny, options.file)
        except RuntimeError as error:
            print(f"  {TITLES[side]:38}failed: {str(error).splitlines()[-1]}")
            continue
        speeds[side] = found.batch * config["n_positions"] / found.seconds
        flops = speeds[side] * flops_of_token(config, found.size)
        peak = peak_of(name)
        share = (
            f"{flops / peak:.1%} of {peak / 1e12:,.0f}" if peak else "of an unknown peak"
        )
        print(
            f"  {TITLES[side]:38}batch {found.batch:>4}{speeds[side]:>12,.0f} tokens/s"
            f"{flops / 1e12:>8.2f} TFLOP/s, {share} (goal: 50%); {found.size:,} parameters, "
            f"loss {found.losses[0]:.3f} to {found.losses[-1]:.3f}",
            flush=True,
        )
    ours = [speed for side, speed in speeds.items() if side != "torch"]
    if ours and "torch" in speeds:
        ratio = max(ours) / speeds["torch"]
        print(f"  explorer at its best / torch.compile: {ratio:.2f} (goal: over 1)")


if __name__ == "__main__":
    main()
