"""nf4 and int8 of a 134 MB matrix, there and back, beside bitsandbytes and torchao on the same cores.

    python benchmarks/quantise.py PYTHON

PYTHON is the interpreter of an environment with the peers:
`pip install torch==2.13.0 bitsandbytes==0.50.2 torchao==0.18.0`. Both take turns, and each figure is
the best of its turns; compiling is left out. bitsandbytes' bytes are compared with explorer's.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from benchmarks.timing import best_call
from explorer.transforms.quantisation.quantized import Quantized

SHAPE = (4096, 8192)
TURNS = 3
SCHEMES = {"nf4": "nf4", "nf4:double": "nf4:double", "int8": "int8", "int8wo": "int8wo"}
_PEERS = """
import hashlib, json, sys, time, warnings
import numpy as np, torch
warnings.simplefilter("ignore")
import bitsandbytes.functional as bnb
from torchao.quantization.quant_primitives import (
    MappingType, choose_qparams_affine, dequantize_affine, quantize_affine)
x = torch.from_numpy(np.load(sys.argv[1]))
def best(call):
    times = []
    for _ in range(3):
        start = time.perf_counter(); call(); times.append(time.perf_counter() - start)
    return min(times)
found = {}
for name, double in (("nf4", False), ("nf4:double", True)):
    quantise = lambda: bnb.quantize_4bit(x, quant_type="nf4", compress_statistics=double)
    values, state = quantise()
    digest = hashlib.sha256(values.numpy().tobytes()).hexdigest()
    found[name] = best(quantise), best(lambda: bnb.dequantize_4bit(values, state)), digest
int8 = torch.ops.bitsandbytes.int8_vectorwise_quant
values, scales, _ = int8(x)
digest = hashlib.sha256(values.numpy().tobytes()).hexdigest()
back = torch.ops.bitsandbytes.int8_vectorwise_dequant
found["int8"] = best(lambda: int8(x)), best(lambda: back(values, scales)), digest
block = (1, x.shape[1])
def torchao():
    scale, zero = choose_qparams_affine(
        x, MappingType.SYMMETRIC, block, torch.int8, eps=torch.finfo(torch.float32).eps)
    return quantize_affine(x, block, scale, zero, torch.int8), scale, zero
values, scale, zero = torchao()
back = lambda: dequantize_affine(values, block, scale, zero, torch.int8)
found["int8wo"] = best(torchao), best(back), ""
print(json.dumps(found))
"""


def ours(weights: np.ndarray) -> dict[str, tuple[float, float, str]]:
    """Return the seconds that each scheme takes there and back, and a digest of its values."""
    found = {}
    for name, scheme in SCHEMES.items():
        tensor = Quantized.of(weights, scheme)
        device = jax.device_put(tensor)
        decode = jax.jit(lambda tensor: tensor.dequantize())
        decode(device).block_until_ready()
        digest = hashlib.sha256(np.asarray(tensor.values).tobytes()).hexdigest()
        there = best_call(lambda scheme=scheme: Quantized.of(weights, scheme))
        back = best_call(lambda d=decode, q=device: d(q).block_until_ready())
        found[name] = there, back, digest
    return found


def main(python: str) -> None:
    """Print seconds and ratios."""
    weights = np.random.default_rng(0).normal(0, 0.02, SHAPE).astype(np.float32)
    mine: list[dict] = []
    theirs: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npy"
        np.save(path, weights)
        for _ in range(TURNS):
            mine.append(ours(weights))
            command = [python, "-c", _PEERS, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            theirs.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{weights.nbytes / 1e6:.0f} MB of float32, seconds: explorer, peer, ratio")
    for name in SCHEMES:
        peer = "torchao" if name == "int8wo" else "bitsandbytes"
        for index, word in enumerate(("encode", "decode")):
            a, b = (min(turn[name][index] for turn in side) for side in (mine, theirs))
            print(f"{name:11} {word}  {a:6.3f}  {b:6.3f}  {b / a:5.1f}x  {peer}")
        if theirs[0][name][2]:
            same = mine[0][name][2] == theirs[0][name][2]
            print(f"{name:11} bytes   {'equal' if same else 'DIFFER'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
