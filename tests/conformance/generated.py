"""What transformers continues prompts with, with its cache: tests/data/goldens/generated.npz.

    python -m tests.conformance.generated

Needs torch and transformers (the file: 2.14 and 5.24.0). Tiny random models of every causal
family, prompts of unequal lengths padded on the left, longer in the end than the windows. The
filters of logits are transformers' own, one after the other as `generate` has them.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.conformance.cases import CASES, Case, inputs_of
from tests.conformance.configs import VOCAB
from tests.conformance.weights import weights_of

__all__ = ["FILTERS", "LENGTHS", "NEW", "causal_cases", "logits_of_filters", "prompts_of"]

FILE = Path(__file__).parents[1] / "data" / "goldens" / "generated.npz"
NEW = 8
LENGTHS = (9, 4, 7)
FILTERS: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.7},
    "top_k": {"temperature": 1.0, "top_k": 5},
    "top_p": {"temperature": 1.3, "top_p": 0.8},
    "min_p": {"temperature": 0.9, "min_p": 0.2},
    "penalty": {"temperature": 1.0, "repetition_penalty": 1.4},
    "all": {
        "temperature": 0.8, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.2,
    },
}  # fmt: skip


def causal_cases() -> list[Case]:
    """Return the cases that transformers continues: all with a causal head but Grok-1's."""
    encoders = ("bert", "roberta", "distilbert", "vit", "grok-1")
    return [
        case
        for case in CASES
        if case.model_type not in encoders and case.name != "llama_headless"
    ]


def prompts_of(case: Case) -> list[list[int]]:
    """Return three prompts of unequal lengths."""
    rows = inputs_of(case)["input_ids"]
    random = np.random.RandomState(len(case.name))
    drawn = random.randint(3, VOCAB, rows.shape)
    return [drawn[row, :length].tolist() for row, length in enumerate(LENGTHS)]


def logits_of_filters() -> tuple[np.ndarray, np.ndarray]:
    """Return logits [4, 200], and the tokens that were seen [4, 6]."""
    random = np.random.RandomState(5)
    logits = (3 * random.standard_normal((4, 200))).astype(np.float32)
    return logits, random.randint(0, 200, (4, 6))


def _continued(case: Case) -> dict[str, np.ndarray]:
    import torch
    import transformers
    from safetensors.numpy import load_file, save_file

    model_class = getattr(transformers, case.config["architectures"][0])
    kind = case.reference_type or case.model_type
    text = json.dumps(case.config | {"model_type": kind})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(text, encoding="utf-8")
        config = transformers.AutoConfig.from_pretrained(folder)
        model_class(config).save_pretrained(folder)
        file = folder / "model.safetensors"
        shapes = {key: array.shape for key, array in load_file(file).items()}
        (folder / "config.json").write_text(text, encoding="utf-8")
        weights = weights_of(shapes, case.model_type)
        weights = {key: array.astype(np.float32) for key, array in weights.items()}
        save_file(weights, file, metadata={"format": "pt"})
        model = model_class.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32
        ).eval()
    prompts = prompts_of(case)
    longest = max(map(len, prompts))
    ids, mask = np.zeros((2, len(prompts), longest), np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :], mask[row, longest - len(prompt) :] = prompt, 1
    settings = transformers.GenerationConfig(
        max_new_tokens=NEW, do_sample=False, pad_token_id=0, use_cache=True,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    model.generation_config = settings
    found = model.generate(
        torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        generation_config=settings,
    )
    return {
        "tokens": found.sequences[:, longest:].numpy().astype(np.int8),
        "logits": torch.stack(found.logits, 1).numpy().astype(np.float32),
    }


def _filtered(settings: dict[str, Any]) -> np.ndarray:
    import torch
    from transformers.generation import logits_process as process

    logits, seen = logits_of_filters()
    scores, ids = torch.from_numpy(logits), torch.from_numpy(seen)
    for name, kind in (
        ("repetition_penalty", process.RepetitionPenaltyLogitsProcessor),
        ("temperature", process.TemperatureLogitsWarper),
        ("top_k", process.TopKLogitsWarper),
        ("top_p", process.TopPLogitsWarper),
        ("min_p", process.MinPLogitsWarper),
    ):
        if name in settings:
            scores = kind(settings[name])(ids, scores)
    return scores.numpy()


def main() -> None:
    """Write the file."""
    found = {f"filters/{name}": _filtered(each) for name, each in FILTERS.items()}
    for case in causal_cases():
        for name, array in _continued(case).items():
            found[f"{case.name}/{name}"] = array
        print(case.name, found[f"{case.name}/tokens"].tolist(), flush=True)
    with FILE.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **found)


if __name__ == "__main__":
    main()
