"""The names of arrays that are not parameters, in the libraries that write them. Data only."""

__all__ = ["CORRECTION", "IN_CONTEXT", "KINDS", "LEAVES", "OWNERS", "ROOTS", "State"]

# the collection of an array, and what such arrays are (a plural for notes)
State = tuple[str, str]
Table = tuple[tuple[str, str, str], ...]

# DeepSeek-V3's, which balances its experts and is set, not learned
CORRECTION = "e_score_correction_bias"
# collection, what such arrays are, their exact last names
LEAVES: Table = (
    ("buffers", "causal masks", "causal_mask tril"),
    ("buffers", "mask fill values", "masked_bias"),
    ("buffers", "attention masks", "attn_mask attention_mask"),
    ("buffers", "pruning masks", "weight_mask bias_mask"),
    ("buffers", "rotary frequencies", "inv_freq original_inv_freq"),
    (
        "buffers",
        "rotary tables",
        "cos_cached sin_cached cos_sin_cache _cos_cached _sin_cached",
    ),
    ("buffers", "rotary tables", "freqs_cis freqs_cos freqs_sin"),
    ("buffers", "position ids", "position_ids"),
    ("buffers", "token type ids", "token_type_ids"),
    ("buffers", "batch counters", "num_batches_tracked"),
    ("batch_stats", "running statistics", "running_mean running_var"),
    ("batch_stats", "running statistics", "moving_mean moving_variance moving_var"),
    ("buffers", "router correction biases", f"{CORRECTION} exp_probs_b"),
    ("buffers", "relative position indices", "relative_position_index"),
    ("buffers", "relative coordinate tables", "relative_coords_table"),
    ("buffers", "logit biases", "final_logits_bias"),
    ("buffers", "noise schedules", "alphas_cumprod alphas_cumprod_prev betas lvlb_weights"),
    ("buffers", "noise schedules", "sqrt_alphas_cumprod sqrt_one_minus_alphas_cumprod"),
    ("buffers", "noise schedules", "log_one_minus_alphas_cumprod posterior_variance"),
    ("buffers", "noise schedules", "sqrt_recip_alphas_cumprod sqrt_recipm1_alphas_cumprod"),
    ("buffers", "noise schedules", "posterior_log_variance_clipped posterior_mean_coef1"),
    ("buffers", "noise schedules", "posterior_mean_coef2"),
    ("rng_state", "random state", "seed_generator_state"),
    ("opt_state", "optimizer state", "exp_avg exp_avg_sq max_exp_avg_sq momentum_buffer"),
    ("buffers", "sinusoidal tables", "pos_table _float_tensor inv_timescales timescales"),
    ("buffers", "sinusoidal tables", "pos_idx_to_embed"),
    ("buffers", "attention slopes", "alibi alibi_slopes"),
    ("buffers", "random Fourier features", "positional_encoding_gaussian_matrix"),
    ("buffers", "frequency bands", "freq_bands"),
    ("buffers", "noise levels", "sigmas log_sigmas"),
    ("buffers", "anchor boxes", "anchors anchor_grid"),
    ("buffers", "input statistics", "pixel_mean pixel_std image_mean image_std"),
    ("buffers", "input statistics", "input_mean input_std norm_mean norm_std"),
    ("buffers", "input statistics", "data_mean data_std channel_mean channel_std"),
    ("buffers", "input statistics", "mel_stats global_mean global_invstd"),
    ("buffers", "scales of sampling points", "n_points_scale num_points_scale"),
    ("buffers", "decays of attention", "query_decay key_decay diagonal_decay slope_rate"),
    ("buffers", "statistics of latents", "latent_mean latent_std"),
    # I-BERT keeps its layers a second time, as integers
    ("quantization", "quantised copies of layers", "weight_integer bias_integer"),
    (
        "quantization",
        "scaling factors",
        "weight_scaling_factor fc_scaling_factor act_scaling_factor",
    ),
    ("buffers", "masks of outputs", "output_mask"),  # e3nn's linear layers
    ("buffers", "reference energies of atoms", "atomic_energies"),
    ("state", "values of metrics", "confmat"),
    ("buffers", "averages of latents", "w_avg latent_avg dlatent_avg magnitude_ema"),
    ("buffers", "blur kernels", "filt"),
    ("buffers", "fixed noises", "noise_const"),
    ("buffers", "class weights of a loss", "empty_weight"),
    ("buffers", "spectrogram filters", "mel_basis mel_filters forward_basis inverse_basis"),
    ("buffers", "spectrogram filters", "hann_window stft_window dct_mat window_sum mel_fb"),
)
RESAMPLERS = "upsample downsample lowpass resample blur up down"
OBSERVERS = "activation_post_process weight_fake_quant fake_quant observer"
# last names that mean it only inside a module with one of these words, in these ranks
IN_CONTEXT: tuple[tuple[str, str, str, str, tuple[int, ...]], ...] = (
    ("buffers", "rotary frequencies", "freqs inv_freqs theta alpha", "rope rotary", (1, 2)),
    (
        "buffers",
        "rotary tables",
        "cos sin cos_cache sin_cache freqs",
        "rope rotary",
        (2, 3, 4),
    ),
    ("buffers", "sinusoidal tables", "pe", "pos positional position pe", (2, 3)),
    ("buffers", "sinusoidal tables", "weights", "embed_positions", (2,)),
    ("buffers", "sinusoidal tables", "positional_embedding", "=encoder", (2,)),
    (
        "buffers",
        "spectrogram filters",
        "fb window",
        "mel stft spec spectrogram melspec",
        (1, 2),
    ),
    ("buffers", "strides of detection heads", "stride strides", "", (1, 2)),
    ("buffers", "versions", "version", "", (1,)),
    # DINO's running mean of what the teacher says
    ("buffers", "centers of losses", "center", "loss", (1, 2, 3)),
    # which balance the load of experts and are set, not learned: Megatron, LFM2
    ("buffers", "router correction biases", "expert_bias balancing_biases", "", (1,)),
    ("buffers", "power iteration vectors", "u sigma", "spectral", (0, 1, 2)),
    ("buffers", "scalars of layers", "layer_scalar", "", (1,)),
    (
        "buffers",
        "ranges of activations",
        "input_min input_max output_min output_max",
        "",
        (0,),
    ),
    ("buffers", "ranges of activations", "x_min x_max", "act activation", (1,)),
    ("buffers", "frequency bands", "freqs", "timestep_embeddings", (1,)),
    ("buffers", "Wigner 3j symbols", "_w3j", "", (3,)),
    ("buffers", "centers of distances", "offset", "expansion smearing", (1,)),
    ("buffers", "boxes of scenes", "aabb aabbs", "", (1, 2)),
    ("buffers", "occupancy of scenes", "occs density_grid", "", (1, 2)),
    ("buffers", "input statistics", "mean std", "", (3, 4)),
    ("buffers", "input statistics", "shift scale", "scaling_layer", (3, 4)),
    ("buffers", "random Fourier features", "W", "fourier", (1, 2)),
    (
        "buffers",
        "random Fourier features",
        "positional_embedding",
        "shared_image_embedding shared_embedding",
        (2,),
    ),
    ("buffers", "random Fourier features", "freqs", "map_noise map_layer_noise", (1,)),
    ("buffers", "rotary frequencies", "periods", "rope", (1,)),
    ("buffers", "rotary tables", "pos_embed pos_embed_sin pos_embed_cos", "=rope", (2,)),
    ("buffers", "rotary frequencies", "angle decay", "retnet_rel_pos", (1,)),
    ("buffers", "spectrogram filters", "window fb", "featurizer", (1, 2, 3)),
    ("buffers", "spectrogram filters", "weight", "conv_real conv_imag", (3,)),
    ("buffers", "spectrogram filters", "melW", "logmel_extractor", (2,)),
    ("buffers", "fixed noises", "noise", "noises", (2, 4)),
    ("buffers", "fixed bases of parametrizations", "base", "parametrizations", (2,)),
    ("buffers", "ranges of observers", "min_val max_val eps", OBSERVERS, (0, 1)),
    ("buffers", "quantisation parameters", "scale zero_point", OBSERVERS, (0, 1)),
    ("buffers", "queues of keys", "queue image_queue text_queue", "", (2,)),
    # Flax's own kernels have rank 2 as well, never of so few units
    ("buffers", "blur kernels", "kernel", "blur upsample downsample", (2,)),
    ("buffers", "resampling filters", "filter", RESAMPLERS, (2, 3, 4)),
    ("buffers", "resampling filters", "resample_filter blur_kernel", "", (2, 3, 4)),
    ("buffers", "resampling filters", "up_filter down_filter", "", (1, 2)),
)
# the same for the module that holds the array, and the one around it where that matters
OWNERS: Table = (
    ("buffers", "rotary frequencies", "rope_freqs"),
    ("buffers", "rotary factors", "rope_factors_long rope_factors_short"),
    ("buffers", "router correction biases", "exp_probs_b"),
    ("batch_stats", "running statistics", "mean_ema var_ema"),
    # a cross-attention has no positions to distinguish: T5's first files keep a table for
    # it that no later model reads
    (
        "unused",
        "cross-attention position tables",
        "EncDecAttention/relative_attention_bias",
    ),
    ("unused", "cross-attention position tables", "cross_attn_rel_b"),
)
# Flax's collections, by a path's first name
ROOTS: Table = (
    ("cache", "decoding caches", "cache"),
    ("intermediates", "sown intermediates", "intermediates"),
    ("rng_state", "random state", "rng rngs rng_state rng_key dropout_rng"),
    ("ema", "moving averages of parameters", "model_ema"),
    ("state", "fp8 scaling histories", "_overwrite_with_gradient"),
)
KINDS: dict[str, State] = {
    "int": ("buffers", "integer arrays"),
    "uint": ("buffers", "integer arrays"),
    "bool": ("buffers", "boolean arrays"),
    "key": ("rng_state", "random keys"),
    "text": ("buffers", "text arrays"),
}
