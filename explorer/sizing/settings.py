"""What is asked for: a workload, adapters, a variation of the model. Frozen records."""

import msgspec

__all__ = ["Lora", "Variation", "Workload"]


class Lora(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Low-rank adapters: trained beside frozen kernels.

    Attributes:
        rank: rows of A, columns of B.
        targets: names of projections ("q", "v", "q_proj") or a group: "attention", "mlp", "all".
        dtype: of the adapters.
        dora: whether each adapted kernel learns its magnitudes too.
        save: modules outside the layers whose copies are trained whole ("classifier",
            "lm_head"): peft's modules_to_save.

    >>> Lora(rank=16).targets
    ('q', 'v')
    """

    rank: int
    targets: tuple[str, ...] = ("q", "v")
    dtype: str = "float32"
    dora: bool = False
    save: tuple[str, ...] = ()


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model is to do: one frozen record of settings.

    Attributes:
        context: tokens of one sequence; None for 4,096 or all positions, the fewer.
        batch: sequences at a time (of one micro-batch in training).
        parallel: slots that share llama.cpp's context.
        prompt: tokens of a prompt that are computed at once; None for the engine's own.
        dtype: of the parameters; None for that of the published weights or of the file.
        kv_dtype: of the cache, or of its keys and values ("q8_0/q4_0"); None for `dtype` or
            the engine's own.
        swa_full: whether layers with a window keep every token (llama.cpp's --swa-full,
            vllm without its hybrid cache manager); None for the engine's own.
        kv_unified: whether llama.cpp's slots share one cache (--kv-unified).
        expand_latent: whether latent attention keeps the keys and values of each head.
        quantize: a scheme for the weights: "Q4_K_M", "nf4", "int4:g128", "fp8", ...
        engine: whose rules the cache follows: "jax", "llama.cpp", "vllm" or "sglang".
        train: whether the model is trained.
        optimizer: a name ("adamw"); an optax transformation is given beside the workload.
        master: dtype of copies of the trained parameters that the optimizer updates; None
            for none, as where the parameters themselves are float32.
        compute_dtype: of activations in training; None for that of the parameters, and for
            bfloat16 where the plan itself chose float32 for them.
        lora: adapters; the model below is frozen.
        remat: what is computed again in the backward pass: "none", "selective" or "full".
        accumulate: micro-batches a step.
        mesh: sizes of the mesh axes "data", "fsdp", "tensor", "expert", "sequence".
        zero: stage of ZeRO over the data axis, 0 to 3.
        compile: whether the real program is compiled, for exact figures instead of estimates.
        topology: layout of the TPU slice that it is compiled for ("4x4").
        tokens: tokens to train on, or to generate, for times and cost.
        price: dollars per device and hour.

    >>> Workload(context=8192, engine="llama.cpp").batch
    1
    """

    context: int | None = None
    batch: int = 1
    parallel: int = 1
    prompt: int | None = None
    dtype: str | None = None
    kv_dtype: str | None = None
    swa_full: bool | None = None
    kv_unified: bool = False
    expand_latent: bool = False
    quantize: str | None = None
    engine: str = "jax"
    train: bool = False
    optimizer: str = "adamw"
    master: str | None = None
    compute_dtype: str | None = None
    lora: Lora | None = None
    remat: str = "none"
    accumulate: int = 1
    mesh: dict[str, int] = {}
    zero: int = 0
    compile: bool = False
    topology: str | None = None
    tokens: int | None = None
    price: float | None = None


class Variation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What if: changes of a model before it is planned. They compose.

    Attributes:
        layers: this many blocks: the first ones, or the last stage repeated.
        vocab: rows of the table of tokens and outputs of the head.
        experts: routed experts of each mixture.
        untie: a head of its own, where it is the table of tokens.
        prune: kernels of the layers pruned: a share ("0.5") or n of m kept ("2:4"), and
            after a colon how they are stored: "dense" (the default), "bitmask" or "csr".

    >>> Variation(layers=16, untie=True)
    Variation(layers=16, vocab=None, experts=None, untie=True, prune=None)
    """

    layers: int | None = None
    vocab: int | None = None
    experts: int | None = None
    untie: bool = False
    prune: str | None = None
