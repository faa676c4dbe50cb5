"""Low-rank adapters beside frozen kernels: made, applied, merged, extracted, read and written.

An adapter of a kernel W [inputs, outputs] is A [inputs, rank] and B [rank, outputs]; the kernel
in effect is W + scale A B, and with DoRA's magnitude m its columns have the norms m.

    add_lora(params, rank, targets) -> adapters      A is drawn, B is zero: nothing changes yet
    apply_lora(params, adapters) -> params           inside a loss; gradients to adapters alone
    merge_lora(params, adapters) -> params           for good, in float32
    extract_lora(tuned, base, rank) -> adapters      by singular values
    read_peft(folder), write_peft(folder, ...)       the files of huggingface/peft

References:
    Hu et al., LoRA (2021); Kalajdzievski, rsLoRA (2023); Liu et al., DoRA (2024);
    Dettmers et al., QLoRA (2023).
"""
