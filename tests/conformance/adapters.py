"""What huggingface/peft makes of tiny models: adapters, their merges, outputs and gradients.

    python -m tests.conformance.adapters           writes tests/data/adapters/MODEL.npz
    python -m tests.conformance.adapters load BASE ADAPTER OUT

The first needs torch, transformers and peft 0.21; the second prints what peft's model gives for
folders that explorer wrote: BASE a folder of transformers', ADAPTER one of adapters.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parents[1] / "data" / "adapters"
IDS = [[1, 5, 9, 2, 7, 3], [4, 4, 8, 0, 6, 11]]
MODELS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "bert": (
        {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": 24, "hidden_size": 16,
         "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
         "max_position_embeddings": 12, "type_vocab_size": 2},
        ["query", "value"],
    ),
    "llama": (
        {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 24,
         "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
         "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2},
        ["q_proj", "v_proj", "down_proj"],
    ),
    "gpt2": (
        {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 24, "n_embd": 16,
         "n_layer": 2, "n_head": 2, "n_positions": 12, "bos_token_id": 1, "eos_token_id": 2},
        ["c_attn", "c_proj"],
    ),
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
}


def base_model(name: str) -> Any:
    """Return the model of a config, its weights drawn from a seed."""
    import torch
    import transformers

    config, _ = MODELS[name]
    torch.manual_seed(0)
    kind = getattr(transformers, config["architectures"][0])
    loaded = kind(kind.config_class(**config)).eval()
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return loaded


def outputs(model: Any) -> Any:
    """Return logits, or hidden states of a model without a head."""
    import torch

    found = model(torch.tensor(IDS))
    return found.logits if "logits" in found else found.last_hidden_state


def adapted(name: str, variant: str) -> Any:
    """Return a model with adapters none of whose parts is zero."""
    import torch
    from peft import LoraConfig, get_peft_model

    more = dict(SETTINGS[variant])
    if name == "llama" and variant == "lora":
        more |= {"rank_pattern": {"layers.1.self_attn.q_proj": 2},
                 "alpha_pattern": {"down_proj": 3}, "modules_to_save": ["lm_head"]}  # fmt: skip
    config = LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=MODELS[name][1],
        fan_in_fan_out=name == "gpt2",
        **more,
    )
    model = get_peft_model(base_model(name), config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key or "modules_to_save" in key:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def make(name: str) -> dict[str, np.ndarray]:
    """Return all that is compared of a model, by key."""
    from safetensors.numpy import load_file

    base = base_model(name)
    found = {f"base/{key}": each.numpy() for key, each in base.state_dict().items()
             if key != "lm_head.weight" or name == "llama"}  # fmt: skip
    found["base_output"] = outputs(base).detach().numpy()
    for variant in SETTINGS:
        model = adapted(name, variant)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            config = json.loads((Path(folder) / "adapter_config.json").read_text())
            tensors = load_file(f"{folder}/adapter_model.safetensors")
        found[f"{variant}/config"] = np.frombuffer(json.dumps(config).encode(), np.uint8)
        found |= {f"{variant}/file/{key}": each for key, each in tensors.items()}
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        found[f"{variant}/counts"] = np.array(
            [trained, sum(p.numel() for p in model.parameters())]
        )
        output = outputs(model)
        output.square().mean().backward()
        found[f"{variant}/output"] = output.detach().numpy()
        for key, each in model.named_parameters():
            if each.grad is not None and "lora_" in key:
                plain = key.replace(".default", "").removeprefix("base_model.model.")
                found[f"{variant}/grad/{plain}"] = each.grad.numpy()
        merged = model.merge_and_unload()
        before = {key.removeprefix("base/"): each for key, each in found.items()}
        for key, each in merged.state_dict().items():
            if key in before and not np.array_equal(before[key], each.numpy()):
                found[f"{variant}/merged/{key}"] = each.numpy()
    return found


def load(base: str, adapter: str, out: str) -> None:
    """Write what peft's model of two folders gives."""
    import transformers
    from peft import PeftModel

    config = json.loads((Path(base) / "config.json").read_text())
    kind = getattr(transformers, config["architectures"][0])
    model = PeftModel.from_pretrained(kind.from_pretrained(base), adapter).eval()
    np.save(out, outputs(model).detach().numpy())


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        load(*sys.argv[2:5])
    else:
        FOLDER.mkdir(exist_ok=True)
        for each in MODELS:
            np.savez_compressed(FOLDER / f"{each}.npz", **make(each))  # pyright: ignore
