"""Gemma-3-270m pruned to half of its weights: losses on real text, by method and pattern.

python benchmarks/prune_gemma.py FILE.gguf [TOKENS]

The text is this project's own documentation: some pages to calibrate on, others to measure the
mean negative log-likelihood of a token. Published for LLaMA-2 (perplexities, locuslab/wanda):
Wanda and SparseGPT lose less than magnitude at 50%, and much less at 2:4.
"""

import sys
import time
from pathlib import Path

import numpy as np
from gguf import GGUFReader

import explorer as ex
from explorer.pretrained.pieces import encode_pieces, vocabulary_of

_ROOT = Path(__file__).parents[1]
_CALIBRATION = ("docs/architecture.md", "docs/command.md", "docs/counting.md")
_MEASURED = ("README.md", "docs/training.md")
_LENGTH, _SEQUENCES = 256, 4


def main(path: str, tokens: int = 1024) -> None:
    """Print the loss of the model, and of each way to prune it."""
    model, params = ex.load_pretrained(path)
    calibration = _tokens(path, _CALIBRATION)[: tokens // _LENGTH]
    measured = _tokens(path, _MEASURED)[:_SEQUENCES]
    evaluator = ex.Evaluator(model, measured)
    print(f"{calibration.size:,} tokens to calibrate on, {measured.size:,} to measure")
    print(f"{'':22}  loss    seconds  same top token  zeros")
    for pattern in ("0.5", "2:4"):
        for method in ("magnitude", "wanda", "sparsegpt"):
            start = time.perf_counter()
            pruned, change = ex.prune(
                params, pattern, method, model=model, data=[*calibration[:, None]]
            )
            seconds = time.perf_counter() - start
            found = evaluator.compare(params, pruned)
            if (pattern, method) == ("0.5", "magnitude"):
                print(f"{'dense':22}  {found.loss_before:.4f}")
            name = f"{pattern} {method}"
            print(
                f"{name:22}  {found.loss_after:.4f}  {seconds:7.1f}  {found.agreement:14.1%}"
                f"  {change.zeros:,}",
                flush=True,
            )


def _tokens(path: str, files: tuple[str, ...]) -> np.ndarray:
    """Return the text of some files as sequences of tokens, by the model's own vocabulary."""
    fields = GGUFReader(path).fields.items()
    pairs = {key: field.contents() for key, field in fields if key.startswith("tokenizer")}
    vocabulary = vocabulary_of(pairs)
    assert vocabulary is not None
    text = "\n\n".join((_ROOT / name).read_text() for name in files)
    ids = encode_pieces(text, vocabulary)
    number = len(ids) // _LENGTH
    return np.asarray(ids[: number * _LENGTH], np.int32).reshape(number, _LENGTH)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
