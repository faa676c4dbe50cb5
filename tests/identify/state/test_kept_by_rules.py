"""Arrays that a rule of the training code moves or freezes, under the names of parameters.

Each layout is a project's own; beside it stands an ordinary model of similar names, which is
counted whole. Shapes are small.
"""

from math import prod

import numpy as np
import pytest

import explorer as ex
from tests.identify.state.test_field_cases import write_zeros

Shapes = dict[str, tuple[int, ...]]

CASES: dict[str, tuple[Shapes, int]] = {
    # van den Oord et al. 2017, appendix A.1: the codebook is an average, as zalando's code has it
    "VQ-VAE": (
        {
            "_vq_vae._embedding.weight": (512, 64),
            "_vq_vae._ema_w": (512, 64),
            "_vq_vae._ema_cluster_size": (512,),
            "_encoder.conv.weight": (8, 3, 3, 3),
        },
        8 * 27,
    ),
    # taming-transformers: EmbeddingEMA holds the table and its averages
    "VQGAN": (
        {
            "quantize.embedding.weight": (512, 64),
            "quantize.embedding.cluster_size": (512,),
            "quantize.embedding.embed_avg": (512, 64),
            "quantize.proj.weight": (64, 32),
        },
        64 * 32,
    ),
    # VideoGPT's codebook: how many vectors each code had, and their sum
    "VideoGPT": (
        {
            "codebook.embeddings": (512, 64),
            "codebook.N": (512,),
            "codebook.z_avg": (512, 64),
            "decoder.weight": (64, 32),
        },
        64 * 32,
    ),
    # peft keeps VeRA's and RandLoRA's matrices in BufferDicts: only vectors are learned
    "VeRA": (
        {
            "base_model.vera_A": (256, 768),
            "base_model.vera_B": (3072, 256),
            "base_model.model.q.vera_lambda_b": (768,),
            "base_model.model.q.vera_lambda_d": (256,),
        },
        768 + 256,
    ),
    "VeRA inside a model": (
        {
            "q.base_layer.weight": (8, 8),
            "q.vera_A.default": (4, 8),
            "q.vera_B.default": (8, 4),
            "q.vera_lambda_b.default": (8,),
            "q.vera_lambda_d.default": (4,),
        },
        64 + 8 + 4,
    ),
    # ALBEF and BLIP: momentum copies of every network, and queues of what they made
    "ALBEF": (
        {
            "visual_encoder.blocks.0.mlp.weight": (8, 8),
            "visual_encoder_m.blocks.0.mlp.weight": (8, 8),
            "vision_proj.weight": (4, 8),
            "vision_proj_m.weight": (4, 8),
            "image_queue": (4, 64),
            "text_queue": (4, 64),
            "temp": (),
        },
        64 + 32 + 1,
    ),
    # mmcv's EMAHook registers buffers on the model: the path in one name
    "mmcv": (
        {
            "backbone.layer1.0.conv1.weight": (8, 3, 3, 3),
            "backbone.layer1.0.bn1.weight": (8,),
            "ema_backbone_layer1_0_conv1_weight": (8, 3, 3, 3),
            "ema_backbone_layer1_0_bn1_weight": (8,),
        },
        8 * 27 + 8,
    ),
    # LitEma, inside another model: the path without its dots
    "LitEma": (
        {
            "first_stage.model.input_blocks.0.0.weight": (8, 3, 3, 3),
            "first_stage.model_ema.input_blocks00weight": (8, 3, 3, 3),
        },
        8 * 27,
    ),
    # LeRobot: `buffer_observation_state` is a ParameterDict without gradient
    "LeRobot": (
        {
            "normalize_inputs.buffer_observation_state.mean": (6,),
            "normalize_inputs.buffer_observation_state.std": (6,),
            "normalize_inputs.buffer_observation_images_top.mean": (3, 1, 1),
            "normalize_inputs.buffer_observation_images_top.std": (3, 1, 1),
            "normalize_targets.buffer_action.min": (6,),
            "normalize_targets.buffer_action.max": (6,),
            "unnormalize_outputs.buffer_action.min": (6,),
            "unnormalize_outputs.buffer_action.max": (6,),
            "model.head.weight": (6, 4),
        },
        24,
    ),
    # LeRobot's processors: statistics of a data set and nothing else
    "LeRobot's processor": (
        {f"action.{name}": (6,) for name in ("mean", "std", "min", "max")},
        0,
    ),
    # DINO: the center of the teacher's outputs is their running mean
    "DINO": (
        {
            "student.module.head.weight": (6, 4),
            "teacher.head.weight": (6, 4),
            "dino_loss.center": (1, 6),
        },
        24,
    ),
    # e3nn and MACE register Wigner symbols, masks and energies as buffers
    "MACE": (
        {
            "node_embedding.linear.weight": (64,),
            "interactions.0.conv_tp._compiled_main_left_right._w3j_1_1_0": (3, 3, 1),
            "interactions.0.linear.output_mask": (16,),
            "atomic_energies_fn.atomic_energies": (5,),
        },
        64,
    ),
    # PyTorch Geometric's SchNet: centers of the Gaussians of distances
    "SchNet": (
        {"embedding.weight": (100, 16), "distance_expansion.offset": (50,)},
        1600,
    ),
    # nerfacc: the box of a scene, and where it is occupied
    "NeRF": (
        {
            "field.aabb": (6,),
            "occupancy_grid.aabbs": (1, 6),
            "occupancy_grid.occs": (512,),
            "field.mlp.weight": (64, 32),
        },
        2048,
    ),
    # transformers' PPDocLayout: the backbone's normalisations are frozen, others count batches
    "frozen normalisations": (
        {
            "backbone.stem.norm.weight": (32,),
            "backbone.stem.norm.bias": (32,),
            "backbone.stem.norm.running_mean": (32,),
            "backbone.stem.norm.running_var": (32,),
            "encoder.0.norm.weight": (8,),
            "encoder.0.norm.bias": (8,),
            "encoder.0.norm.running_mean": (8,),
            "encoder.0.norm.running_var": (8,),
            "encoder.0.norm.num_batches_tracked": (),
            "encoder.1.norm.weight": (8,),
            "encoder.1.norm.bias": (8,),
            "encoder.1.norm.running_mean": (8,),
            "encoder.1.norm.running_var": (8,),
            "encoder.1.norm.num_batches_tracked": (),
        },
        32,
    ),
    # I-BERT: layers a second time, as integers, with their scaling factors
    "I-BERT": (
        {
            "encoder.layer.0.output.dense.weight": (8, 4),
            "encoder.layer.0.output.dense.bias": (8,),
            "encoder.layer.0.output.dense.weight_integer": (8, 4),
            "encoder.layer.0.output.dense.bias_integer": (8,),
            "encoder.layer.0.output.dense.fc_scaling_factor": (8,),
            "encoder.layer.0.output_activation.x_min": (1,),
            "encoder.layer.0.output_activation.x_max": (1,),
        },
        40,
    ),
    # MiniMax's lightning attention, LFM2's and Megatron's load balancing, Florence's frames
    "buffers of transformers": (
        {
            "layers.1.self_attn.slope_rate": (4, 1, 1),
            "layers.1.self_attn.query_decay": (4, 16, 1),
            "layers.1.self_attn.key_decay": (4, 16, 1),
            "layers.1.self_attn.diagonal_decay": (1, 4, 16, 16),
            "layers.1.self_attn.q_proj.weight": (8, 8),
            "layers.1.feed_forward.expert_bias": (4,),
            "visual_temporal_embed.pos_idx_to_embed": (10, 8),
            "layers.0.ffw.input_min": (),
            "layers.0.ffw.input_max": (),
        },
        64,
    ),
    # rsl_rl: the empirical normaliser of observations
    "rsl_rl": (
        {
            "actor_obs_normalizer._mean": (1, 48),
            "actor_obs_normalizer._var": (1, 48),
            "actor_obs_normalizer._std": (1, 48),
            "actor.0.weight": (32, 48),
            "std": (12,),
        },
        32 * 48 + 12,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_count_is_right_and_the_rest_is_named(name: str, tmp_path):
    shapes, expected = CASES[name]
    ledger = ex.ledger(write_zeros(tmp_path / "model.safetensors", shapes))
    assert ledger.parameters == expected
    assert ledger.stored_elements == sum(map(prod, shapes.values()))
    assert ledger.provenance["parameters"].startswith("inferred (")
    dropped = ledger.stored_elements - expected
    said = [note for note in ledger.notes if "not parameters" in note]
    assert sum(
        int(note.partition(": ")[2].split()[0].replace(",", "")) for note in said
    ) == (dropped)


@pytest.mark.parametrize(
    "shapes",
    [
        # a codebook that gradients move has no average beside it
        {"_vq_vae._embedding.weight": (512, 64), "_vq_vae.proj.weight": (512, 64)},
        {"codebook.N": (512,), "codebook.embeddings": (512, 64)},
        # learned matrices of such names, without the vectors of the scheme
        {"q.vera_A": (4, 8), "q.vera_B": (8, 4)},
        # layers in pairs
        {"fc.weight": (8, 8), "fc_m.weight": (8, 8)},
        {
            "gate.weight": (8, 8),
            "gate_m.weight": (8, 8),
            "up.weight": (8, 8),
            "up_m.weight": (8, 8),
        },
        {"encoder.a.weight": (8, 8), "encoder_m.a.weight": (4, 8)},
        # normalisations of which none, or each, counts batches
        {"norm.weight": (4,), "norm.bias": (4,), "proj.expert_bias": (4, 8)},
        # a name that is not the path of another array, or that has another shape
        {"backbone.conv.weight": (8, 8), "ema_neck_conv_weight": (8, 8)},
        {"backbone.conv.weight": (8, 8), "ema_backbone_conv_weight": (4, 8)},
        {"ema_gate.weight": (8, 8), "proj.weight": (8, 8)},  # MEGA's layers
        {"layer.offset": (8,), "center_loss.centers": (10, 8), "detector.center": (1, 8)},
        # a module whose parts have the names of an average
        {f"{name}.weight": (4, 4) for name in ("average", "hidden", "counter")},
        {"core.u": (4, 4), "core.sigma": (4,)},
        # learned bounds and priors
        {"prior.mean": (6,), "prior.std": (6,), "net.weight": (6, 6)},
        {"clip.min": (6,), "clip.max": (6,), "net.weight": (6, 6)},
        {
            "head.mean.weight": (6, 6),
            "head.std.weight": (6, 6),
            "head.min.weight": (6, 6),
            "head.max.weight": (6, 6),
        },
    ],
    ids=lambda shapes: next(iter(shapes)),
)
def test_ordinary_models_are_counted_whole(shapes: Shapes, tmp_path):
    path = write_zeros(tmp_path / "model.safetensors", shapes)
    assert ex.count_parameters(path) == sum(map(prod, shapes.values()))


def test_what_was_left_out_by_name_can_be_counted_by_the_model(tmp_path):
    """Two networks of one shape and a learned table, which names alone cannot tell."""
    shapes = {
        "net.a.weight": (10, 10),
        "target_net.a.weight": (10, 10),
        "net.sigmas": (100,),
    }
    path = write_zeros(tmp_path / "model.safetensors", shapes)
    ledger = ex.ledger(path)
    assert ledger.parameters == 100
    for name, share in (("target_net/a/weight", "50.0%"), ("net/sigmas", "50.0%")):
        (note,) = (note for note in ledger.notes if name in note)
        assert f"were they learned, they would be {share} of the parameters" in note
        assert "like= with the model" in note
    model = {
        "params": {
            "net": {"a": {"weight": np.ones((10, 10))}, "sigmas": np.ones(100)},
            "target_net": {"a": {"weight": np.ones((10, 10))}},
        }
    }
    assert ex.explore(path, like=model).num_parameters == 300
