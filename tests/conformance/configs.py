"""A tiny config of every family, with the fields of published ones.

Sizes differ wherever a family allows it, so that swapped axes show; epsilons, caps and
limits are chosen so that omitting one shows.
"""

from typing import Any

VOCAB = 61
WINDOW = 5


def _base(model_type: str, class_name: str, **fields: Any) -> dict[str, Any]:
    shared = {"model_type": model_type, "architectures": [class_name], "vocab_size": VOCAB}
    return shared | fields | {"torch_dtype": "float32"}


def _like_llama(model_type: str, class_name: str, **changes: Any) -> dict[str, Any]:
    fields = {
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-3,
        "rope_theta": 100.0,
        "tie_word_embeddings": False,
    }
    return _base(model_type, class_name, **(fields | changes))


YARN = {
    "type": "yarn",
    "factor": 4.0,
    "beta_fast": 2,
    "beta_slow": 1,
    "original_max_position_embeddings": 64,
}
MIXED_YARN = YARN | {"mscale": 0.707, "mscale_all_dim": 1.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
GPT2 = _base(
    "gpt2",
    "GPT2LMHeadModel",
    n_embd=32,
    n_layer=2,
    n_head=4,
    n_positions=24,
    n_ctx=24,
    activation_function="gelu_new",
    layer_norm_epsilon=1e-3,
)
LLAMA = _like_llama("llama", "LlamaForCausalLM")
MISTRAL = _like_llama("mistral", "MistralForCausalLM", sliding_window=WINDOW)
MIXTRAL = _like_llama(
    "mixtral",
    "MixtralForCausalLM",
    num_local_experts=4,
    num_experts_per_tok=2,
    sliding_window=None,
)
DEEPSEEK = {
    "num_hidden_layers": 3,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 12,
    "q_lora_rank": 12,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 8,
    "v_head_dim": 10,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "attention_bias": False,
}
V2 = _like_llama(
    "deepseek_v2",
    "DeepseekV2ForCausalLM",
    **DEEPSEEK,
    n_shared_experts=2,
    n_group=1,
    topk_group=1,
    topk_method="greedy",
    scoring_func="softmax",
    norm_topk_prob=False,
    routed_scaling_factor=1.0,
)
V3 = _like_llama(
    "deepseek_v3",
    "DeepseekV3ForCausalLM",
    **DEEPSEEK,
    n_shared_experts=1,
    n_group=4,
    topk_group=2,
    topk_method="noaux_tc",
    scoring_func="sigmoid",
    norm_topk_prob=True,
    routed_scaling_factor=2.5,
)
QWEN2 = _like_llama("qwen2", "Qwen2ForCausalLM", use_sliding_window=False)
QWEN3 = _like_llama("qwen3", "Qwen3ForCausalLM", head_dim=12, attention_bias=False)
QWEN3_MOE = _like_llama(
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    head_dim=12,
    moe_intermediate_size=12,
    num_experts=8,
    num_experts_per_tok=3,
    decoder_sparse_step=1,
    mlp_only_layers=[],
    norm_topk_prob=True,
)
GEMMA = _like_llama(
    "gemma",
    "GemmaForCausalLM",
    hidden_act="gelu",
    num_key_value_heads=1,
    head_dim=12,
    rms_norm_eps=1e-2,
    tie_word_embeddings=True,
)
GEMMA2 = _like_llama(
    "gemma2",
    "Gemma2ForCausalLM",
    hidden_activation="gelu_pytorch_tanh",
    head_dim=12,
    num_hidden_layers=4,
    query_pre_attn_scalar=9,
    sliding_window=WINDOW,
    attn_logit_softcapping=1.5,
    final_logit_softcapping=2.0,
    tie_word_embeddings=True,
)
GEMMA3 = _like_llama(
    "gemma3_text",
    "Gemma3ForCausalLM",
    hidden_activation="gelu_pytorch_tanh",
    head_dim=12,
    num_hidden_layers=7,
    query_pre_attn_scalar=9,
    sliding_window=WINDOW,
    rope_theta=1000.0,
    rope_local_base_freq=50.0,
    tie_word_embeddings=True,
)
PHI3 = _like_llama(
    "phi3",
    "Phi3ForCausalLM",
    hidden_size=64,
    original_max_position_embeddings=64,
    sliding_window=None,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)
LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0, 1.1, 1.3, 1.6],
    "long_factor": [1.2, 2.0, 3.5, 6.0],
}
NEOX = _base(
    "gpt_neox",
    "GPTNeoXForCausalLM",
    hidden_size=48,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=3,
    hidden_act="gelu",
    max_position_embeddings=64,
    rotary_pct=0.25,
    rotary_emb_base=100,
    layer_norm_eps=1e-3,
    use_parallel_residual=True,
    attention_bias=True,
    tie_word_embeddings=False,
)
OLMO = _like_llama("olmo", "OlmoForCausalLM", tie_word_embeddings=True, pad_token_id=1)
del OLMO["rms_norm_eps"]
OLMO2 = _like_llama("olmo2", "Olmo2ForCausalLM", pad_token_id=1)
OLMOE = _like_llama(
    "olmoe",
    "OlmoeForCausalLM",
    intermediate_size=12,
    num_experts=8,
    num_experts_per_tok=3,
    norm_topk_prob=False,
    pad_token_id=1,
)
GPT_OSS = _like_llama(
    "gpt_oss",
    "GptOssForCausalLM",
    intermediate_size=20,
    num_hidden_layers=4,
    head_dim=12,
    num_local_experts=4,
    num_experts_per_tok=2,
    experts_per_token=2,
    attention_bias=True,
    sliding_window=WINDOW,
    swiglu_limit=7.0,
    rope_scaling={"rope_type": "yarn", "truncate": False} | YARN,
)
BERT = _base(
    "bert",
    "BertModel",
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    hidden_act="gelu",
    max_position_embeddings=24,
    type_vocab_size=2,
    layer_norm_eps=1e-3,
    position_embedding_type="absolute",
    pad_token_id=0,
)
ROBERTA = BERT | {
    "model_type": "roberta",
    "architectures": ["RobertaModel"],
    "type_vocab_size": 1,
    "pad_token_id": 1,
}
DISTILBERT = _base(
    "distilbert",
    "DistilBertModel",
    dim=32,
    hidden_dim=40,
    n_layers=2,
    n_heads=4,
    activation="gelu",
    max_position_embeddings=24,
    sinusoidal_pos_embds=False,
    pad_token_id=0,
)
VIT = {
    "model_type": "vit",
    "architectures": ["ViTModel"],
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_act": "gelu",
    "image_size": 12,
    "patch_size": 4,
    "num_channels": 3,
    "qkv_bias": True,
    "layer_norm_eps": 1e-3,
    "torch_dtype": "float32",
}
GROK = {
    "model_type": "grok-1",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "widening_factor": 3,
    "intermediate_size": 64,
    "vocab_size": VOCAB,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "attn_output_multiplier": 2.0,
    "embedding_multiplier_scale": 3.0,
    "output_multiplier_scale": 0.5,
}
STABLELM = _base(
    "stablelm",
    "StableLmForCausalLM",
    hidden_size=64,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    hidden_act="silu",
    max_position_embeddings=64,
    rope_theta=100.0,
    partial_rotary_factor=0.25,
    layer_norm_eps=1e-3,
    use_qkv_bias=False,
    qk_layernorm=False,
    use_parallel_residual=False,
    tie_word_embeddings=False,
)
PHI = _base(
    "phi",
    "PhiForCausalLM",
    hidden_size=64,
    intermediate_size=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    hidden_act="gelu_new",
    max_position_embeddings=64,
    rope_theta=100.0,
    partial_rotary_factor=0.5,
    qk_layernorm=False,
    layer_norm_eps=1e-3,
    tie_word_embeddings=False,
)
OPT = _base(
    "opt",
    "OPTForCausalLM",
    hidden_size=32,
    ffn_dim=40,
    num_hidden_layers=2,
    num_attention_heads=4,
    activation_function="relu",
    max_position_embeddings=24,
    do_layer_norm_before=True,
    word_embed_proj_dim=32,
    enable_bias=True,
    layer_norm_elementwise_affine=True,
    tie_word_embeddings=True,
    pad_token_id=1,
)
GPTJ = _base(
    "gptj",
    "GPTJForCausalLM",
    n_embd=32,
    n_layer=2,
    n_head=4,
    n_positions=64,
    rotary_dim=4,
    n_inner=None,
    activation_function="gelu_new",
    layer_norm_epsilon=1e-3,
    tie_word_embeddings=False,
)
