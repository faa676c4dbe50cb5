"""What transformers counts: each class of each family, each setting, the fields it reads.

`python -m tests.conformance.counts` writes tests/data/reference; needs torch and
transformers (the stored figures: 2.13 and 5.23.0). Models are built on the meta device.
A setting is null where transformers refuses it.
"""

import copy
import gzip
import inspect
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.conformance import configs

__all__ = [
    "BASES",
    "FOLDER",
    "LABELS",
    "SETTINGS",
    "changed",
    "classes",
    "fields",
    "settings",
]

FOLDER = Path(__file__).parents[1] / "data" / "reference"
LABELS = {str(index): f"label {index}" for index in range(5)}
BASES: dict[str, dict[str, Any]] = {}
for _value in vars(configs).values():
    if isinstance(_value, dict) and _value.get("model_type", "grok-1") != "grok-1":
        BASES.setdefault(_value["model_type"], _value)
_YARN = {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 32}
_MROPE = {"type": "mrope", "mrope_section": [1, 1, 2]}
_FLAGS = (
    "attention_bias mlp_bias qkv_bias use_qkv_bias use_bias bias add_bias_linear "
    "add_qkv_bias attention_out_bias lm_head_bias tie_word_embeddings qk_layernorm "
    "qk_norm use_qk_norm use_parallel_residual parallel_attn multi_query enable_bias "
    "layer_norm_elementwise_affine do_layer_norm_before _remove_final_layer_norm "
    "add_cross_attention is_decoder alibi use_alibi use_bidirectional_attention "
    "is_causal use_sliding_window sinusoidal_pos_embds summary_use_proj "
    "use_mask_token new_decoder_architecture router_bias add_pooling_layer "
    "norm_topk_prob scale_attn_by_inverse_layer_idx"
)

# every field of some family that decides shapes, and what other families' code ignores
SETTINGS: dict[str, tuple] = {
    **dict.fromkeys(_FLAGS.split(), (True, False)),
    "hidden_act": ("gelu", "relu2", "gelu_10", "leaky_relu", "mish", "laplace", "prelu"),
    "activation_function": ("relu", "gelu_10"),
    "activation": ("relu", "mish"),
    "hidden_activation": ("gelu", "mish"),
    "head_dim": (8, 12, 16),
    "num_key_value_heads": (1, 2, 4),
    "num_hidden_layers": (3,),
    "intermediate_size": (44,),
    "n_inner": (50, None),
    "ffn_dim": (44,),
    "word_embed_proj_dim": (16,),
    "embedding_size": (16,),
    "max_position_embeddings": (30, 64),
    "n_positions": (30,),
    "type_vocab_size": (1, 3),
    "pooler_output_size": (20,),
    "pooler_act": ("relu",),
    "num_channels": (1,),
    "rotary_dim": (8,),
    "rotary_pct": (0.5, 1.0),
    "partial_rotary_factor": (0.25, 1.0),
    "position_embedding_type": ("relative_key", "rotary", "alibi"),
    "layer_types": ("full_attention", "sliding_attention"),
    "sliding_window": (7, None),
    "max_window_layers": (1,),
    "rope_scaling": (
        {"type": "linear", "factor": 2.0},
        {"type": "dynamic", "factor": 2.0},
        _YARN,
        configs.LLAMA3,
        _MROPE,
    ),
    "attn_implementation": ("eager",),
    "final_logit_softcapping": (5.0, None),
    "attn_logit_softcapping": (5.0, None),
    "clip_qkv": (8.0,),
    "swiglu_alpha": (1.0,),
    "mlp_only_layers": ([0], [1]),
    "decoder_sparse_step": (2,),
    "num_experts": (4, 8),
    "num_local_experts": (4, 8),
    "n_shared_experts": (1, 2),
    "shared_expert_intermediate_size": (12,),
    "moe_intermediate_size": (16,),
    "first_k_dense_replace": (0, 2),
    "moe_layer_freq": (2,),
    "q_lora_rank": (None, 8),
    "kv_lora_rank": (12,),
    "topk_method": ("greedy", "noaux_tc"),
    "scoring_func": ("softmax", "sigmoid"),
    "num_nextn_predict_layers": (1,),
    "hidden_size_per_layer_input": (16,),
    "vocab_size_per_layer_input": (16,),
    "num_labels": (5,),
    "pretraining_tp": (2,),
    "ffn_hidden_size": (44,),
    "kv_channels": (16,),
    "n_head_kv": (1,),
}


def changed(model_type: str) -> dict[str, dict[str, Any]]:
    """Return a family's config with each setting changed, and with each field left out."""
    base = BASES[model_type]
    layers = base.get("num_hidden_layers") or base.get("n_layer") or base.get("n_layers")
    found = {}
    for name, values in SETTINGS.items():
        for value in values:
            each = [value] * layers if name == "layer_types" else value
            found[f"{name}={json.dumps(value)}"] = base | {name: each}
        if name in base:
            found[f"{name} left out"] = {k: v for k, v in base.items() if k != name}
    return copy.deepcopy(found)


def _build(config: dict[str, Any]) -> Any:
    import torch
    import transformers

    left_out = ("architectures", "torch_dtype")
    fields = {name: value for name, value in config.items() if name not in left_out}
    kept = transformers.AutoConfig.for_model(**copy.deepcopy(fields))
    with torch.device("meta"):
        model = getattr(transformers, config["architectures"][0])(kept)
    model.tie_weights()
    return model


def _count(config: dict[str, Any]) -> int | None:
    try:
        return sum(each.numel() for each in _build(config).parameters())
    except Exception:  # whatever it raises, it refuses the config
        return None


def _class_names(model_type: str) -> list[str]:
    import transformers

    kind = type(transformers.AutoConfig.for_model(model_type))
    source = inspect.getmodule(kind).__name__  # pyright: ignore[reportOptionalMemberAccess]
    module = import_module(source.replace("configuration_", "modeling_"))
    base = transformers.PreTrainedModel
    found = [name for name in module.__all__ if issubclass(getattr(module, name), base)]
    return [name for name in found if not name.endswith("PreTrainedModel")]


def classes() -> dict[str, dict[str, Any]]:
    """Return each class's parameters, and its tensors outside the layers."""
    found: dict[str, dict[str, Any]] = {}
    for model_type, base in BASES.items():
        for name in _class_names(model_type):
            config = base | {"architectures": [name], "id2label": LABELS}
            if name.startswith("DistilBertForQ"):  # it insists on two
                del config["id2label"]
            if _count(config) is None:
                continue
            named = dict(_build(config).named_parameters())
            found.setdefault(model_type, {})[name] = {
                "parameters": sum(each.numel() for each in named.values()),
                "tensors": {
                    key: list(each.shape)
                    for key, each in named.items()
                    if not re.search(r"\.\d+\.", key)
                },
            }
    return found


def fields() -> dict[str, list[str]]:
    """Return the fields that each family's config class has and its modelling code reads."""
    import transformers

    found = {}
    for model_type in BASES:
        kind = type(transformers.AutoConfig.for_model(model_type))
        source = Path(inspect.getfile(kind))
        modelling = source.with_name(source.name.replace("configuration_", "modeling_"))
        text = source.read_text("utf-8") + modelling.read_text("utf-8")
        read = set(re.findall(r"config\.([a-z_0-9]+)", text))
        read.update(re.findall(r'getattr\((?:self\.)?config, "([a-z_0-9]+)"', text))
        general = vars(transformers.PretrainedConfig())
        names = kind.attribute_map  # second names of fields
        found[model_type] = sorted({*read, *vars(kind), *names, *names.values(), *general})
    return found


def settings() -> dict[str, dict[str, int | None]]:
    """Return each family's parameters with each setting changed."""
    return {
        model_type: {name: _count(config) for name, config in changed(model_type).items()}
        for model_type in BASES
    }


def _write(name: str, content: Any) -> None:
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps(content, sort_keys=True).encode()
    (FOLDER / f"{name}.json.gz").write_bytes(gzip.compress(text, mtime=0))


if __name__ == "__main__":
    _write("classes", classes())
    _write("settings", settings())
    _write("fields", fields())
