"""The names that Flax, NNX, Haiku, Equinox, Keras, PyTorch, T5X, MaxText and GGUF use.

Data only, for explorer.roles.names. Names of leaves are exact, apart from a number at the end
("gamma_1", "b2"). Names of modules are in snake case without "_0" ("DenseReluDense_0" is
dense_relu_dense).
"""

from typing import Literal

from explorer.inventory.tensor import Component, Role
from explorer.paths import name_set

__all__ = [
    "FACTORS",
    "LEAVES",
    "MODULES",
    "PAIRS",
    "POSITIONS",
    "PROJECTIONS",
    "ROOTS",
    "TABLES",
    "WEAK",
    "WORDS",
    "WRAPPERS",
    "Tag",
]

# What follows from a module's name: a component, the block that holds router and experts, or
# the part of such a block that every token passes through.
Tag = Component | Literal["moe", "shared"]


# ---- leaves -> role; `weight` and `w` depend on their module and shape
LEAVES: dict[Role, str] = {
    "bias": """bias biases b beta offset bias_n bias_ih bias_hh bias_ih_l bias_hh_l
        b_in b_out b_Q b_K b_V b_O b_U""",
    "scale": """scale gamma g weight_g A_log D ssm_a ssm_d alpha lambda negative_slope
        layerscale layer_scale_parameter temperature ia3_l vera_lambda_b vera_lambda_d
        attn_gate ff_gate cross_attn_attn_gate cross_attn_mlp_gate""",
    "embedding": """embedding embeddings cls probe rel_embedding rel_pos_h rel_pos_w
        relative_attention_bias relative_position_bias_table W_E W_pos""",
    "kernel": "kernel recurrent_kernel depthwise_kernel pointwise_kernel weight_v",
    # keys and values that are learned, and factors of rotary frequencies
    "other": """sinks attn_sinks bias_k bias_v rope_freqs rope_factors_long
        rope_factors_short""",
}
# the factors of a low-rank adapter
FACTORS = name_set("lora_a lora_b lora_embedding_a lora_embedding_b")
# a table whose name has one of these words, and not bias, has a row for each position
POSITIONS = name_set("pe wpe pos position positions positional")
# modules whose weight is a table although embedding is not in their name
TABLES = name_set("relative_attention_bias attn_rel_b")
# an embedding with one of these words is a projection (patches, factorised tables)
PROJECTIONS = name_set("patch proj project projection mapping")

# ---- modules -> component: the full name
MODULES: dict[Tag, str] = {
    "head": """lm_head lm_heads generator_lm_head embed_out logits logits_dense logits_ffn
        to_logits output_layer vocab_projector predictions lm_loss reverse_embeddings
        shared_head_head""",
    "router": """ffn_gate_inp ffn_gate_inp_shexp shared_expert_gate exp_probs_b
        e_score_correction_bias""",
    "moe": "moe moe_block block_sparse_moe",
    "shared": "shared_expert shared_experts",
    "embedding": """token_types cls_token class_token dist_token mask_token query_tokens
        distillation_token reg_token reg_tokens register_tokens storage_tokens latents""",
    "attention": """rel_embedding rel_pos_h rel_pos_w relative_position_bias_table
        relative_bias_table cpb_mlp continuous_position_bias_mlp""",
    "mlp": "dense_relu_dense token_mixing channel_mixing",
    "other": "time_embed time_embedding timestep_embedder time_emb_proj emb_layers",
}
# ---- modules -> component: one word of the name, the first match decides; "*" is any prefix
WORDS: tuple[tuple[Tag, str], ...] = (
    ("head", "unembed unembedding"),
    ("norm", "*norm norms normalization ln bn gn"),  # kv_a_layernorm, pre_layrnorm
    ("router", "router"),
    ("experts", "expert experts exps"),
    ("attention", "rotary rope"),
    ("embedding", "embed embedding embeddings embedder embd emb wte wpe"),
    ("attention", "*attention attentions *attn att mha"),
    ("mlp", "mlp ffn ff feed feedforward"),
)
# ---- (parent, module) -> component; "" is the root
PAIRS: dict[tuple[str, str], Tag] = {
    ("", "output"): "head",
    ("", "proj_out"): "head",
    ("", "shared"): "embedding",
    ("transformer", "ff_out"): "head",
    ("shared_head", "head"): "head",
    ("lm_head", "dense"): "other",
    ("predictions", "dense"): "other",
    ("predictions", "transform"): "other",
    ("layer", "output"): "mlp",
}
# ---- modules that decide only if no module around them does
WEAK: dict[Tag, str] = {
    "attention": "query key value wq wk wv q_proj k_proj v_proj o_proj qkv_proj",
    "mlp": "fc1 fc2 linear1 linear2 gate_proj up_proj down_proj intermediate",
}
# wrappers, which are ignored
WRAPPERS = FACTORS | name_set("default base_layer modules_to_save")
# outermost modules that are the entire model
ROOTS = name_set("params model module orig_mod base_model language_model")
