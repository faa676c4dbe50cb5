"""A folder as published ones are: tiny random weights, config.json and tokenizer.json."""

import json
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import explorer as ex
from tests.models.tiny import CONFIGS, model_of

__all__ = ["WORDS", "write"]

_SPECIAL = ["<pad>", "<s>", "</s>"]
WORDS = [f"word{number}" for number in range(3, 61)]


def write(folder: Path, name: str = "llama", **changes: Any) -> Path:
    """Write a model of a case, and a tokenizer of a word a token.

    Args:
        folder: that is made.
        name: of the case.
        **changes: of its config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIGS[name] | changes
    _, variables = model_of(name, changes=changes)
    save_file(ex.to_checkpoint(variables["params"], config), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 2}))
    words = {word: number for number, word in enumerate([*_SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(_SPECIAL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
