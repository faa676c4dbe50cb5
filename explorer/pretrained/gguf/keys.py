"""Errors about a translated config, in terms of the GGUF metadata keys behind its fields."""

import re

from explorer.errors import InputError

__all__ = ["with_gguf_keys"]

_KEYS = {
    "hidden_size": "embedding_length",
    "n_embd": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "n_head": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "intermediate_size": "feed_forward_length",
    "moe_intermediate_size": "expert_feed_forward_length",
    "num_experts": "expert_count",
    "num_local_experts": "expert_count",
    "n_routed_experts": "expert_count",
    "n_shared_experts": "expert_shared_count",
    "num_experts_per_tok": "expert_used_count",
    "n_group": "expert_group_count",
    "topk_group": "expert_group_used_count",
    "first_k_dense_replace": "leading_dense_block_count",
    "qk_rope_head_dim": "rope.dimension_count",
    "max_position_embeddings": "context_length",
    "original_max_position_embeddings": "rope.scaling.original_context_length",
    "rope_theta": "rope.freq_base",
    "rope_scaling.factor": "rope.scaling.factor",
    "sliding_window": "attention.sliding_window",
}
_FIELD = re.compile(rf"\b({'|'.join(sorted(map(re.escape, _KEYS), reverse=True))})\b")


def with_gguf_keys(error: InputError, architecture: str) -> InputError:
    """Return an error about a translated config with the file's keys as field names.

    >>> print(with_gguf_keys(InputError("m.gguf", found="n_head is 0"), "gpt2"))
    m.gguf: gpt2.attention.head_count is 0
    """

    def keyed(text: str) -> str:
        return _FIELD.sub(lambda found: f"{architecture}.{_KEYS[found[0]]}", text)

    found, expected, cure = map(keyed, (error.found, error.expected, error.cure))
    return type(error)(error.place, found=found, expected=expected, cure=cure)
