"""The compiler's own figures, beside shapes, the real optimizer state and formulas."""

import math
from importlib.util import find_spec
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from msgspec.structs import replace

import explorer as ex
from explorer.errors import InputError, MissingPackageError
from explorer.sizing.compiled import platforms
from explorer.sizing.compiled.compile import compiled_memory, compiled_terms, terms_of
from explorer.sizing.compiled.optimizers import OPTIMIZERS, optimizer_named
from explorer.sizing.compiled.programs import program_of
from explorer.sizing.device_records import CompiledMemory
from explorer.sizing.meshes.placed import placed_parameters, share_of_fullest
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Lora, Workload
from tests.sizing.subjects import published, subject_of

TRAIN = Workload(train=True, context=16, batch=4)
COUNTERS = 4 + 8 + 1  # step, key and whether it halted


@pytest.mark.slow
@pytest.mark.representatives("gpt2", "mixtral", "qwen2")
@pytest.mark.parametrize(
    ("name", "mesh", "scan"),
    [
        ("llama", {}, True),
        ("gpt2", {"fsdp": 4}, True),
        ("gemma3", {"data": 2, "tensor": 2}, False),
        ("mixtral", {"fsdp": 2, "expert": 2}, True),
        ("bert", {"fsdp": 2}, True),
        ("qwen2", {"data": 2, "tensor": 2}, False),
    ],
)
def test_state_and_batch_are_the_arguments(name: str, mesh: dict[str, int], scan: bool):
    """The law of plans: what they say of parameters, optimizer and batch is XLA's."""
    subject, placement = subject_of(name), Placement(mesh=mesh, scan=scan)
    memory = compiled_memory(subject, TRAIN, placement, optax.adamw(1e-3))
    share = share_of_fullest(placed_parameters(subject, placement))
    parameters = 4 * subject.inventory.num_parameters * share
    count = 4
    tokens = 4 * 16 * 4 // placement.size("data", "fsdp")
    labels = 0 if name == "bert" else tokens  # it has no head
    assert memory.parameters == parameters
    assert memory.optimizer == 2 * parameters + count
    assert memory.batch == tokens + labels
    assert memory.arguments == 3 * parameters + count + tokens + labels + COUNTERS
    assert memory.temporaries > parameters  # gradients are among them


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mesh"),
    [
        ("llama-3.1-405b", {"fsdp": 128, "tensor": 2}),
        ("deepseek-v3", {"fsdp": 16, "expert": 16}),
        ("gpt-oss-120b", {"fsdp": 8, "expert": 4}),
        ("gemma-2-27b", {"data": 2, "fsdp": 4, "tensor": 8}),
        ("bert-large-uncased", {"tensor": 16}),
    ],
)
def test_large_models_are_the_arguments_that_a_plan_says(name: str, mesh: dict[str, int]):
    subject, placement = published(name), Placement(mesh=mesh)
    workload = Workload(train=True, context=16, dtype="bfloat16")
    devices = platforms.platform_for(placement.devices).devices
    program = program_of(
        subject.architecture, workload, placement, devices, optax.adamw(1e-3)
    )
    plan = ex.plan(name, workload=workload, mesh=mesh)
    held = {term.name: term.on_device for term in plan.terms}
    # the correction of DeepSeek's routers is a buffer, which its module has in params
    router = subject.architecture.router
    correction = 58 * router.experts * 2 if router and router.correction else 0
    assert program.parameters == held["parameters"] + correction
    assert program.optimizer == held["optimizer"] + 2 * correction


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [{"fsdp": 4}, {"data": 2, "tensor": 2}])
@pytest.mark.parametrize("name", ["adamw", "sgd", "momentum", "adafactor", "lion", "sm3"])
def test_a_device_holds_of_any_optimizer_what_a_plan_says(name: str, mesh: dict[str, int]):
    subject, placement = published("gpt2"), Placement(mesh=mesh)
    workload = Workload(train=True, context=8, dtype="float32", optimizer=name)
    devices = platforms.platform_for(placement.devices).devices
    optimizer = optimizer_named(name)
    program = program_of(subject.architecture, workload, placement, devices, optimizer)
    plan = ex.plan("gpt2", workload=workload, mesh=mesh)
    held = {term.name: term.on_device for term in plan.terms}
    if name in (
        "adafactor",
        "sm3",
    ):  # keep other shapes of stacked layers than of single ones
        unrolled = Placement(mesh=mesh, scan=False)
        program = program_of(subject.architecture, workload, unrolled, devices, optimizer)
    assert program.optimizer == held["optimizer"]


@pytest.mark.slow
@pytest.mark.representatives("adafactor", "muon")
@pytest.mark.parametrize("name", ["lion", "adafactor", "sgd", "momentum", "muon"])
def test_any_optimizer_is_an_argument_as_it_begins(name: str):
    subject = subject_of("llama")
    workload = Workload(train=True, context=8, optimizer=name)
    memory = compiled_memory(subject, workload, Placement())
    params = {
        "/".join(each.path): jax.ShapeDtypeStruct(each.shape, "float32")
        for each in placed_parameters(subject, Placement())
    }
    if name == "muon":  # looks at the shapes of a tree, not at its names
        slots = jax.eval_shape(optax.contrib.muon(1e-3).init, params)
    else:
        slots = jax.eval_shape(optimizer_named(name).init, params)
    nbytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(slots))
    assert memory.optimizer == nbytes
    batch = 2 * 8 * 4
    assert memory.arguments == memory.parameters + nbytes + batch + COUNTERS


@pytest.mark.slow
def test_half_precision_and_master_parameters():
    half = Workload(train=True, context=8, dtype="bfloat16")
    master = replace(half, master="float32")
    subject = subject_of("llama")
    n = subject.inventory.num_parameters
    pure = compiled_memory(subject, half, Placement(), optax.adam(1e-3))
    assert (pure.parameters, pure.optimizer) == (2 * n, 4 * n + 4)
    mixed = compiled_memory(subject, master, Placement(), optax.adam(1e-3))
    assert (mixed.parameters, mixed.optimizer) == (4 * n, 8 * n + 4)


@pytest.mark.slow
def test_micro_batches_and_remat_take_less():
    subject = published("gpt2")

    def temporaries(**settings: Any) -> int:
        workload = Workload(**({"train": True, "context": 256, "batch": 8} | settings))
        return compiled_memory(subject, workload, Placement(), optax.sgd(1e-3)).temporaries

    whole = temporaries()
    assert temporaries(batch=2, accumulate=4) < 0.6 * whole
    assert temporaries(remat="full") < temporaries(remat="selective") < whole


@pytest.mark.slow
def test_a_forward_pass_returns_logits_of_all_tokens():
    subject = subject_of("llama")
    (logits, workspace), memory = compiled_terms(
        subject, Workload(context=16, batch=4), Placement()
    )
    assert logits.name == "logits"
    assert logits.bytes == pytest.approx(4 * 4 * 16 * 61, abs=64)  # a pointer a result
    assert workspace.bytes == memory.temporaries + 4 * 4 * 16
    assert memory.arguments == 4 * subject.inventory.num_parameters + 4 * 4 * 16


@pytest.mark.slow
def test_a_forward_pass_takes_what_it_takes_when_run():
    """A program for shapes alone and the jitted module with real arrays are one."""
    from explorer.models.transformer import Transformer

    subject = subject_of("llama")
    memory = compiled_memory(subject, Workload(context=16, batch=4), Placement())
    model = Transformer(subject.architecture, scan=True)
    ids = jnp.zeros((4, 16), jnp.int32)
    params = model.init(jax.random.key(0), ids)
    logits = jax.jit(lambda p, ids: model.apply(p, ids).logits)
    own: Any = logits.lower(params, ids).compile().memory_analysis()
    assert memory.temporaries == own.temp_size_in_bytes
    assert memory.arguments == own.argument_size_in_bytes


def test_no_figure_of_a_refused_program_is_kept():
    refused = CompiledMemory(
        program="a step", compiler="XLA", platform="v5e:2x2", devices=4, refused="too much"
    )
    assert terms_of(refused, TRAIN) == ()


@pytest.mark.slow
def test_a_plan_says_what_was_compiled():
    plan = ex.plan("gpt2", train=True, context=64, mesh={"fsdp": 2}, compile=True)
    assert plan.compiled is not None
    names = [term.name for term in plan.terms]
    assert names.count("workspace") == 1
    assert not {"gradients", "activations", "logits"} & set(names)
    workspace = plan.terms[names.index("workspace")]
    assert workspace.provenance == "exact (XLA, cpu)"
    assert workspace.low == workspace.bytes == workspace.high == 2 * workspace.on_device
    assert names.count("optimizer") == 1
    held = {term.name: term.on_device for term in plan.terms}
    assert held["parameters"] + held["optimizer"] == (
        plan.compiled.parameters + plan.compiled.optimizer
    )
    assert plan.per_device_bytes == plan.compiled.bytes + held["reserve"]
    said = next(note for note in plan.notes if note.startswith("compiled: "))
    assert said.startswith(
        "compiled: a training step with adamw, 2 x 64 inputs, remat none, float32 "
        "parameters cast to bfloat16, layers stacked, mesh fsdp=2; by XLA for CPU (jax "
    )
    arguments = f"{plan.compiled.arguments:,} bytes of arguments"
    assert any(arguments in note for note in plan.notes)


@pytest.mark.parametrize(
    ("target", "settings", "message"),
    [
        (
            "gpt2",
            {"lora": Lora(rank=4), "train": True, "context": 8},
            "leave out --lora",
        ),
        ("gpt2", {"dtype": "int8"}, "--compile: dtype int8; expected bfloat16"),
        (
            "gpt2",
            {"train": True, "zero": 2, "mesh": {"data": 2}},
            "name the axis: --mesh fsdp=N",
        ),
        ("gpt2", {"train": True, "optimizer": "adamv"}, "did you mean adam?"),
        (
            {"kernel": jax.ShapeDtypeStruct((8, 8), "float32")},
            {},
            "--compile: nothing says what the layers of",
        ),
        ("gpt2", {"topology": "2x2", "mesh": {"tensor": 4}}, "no TPU to have it"),
        ("gpt2", {"device": "here", "mesh": {"data": 64}}, "--device here: "),
    ],
)
def test_what_cannot_be_compiled_is_one_line(target: Any, settings: Any, message: str):
    with pytest.raises(InputError) as raised:
        ex.plan(target, compile=True, **settings)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_without_a_module_is_not_compiled():
    known = subject_of("llama")
    unbuilt = replace(known.architecture, unbuilt=("its own code",))
    with pytest.raises(InputError, match="has no Flax module: its own code"):
        compiled_memory(replace(known, architecture=unbuilt), TRAIN, Placement())


def test_every_optimizer_that_is_named_exists():
    for name in OPTIMIZERS:
        assert hasattr(optimizer_named(name), "update")


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platforms, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError) as raised:
        ex.plan("gpt2", device="tpu-v5e:4", compile=True, context=64)
    assert str(raised.value) == (
        "--compile: the compiler for TPUs is not installed; "
        "pip install -e '.[tpu-aot]' in the repository (libtpu, 200 MB; needs no TPU)"
    )


@pytest.mark.parametrize(
    ("device", "count", "topology", "message"),
    [
        ("tpu-v99", 4, None, "expected one of tpu-v5e, tpu-v5p, tpu-v6e"),
        ("tpu-v5e", 4, "big", "--topology: is 'big'; expected the layout of a slice"),
        ("tpu-v5e", 5, None, "--topology: 5 chips; expected the layout of a slice"),
    ],
)
def test_a_slice_that_does_not_exist(
    device: str, count: int, topology: str | None, message: str
):
    with pytest.raises(InputError) as raised:
        platforms.topology_of(device, count, topology)
    assert message in str(raised.value)


@pytest.mark.parametrize("device", ["tpu-v5e", "tpu-v6e", "tpu-v5p"])
def test_layouts_have_as_many_chips_as_they_say(device: str):
    layouts = platforms._TPUS[device.removeprefix("tpu-")]
    for chips, layout in layouts.items():
        assert math.prod(map(int, layout.split("x"))) == chips
        assert platforms.topology_of(device, chips).endswith(f":{layout}")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("libtpu") is None, reason="libtpu is not installed")
def test_a_tpu_slice_compiles_or_refuses():
    settings: dict[str, Any] = {"train": True, "compile": True, "context": 128}
    plan = ex.plan("gpt2", device="tpu-v5e", topology="2x2", **settings)
    memory = plan.compiled
    assert memory is not None
    assert plan.workload.mesh == {}
    assert (memory.platform, memory.devices) == ("v5e:2x2", 4)
    assert memory.peak is not None
    assert memory.peak > memory.arguments >= memory.parameters + memory.optimizer
    refused = ex.plan("gpt2", device="tpu-v5e", batch=4096, **settings)
    assert refused.fits is False
    assert refused.compiled is not None
    assert refused.compiled.platform == "v5e:1x1"
    assert "exceeds available HBM" in refused.compiled.refused
    assert any(note.startswith("the compiler refuses it: ") for note in refused.notes)
