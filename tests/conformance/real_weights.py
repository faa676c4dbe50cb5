"""The reference's outputs for real weights: MiniLM's embeddings, Gemma's next tokens.

    python -m tests.conformance.real_weights MINILM_FOLDER GEMMA_GGUF

Writes tests/data/goldens/real/: outputs only, no weights. The reference reads and
dequantises the GGUF file itself. Needs torch, transformers and gguf.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, BertModel

from tests.conformance.sentences import SENTENCES, token_rows

_FOLDER = Path(__file__).parents[1] / "data" / "goldens" / "real"


def embeddings(folder: Path) -> np.ndarray:
    """Return the reference's sentence embeddings: mean of last hidden states, length 1."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(SENTENCES))
    ids = torch.tensor([each.ids for each in encoded])
    mask = torch.tensor([each.attention_mask for each in encoded])
    model = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        hidden = model(ids, attention_mask=mask).last_hidden_state
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean, dim=-1).numpy()


def next_tokens(path: Path) -> np.ndarray:
    """Return the reference's most likely next token at each position, [rows, length]."""
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        logits = model(torch.tensor(token_rows(model.config.vocab_size))).logits
    return logits.argmax(-1).numpy().astype(np.int32)


def main(minilm: str, gemma: str) -> None:
    """Write both outputs."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        _FOLDER / "minilm.npz", allow_pickle=False, embeddings=embeddings(Path(minilm))
    )
    np.savez_compressed(
        _FOLDER / "gemma.npz", allow_pickle=False, tokens=next_tokens(Path(gemma))
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
