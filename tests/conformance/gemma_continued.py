"""What transformers does with the Gemma file: its continuations and its tokens of texts.

    python -m tests.conformance.gemma_continued GEMMA_GGUF

Writes tests/data/goldens/real/gemma_continued.json. The reference reads the GGUF file itself, its
weights dequantised and its vocabulary turned into a tokenizer. Needs torch, transformers,
accelerate and gguf.
"""

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["FILE", "NEW", "PROMPTS", "TEXTS"]

FILE = Path(__file__).parents[1] / "data" / "goldens" / "real" / "gemma_continued.json"
NEW = 48
PROMPTS = ("The capital of France is", "The")
TEXTS = (
    *PROMPTS,
    "Hello, world!",
    "  two  spaces and   three\n\n\nlines\tand a tab",
    "def f(x):\n    return x**2  # square\n",
    "Größe, naïve café — 東京タワー 🦊👩‍👩‍👧",
    "<start_of_turn>user\nHi<end_of_turn>\n<bos>",
    "1234567 3.14 1,000,000",
    " leading",
    "a\u0300 combining \u200b zero",
    "<h1>html</h1><unused7>x",
    "ℵ𐍈 𝔘nicode \ufeff",
)


def main(path: Path) -> None:
    """Write the file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    continued: list[list[int]] = []
    for prompt in PROMPTS:
        ids: Any = torch.tensor([tokenizer(prompt).input_ids])
        found = model.generate(
            ids, max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0
        )
        continued.append(found[0, ids.shape[1] :].tolist())
    tokens = [tokenizer(text).input_ids for text in TEXTS]
    FILE.write_text(json.dumps({"continued": continued, "tokens": tokens}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
