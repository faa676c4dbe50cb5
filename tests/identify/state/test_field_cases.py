"""Files as people have them: what is not a parameter in each, and the count that is right.

Each is rebuilt from a public report or a published package; the reason stands beside it.
"""

from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from safetensors.numpy import save_file

import explorer as ex
from tests.formats.torch_bytes import tensor, write_zip, zeros


def write_zeros(path, shapes):
    """Write a file of float32 zeros by the reference library; return its path."""
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    save_file(tensors, path)
    return path


CASES = {
    # Meta's first Llama files keep rotary frequencies
    "rotary": (
        {
            "tok_embeddings.weight": (100, 64),
            "norm.weight": (64,),
            "output.weight": (100, 64),
            "rope.freqs": (8,),
            "layers.0.attention.wq.weight": (64, 64),
            "layers.0.attention.inner_attention.rope.freqs": (8,),
        },
        100 * 64 * 2 + 64 + 64 * 64,
    ),
    # PyTorch's tutorial registers `pe` as a buffer
    "tutorial": (
        {
            "pos_encoder.pe": (5000, 1, 200),
            "encoder.weight": (100, 200),
            "decoder.weight": (100, 200),
            "decoder.bias": (100,),
        },
        100 * 200 * 2 + 100,
    ),
    # Encodec's codebook is an average of vectors, moved by no gradient
    "codec": (
        {
            "quantizer.layers.0.codebook.embed": (1024, 128),
            "quantizer.layers.0.codebook.embed_avg": (1024, 128),
            "quantizer.layers.0.codebook.cluster_size": (1024,),
            "quantizer.layers.0.codebook.inited": (1,),
            "encoder.layers.0.conv.weight_g": (32, 1, 1),
            "encoder.layers.0.conv.weight_v": (32, 1, 7),
            "encoder.layers.0.conv.bias": (32,),
        },
        32 + 32 * 7 + 32,
    ),
    # YOLO's anchors, strides and fixed projection; the input's mean and spread
    "detector": (
        {
            "model.24.anchors": (3, 3, 2),
            "model.24.stride": (3,),
            "model.24.anchor_grid": (3, 1, 3, 1, 1, 2),
            "model.22.dfl.conv.weight": (1, 16, 1, 1),
            "model.0.conv.weight": (32, 3, 6, 6),
            "model.0.bn.weight": (32,),
            "model.0.bn.bias": (32,),
            "model.0.bn.running_mean": (32,),
            "model.0.bn.running_var": (32,),
            "pixel_mean": (3, 1, 1),
            "pixel_std": (3, 1, 1),
        },
        32 * 3 * 36 + 64,
    ),
    # fairseq's version and sinusoidal tables
    "fairseq": (
        {
            "encoder.version": (1,),
            "encoder.embed_positions._float_tensor": (1,),
            "decoder.embed_tokens.weight": (50, 16),
            "model.decoder.embed_positions.weights": (1026, 16),
        },
        50 * 16,
    ),
    # OpenAI's Whisper: the encoder's positions are sinusoids, the decoder's are learned
    "whisper": (
        {
            "encoder.positional_embedding": (1500, 384),
            "decoder.positional_embedding": (448, 384),
            "encoder.conv1.weight": (384, 80, 3),
        },
        448 * 384 + 384 * 80 * 3,
    ),
    # StyleGAN 2: fixed noises, blur and up-sampling filters, the average latent
    "stylegan": (
        {
            "noises.noise_0": (1, 1, 4, 4),
            "convs.0.conv.blur.kernel": (4, 4),
            "to_rgbs.0.upsample.kernel": (4, 4),
            "synthesis.b4.resample_filter": (4, 4),
            "latent_avg": (512,),
            "convs.0.conv.weight": (1, 8, 8, 3, 3),
            "convs.0.noise.weight": (1,),
        },
        8 * 8 * 9 + 1,
    ),
    # kohya's adapters: alpha is a setting; PReLU's alpha is learned
    "adapter": (
        {
            "lora_unet_q.lora_down.weight": (4, 64),
            "lora_unet_q.lora_up.weight": (64, 4),
            "lora_unet_q.alpha": (),
            "prelu.alpha": (),
        },
        4 * 64 * 2 + 1,
    ),
    # orthogonal parametrizations keep a base
    "parametrized": (
        {
            "fc.parametrizations.weight.original": (8, 8),
            "fc.parametrizations.weight.0.base": (8, 8),
        },
        64,
    ),
    # Brax: the observations' normaliser beside the policy
    "normaliser": (
        {
            "normalizer.mean": (11,),
            "normalizer.std": (11,),
            "normalizer.summed_variance": (11,),
            "normalizer.count": (),
            "policy.params.hidden_0.kernel": (11, 8),
            "policy.params.hidden_0.bias": (8,),
        },
        11 * 8 + 8,
    ),
    # statistics without types beside gains of their shape
    "statistics": (
        {
            "bn.mean": (8,),
            "bn.var": (8,),
            "bn.scale": (8,),
            "bn.bias": (8,),
            "prior.mean": (8,),
            "prior.scale_tril": (8, 8),
        },
        8 + 8 + 8 + 64,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_count_is_right_and_not_called_exact(name: str, tmp_path):
    shapes, expected = CASES[name]
    ledger = ex.ledger(write_zeros(tmp_path / "model.safetensors", shapes))
    assert ledger.parameters == expected
    assert ledger.weights + ledger.biases == expected
    assert ledger.provenance["parameters"].startswith(("inferred (", "assumed ("))


def test_a_table_that_may_be_learned_is_named_with_its_share(tmp_path):
    shapes, expected = CASES["tutorial"]
    ledger = ex.ledger(write_zeros(tmp_path / "model.safetensors", shapes))
    table = prod(shapes["pos_encoder.pe"])
    (note,) = (note for note in ledger.notes if "pos_encoder/pe" in note)
    assert f"{table / (table + expected):.1%} of the parameters" in note


@pytest.mark.parametrize(
    "shapes",
    [
        {"pe.weight": (50, 16)},  # a learned table of that name
        {"upsample.kernel": (3, 3, 64, 64)},  # a convolution of Flax
        {"encoder.pos_embedding": (1, 197, 768)},  # torchvision's ViT learns it
        {"source_embedding.weight": (50, 16), "target_embedding.weight": (50, 16)},
        {"critic_1.kernel": (4, 4), "critic_2.kernel": (4, 4)},
        {"gate.mean.kernel": (4, 4), "gate.var.kernel": (4, 4)},
    ],
)
def test_lookalikes_are_parameters(shapes, tmp_path):
    path = write_zeros(tmp_path / "model.safetensors", shapes)
    assert ex.count_parameters(path) == sum(map(prod, shapes.values()))


@pytest.mark.parametrize("name", ["a", "alpha", "x1"])
def test_names_that_say_nothing_decide_nothing(name: str, tmp_path):
    np.savez(tmp_path / "model.npz", **{name: np.ones((3, 4)), "b": np.ones(3)})
    ledger = ex.ledger(tmp_path / "model.npz")
    assert (ledger.parameters, ledger.biases) == (15, 0)
    for figure in ("parameters", "weights", "biases"):
        assert ledger.provenance[figure].startswith("assumed (")


# ---- copies and values beside a model

MODEL = {"dense": {"kernel": np.ones((4, 3)), "bias": np.zeros(3)}}


@pytest.mark.parametrize(
    "beside",
    [
        {"ema_params": MODEL},
        {"target_params": MODEL},
        {"target": MODEL},
        {"teacher": {"params": MODEL}},
        {
            "ema": {
                "shadow_params": [np.ones((4, 3)), np.zeros(3)],
                "decay": np.float32(0.9),
            }
        },
        {"swa_state_dict": {"module": MODEL, "n_averaged": np.int64(3)}},
        {"best_params": MODEL, "best_loss": np.float32(0.5)},
        {"best_val_loss": np.float32(1.0), "train_losses": np.zeros(500)},
        {"metrics": {"loss": np.zeros(9), "accuracy": np.zeros(9)}},
        {"normalizer": {"mean": np.zeros(7), "std": np.zeros(7), "count": np.int32(0)}},
        {"temperature_schedule": {"values": np.zeros(100)}},
    ],
)
def test_what_stands_beside_a_model_is_not_counted(beside):
    for name in ("params", "model", "state_dict"):
        inventory = ex.explore({name: MODEL, **beside})
        assert inventory.num_parameters == 15, name
        assert inventory.num_tensors == 2 + len(jax.tree.leaves(beside))


@pytest.mark.parametrize(
    ("original", "copy"),
    [
        ("q_network", "target_network"),
        ("policy_net", "target_net"),
        ("critic", "critic_target"),
        ("online_encoder", "target_encoder"),
        ("encoder_q", "encoder_k"),
        ("base_encoder", "momentum_encoder"),
        ("student", "teacher"),
        ("G", "G_ema"),
        ("unet", "unet_ema"),
    ],
)
def test_copies_as_projects_call_them(original, copy):
    tree = {
        original: MODEL,
        copy: jax.tree.map(np.copy, MODEL),
        "head": {"bias": np.ones(9)},
    }
    inventory = ex.explore({"algorithm": tree})
    assert inventory.num_parameters == 15 + 9
    assert inventory[f"algorithm/{original}/dense/kernel"].kind.is_parameter


def kernel(*shape: int) -> dict:
    return {"kernel": np.ones(shape)}


@pytest.mark.parametrize(
    "tree",
    [
        {"encoder": {"mean": kernel(8, 4), "var": kernel(8, 4)}, "decoder": kernel(4, 8)},
        {"cell": {"z": kernel(4, 4), "r": kernel(4, 4), "n": kernel(4, 4)}},
        {"m": kernel(4, 4), "v": kernel(4, 4)},
        {"prior": {"mean": np.ones(4), "std": np.ones(4)}, "net": kernel(4, 4)},
        {"policy": {"layer": kernel(4, 4)}, "value": {"layer": kernel(4, 4)}},
        {
            "source": {"embedding": np.ones((50, 4))},
            "target": {"embedding": np.ones((50, 4))},
        },
        {"slow": {"conv": kernel(3, 4)}, "fast": {"conv": kernel(3, 4)}},
        {"stats": kernel(4, 4), "model": kernel(4, 4)},
        {"actor": kernel(4, 2), "critic": kernel(4, 1), "log_alpha": np.float32(0)},
        {"model": kernel(4, 4), "logit_scale": np.float32(1), "bias": np.ones(4)},
        {"params": kernel(4, 4), "gates": {"bias": np.ones(4)}},
        {"network": kernel(4, 4), "running_gain": {"scale": np.ones(4)}},
        {"to_q": kernel(4, 4), "to_k": kernel(4, 4), "to_v": kernel(4, 4)},
        {"norm_q": {"scale": np.ones(4)}, "norm_k": {"scale": np.ones(4)}},
        {"tx": {"norm": kernel(4), "up": kernel(4, 8)}, "final": {"norm": kernel(4)}},
        {"velocity_net": {"up": kernel(4, 8)}, "position_net": {"up": kernel(4, 8)}},
        {"body": kernel(8, 8), "head": {"mu": kernel(8, 8), "nu": kernel(8, 8)}},
        {"m": kernel(4, 4), "v": kernel(4, 4), "t": np.float32(1)},
        {"init_conv": kernel(3, 3), "conv": kernel(3, 3)},
        {"reference_unet": {"up": kernel(3, 3)}, "unet": {"up": kernel(3, 3)}},
        {"tgt_encoder": {"up": kernel(3, 3)}, "encoder": {"up": kernel(3, 3)}},
        {"policy": {"mean": kernel(4, 2), "std": kernel(4, 2), "count": np.ones(1)}},
        {"model": kernel(4, 4), "log_std": np.ones(2), "mask_token": np.ones(4)},
    ],
)
def test_ordinary_models_are_counted_whole(tree):
    assert ex.count_parameters(tree) == sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_keys_of_an_attention_are_not_a_copy_of_its_queries(tmp_path):
    """llama.cpp's names: blk.0.attn_q.weight beside blk.0.attn_k.weight of one shape."""
    shapes = {f"blk.0.attn_{name}.weight": (8, 8) for name in "qkv"}
    path = write_zeros(tmp_path / "model.safetensors", shapes)
    assert ex.count_parameters(path) == 3 * 64


def test_types_are_not_overruled_by_names():
    class Pair(nnx.Module):
        def __init__(self, rngs: nnx.Rngs):
            self.policy = nnx.Linear(3, 2, rngs=rngs)
            self.target = nnx.Linear(3, 2, rngs=rngs)

    assert ex.count_parameters(Pair(nnx.Rngs(0))) == 2 * 8


def test_another_model_beside_it_is_counted():
    critic, other = (jax.tree.map(np.copy, MODEL) for _ in range(2))
    tree = {"params": MODEL, "critic_params": critic, "discriminator": {"params": other}}
    assert ex.count_parameters(tree) == 45


# ---- files of PyTorch


def linear(name: str, prefix: str = "") -> dict:
    """Return the state dict of a layer of 4 by 3, with storages of its own."""
    return {
        f"{prefix}weight": tensor(f"{name}w", (3, 4)),
        f"{prefix}bias": tensor(f"{name}b", (3,)),
    }


def storages(*names: str) -> dict[str, bytes]:
    return {f"{n}{part}": zeros(12 if part == "w" else 3) for n in names for part in "wb"}


TORCH = {
    # Trainer's optimizer.pt, accelerate's optimizer.bin
    "an optimizer alone": (
        {
            "state": {
                0: {"exp_avg": tensor("aw", (3, 4)), "exp_avg_sq": tensor("bw", (3, 4))},
                1: {"momentum_buffer": tensor("ab", (3,))},
            },
            "param_groups": [{"lr": 0.1, "params": [0, 1]}],
        },
        0,
    ),
    # nanoGPT keeps best_val_loss as a tensor beside the model
    "a loop's values": (
        {
            "model": linear("a"),
            "optimizer": {"state": {}, "param_groups": []},
            "iter_num": 3,
            "best_val_loss": tensor("loss", ()),
            "train_losses": tensor("losses", (500,)),
        },
        15,
    ),
    # torch.optim.swa_utils.AveragedModel beside what it averages
    "stochastic weight averaging": (
        {
            "state_dict": linear("a"),
            "swa_state_dict": {
                **linear("b", "module."),
                "n_averaged": tensor("count", (), kind="Long"),
            },
        },
        15,
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_what_training_loops_save_with_torch(name: str, tmp_path):
    root, expected = TORCH[name]
    data = storages("a", "b") | {
        "loss": zeros(1),
        "losses": zeros(500),
        "count": zeros(1, 8),
    }
    ledger = ex.ledger(write_zip(tmp_path / "checkpoint.pt", root, data))
    assert ledger.parameters == expected
    assert ledger.provenance["parameters"].startswith("inferred (")


# ---- collections of one's own


class Quantizer(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8)(x)
        self.variable("codebook_stats", "embed", jnp.zeros, (16, 8))
        self.variable("codebook_stats", "cluster_size", jnp.zeros, (16,))
        self.variable("constants", "freqs", jnp.ones, (4,))
        self.variable("lora", "lora_a", jnp.ones, (8, 2))
        return x


def test_what_flax_holds_as_params_is_what_counts():
    module, x = Quantizer(), jax.ShapeDtypeStruct((1, 4), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    size = sum(prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    for inventory in (ex.explore(module, x), ex.explore(variables)):
        assert inventory.num_parameters == size == 40
        found = {tensor.collection for tensor in inventory}
        assert found == {"params", "codebook_stats", "constants", "lora"}
    assert ex.ledger(module, x).provenance["parameters"] == "exact"
