"""How many parameters a published architecture has, in closed form from its config.

Written from the papers' descriptions, layer by layer, as sums of products: an oracle that
shares no code with explorer.
"""

from typing import Any, NamedTuple

__all__ = ["Parts", "parts_of"]

Config = dict[str, Any]


class Parts(NamedTuple):
    """Parameters in all, in routed experts, in the input embedding, in an untied head."""

    total: int
    routed: int
    experts: int
    chosen: int
    embedding: int
    head: int

    @property
    def active(self) -> int:
        """Parameters of one token's pass, embedding and head included."""
        return self.total - self.routed + self.routed * self.chosen // self.experts


def parts_of(config: Config) -> Parts:
    """Return the counts of a config of a catalogued family."""
    family = config["model_type"]
    if family in _WHOLE:
        return Parts(_WHOLE[family](config), 0, 1, 1, 0, 0)
    if family in ("deepseek_v2", "deepseek_v3", "kimi_k2"):
        return _deepseek(config)
    return _decoder(config)


def _decoder(c: Config) -> Parts:
    """Grouped attention without biases, a gated network or experts, RMS norms; and who differs."""
    family, width = c["model_type"], c["hidden_size"]
    heads = c["num_attention_heads"]
    head_size = c.get("head_dim") or width // heads
    queries, keys = heads * head_size, c["num_key_value_heads"] * head_size
    attention = 2 * width * queries + 2 * width * keys
    if family in ("qwen2", "stablelm"):
        attention += queries + 2 * keys
    if family == "gpt_oss":  # biases, and one sink a head
        attention += queries + 2 * keys + width + heads
    norms = {"gemma2": 4, "gemma3_text": 4, "grok-1": 4, "stablelm": 4, "olmo": 0}.get(
        family, 2
    )
    gains = norms * width
    if family in ("qwen3", "qwen3_moe", "gemma3_text"):
        gains += 2 * head_size
    if family in ("olmo2", "olmoe"):
        gains += queries + keys
    last = {"olmo": 0, "stablelm": 2 * width}.get(family, width)

    experts = c.get("num_local_experts") or c.get("num_experts") or 1
    expert = 3 * width * c.get("moe_intermediate_size", c["intermediate_size"])
    router = width * experts if experts > 1 else 0
    if family == "gpt_oss":
        expert += 2 * c["intermediate_size"] + width
        router += experts
    layers = c["num_hidden_layers"]
    embedding = c["vocab_size"] * width
    head = 0 if c["tie_word_embeddings"] else embedding
    total = (
        layers * (attention + gains + router + experts * expert) + last + embedding + head
    )
    routed = layers * experts * expert if experts > 1 else 0
    return Parts(total, routed, experts, c.get("num_experts_per_tok", 1), embedding, head)


def _deepseek(c: Config) -> Parts:
    """Latent attention; the first layers dense, then shared and routed experts."""
    width, heads = c["hidden_size"], c["num_attention_heads"]
    query = heads * (c["qk_nope_head_dim"] + c["qk_rope_head_dim"])
    if rank := c["q_lora_rank"]:
        queries = width * rank + rank + rank * query
    else:
        queries = width * query
    latent = c["kv_lora_rank"]
    keys = width * (latent + c["qk_rope_head_dim"]) + latent
    values = latent * heads * (c["qk_nope_head_dim"] + c["v_head_dim"])
    attention = queries + keys + values + heads * c["v_head_dim"] * width

    layers, dense = c["num_hidden_layers"], c["first_k_dense_replace"]
    experts, expert = c["n_routed_experts"], 3 * width * c["moe_intermediate_size"]
    sparse = (layers - dense) * (width * experts + c["n_shared_experts"] * expert)
    routed = (layers - dense) * experts * expert
    embedding = c["vocab_size"] * width
    total = layers * (attention + 2 * width) + dense * 3 * width * c["intermediate_size"]
    total += sparse + routed + width + 2 * embedding
    return Parts(total, routed, experts, c["num_experts_per_tok"], embedding, embedding)


def _block(width: int, inner: int) -> int:
    """Four projections and two layers with biases, two norms: the transformer of 2017."""
    return 4 * (width * width + width) + 2 * width * inner + inner + width + 4 * width


def _gpt2(c: Config) -> int:
    width = c["n_embd"]
    blocks = c["n_layer"] * _block(width, 4 * width)
    return (c["vocab_size"] + c["n_positions"]) * width + blocks + 2 * width


def _gptj(c: Config) -> int:
    width = c["n_embd"]
    block = 12 * width * width + 5 * width + 2 * width  # one norm, attention has no biases
    head = c["vocab_size"] * (width + 1)
    return c["vocab_size"] * width + c["n_layer"] * block + 2 * width + head


def _gpt_neox(c: Config) -> int:
    width = c["hidden_size"]
    blocks = c["num_hidden_layers"] * _block(width, c["intermediate_size"])
    return 2 * c["vocab_size"] * width + blocks + 2 * width


def _phi(c: Config) -> int:
    width = c["hidden_size"]
    block = _block(width, c["intermediate_size"]) - 2 * width  # one norm for both halves
    head = c["vocab_size"] * (width + 1)
    return c["vocab_size"] * width + c["num_hidden_layers"] * block + 2 * width + head


def _opt(c: Config) -> int:
    width = c["hidden_size"]
    tables = (c["vocab_size"] + c["max_position_embeddings"] + 2) * width  # offset of two
    return tables + c["num_hidden_layers"] * _block(width, c["ffn_dim"]) + 2 * width


def _bert(c: Config) -> int:
    width = c["hidden_size"]
    rows = c["vocab_size"] + c["max_position_embeddings"] + c["type_vocab_size"]
    total = rows * width + 2 * width
    total += c["num_hidden_layers"] * _block(width, c["intermediate_size"])
    pooler = width * width + width
    language = width * width + width + 2 * width + c["vocab_size"]
    sentence = 2 * width + 2
    return (
        total
        + {
            "BertModel": pooler,
            "BertForMaskedLM": language,
            "BertForPreTraining": pooler + language + sentence,
            "RobertaForMaskedLM": language,
        }[c["architectures"][0]]
    )


def _distilbert(c: Config) -> int:
    width = c["dim"]
    total = (c["vocab_size"] + c["max_position_embeddings"]) * width + 2 * width
    total += c["n_layers"] * _block(width, c["hidden_dim"])
    return total + width * width + width + 2 * width + c["vocab_size"]


def _vit(c: Config) -> int:
    width, side = c["hidden_size"], c["patch_size"]
    places = (c["image_size"] // side) ** 2 + 1  # the class token has one too
    total = width + places * width + c["num_channels"] * side * side * width + width
    total += c["num_hidden_layers"] * _block(width, c["intermediate_size"]) + 2 * width
    if c["architectures"] == ["ViTModel"]:
        return total + width * width + width
    return total + c["num_labels"] * (width + 1)


_WHOLE = {
    "bert": _bert,
    "distilbert": _distilbert,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
    "gptj": _gptj,
    "opt": _opt,
    "phi": _phi,
    "roberta": _bert,
    "vit": _vit,
}
