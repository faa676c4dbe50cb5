"""Peak memory of commands that write a file larger than memory should hold: quantize and prune.

    python -m benchmarks.streamed_memory [--gb 20] [--folder /tmp]

A Llama of random shapes is written as a sparse safetensors file of float32 zeros, quantised to Q8_0
and pruned 2:4, each in a process of its own. The result of prune is as large as the source: see that
the disk has room for both.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL = 1.5  # GB
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4096,
    "intermediate_size": 11008, "num_attention_heads": 32, "num_key_value_heads": 32,
    "vocab_size": 32000, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False, "torch_dtype": "float32",
}  # fmt: skip


def shapes_of(layers: int) -> dict[str, list[int]]:
    """Return the tensors of a Llama by name."""
    width, inner, rows = (
        CONFIG[k] for k in ("hidden_size", "intermediate_size", "vocab_size")
    )
    found = {"model.embed_tokens.weight": [rows, width], "lm_head.weight": [rows, width],
             "model.norm.weight": [width]}  # fmt: skip
    for number in range(layers):
        stem = f"model.layers.{number}."
        for name in "qkvo":
            found[f"{stem}self_attn.{name}_proj.weight"] = [width, width]
        for name in ("gate", "up"):
            found[f"{stem}mlp.{name}_proj.weight"] = [inner, width]
        found[f"{stem}mlp.down_proj.weight"] = [width, inner]
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"{stem}{name}.weight"] = [width]
    return found


def write_sparse(folder: Path, size: float) -> int:
    """Write a model of about so many GB that takes no room on the disk; return its bytes."""
    layer = 4 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    layers = max(1, round((size * 1e9 - 2 * 4 * 32000 * 4096) / layer))
    header, at = {}, 0
    for name, shape in shapes_of(layers).items():
        count = 4
        for each in shape:
            count *= each
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + count]}
        at += count
    raw = json.dumps(header).encode()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": layers}))
    with open(folder / "model.safetensors", "wb") as out:
        out.write(len(raw).to_bytes(8, "little") + raw)
        out.truncate(8 + len(raw) + at)
    return at


def peak(words: list[str]) -> tuple[float, float]:
    """Return the peak memory of a command in GB, and its seconds."""
    program = (
        "import resource, subprocess, sys; "
        "code = subprocess.call([sys.executable, '-m', 'explorer', *sys.argv[1:]], "
        "stdout=subprocess.DEVNULL); "
        "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    code, kilobytes = done.stdout.split()
    if code != "0":
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    return int(kilobytes) * 1024 / 1e9, time.perf_counter() - start


def main() -> None:
    """Print the peak of each command beside the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=20.0, help="size of the source")
    parser.add_argument("--folder", default=None, help="where files are written")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        size = write_sparse(folder / "model", given.gb)
        for words in (
            ["quantize", f"{folder}/model", "--to", "Q8_0", "-o", f"{folder}/model.gguf"],
            ["prune", f"{folder}/model", "--pattern", "2:4", "-o", f"{folder}/pruned"],
        ):
            found, seconds = peak(words)
            verdict = "met" if found <= GOAL else "missed"
            print(
                f"{words[0]:9} {size / 1e9:.1f} GB: peak {found:.2f} GB, goal {GOAL} GB "
                f"({verdict}), {seconds:.0f} s, {size / 1e9 / seconds:.2f} GB/s"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
