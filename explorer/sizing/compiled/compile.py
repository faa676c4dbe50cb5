"""A subject and a workload -> what the compiler says, and the terms that it decides."""

import time
from typing import TYPE_CHECKING, Any

from explorer.errors import InputError, first_line
from explorer.sizing.compiled.optimizers import optimizer_named
from explorer.sizing.compiled.platforms import Platform, platform_for
from explorer.sizing.compiled.programs import Program, program_of
from explorer.sizing.device_records import CompiledMemory
from explorer.sizing.meshes.placement import Placement
from explorer.sizing.records import Term, TermName, Workload
from explorer.sizing.subject import Subject

if TYPE_CHECKING:
    import jax

__all__ = ["compiled_memory", "compiled_terms", "terms_of", "with_compiled"]

# the estimates that a compiled program stands for
_REPLACED: tuple[TermName, ...] = ("gradients", "activations", "logits", "workspace")
# measured on steps of Llama-3.2-1B in bfloat16: two remat policies and none, 512 to 4,096 tokens
_ELSEWHERE = (
    "temporaries are those of XLA for CPU, which in bfloat16 were 1.3 to 1.7 times those of "
    "XLA for TPU v5e; arguments are the same everywhere"
)
_STATE: tuple[TermName, ...] = ("parameters", "master_parameters", "optimizer")


def with_compiled(
    terms: list[Term],
    subject: Subject,
    workload: Workload,
    placement: Placement,
    optimizer: Any,
    device: str | None,
) -> tuple[list[Term], CompiledMemory, tuple[str, ...]]:
    """Return a plan's terms with the compiler's instead of estimates, and what to say of it.

    Where the compiler refuses the program, the estimates stay.

    Args, Raises: as of `compiled_terms`.
    """
    own, memory = compiled_terms(
        subject, workload, placement, optimizer, device, workload.topology
    )
    kept = [term for term in terms if not own or term.name not in _REPLACED]
    masters = any(term.name == "master_parameters" for term in kept)
    if masters and own:  # their copy in the loss is among the temporaries
        kept = [term for term in kept if term.name != "parameters"]
    if own and memory.optimizer and all(term.name != "optimizer" for term in kept):
        kept.append(_term("optimizer", memory.optimizer, workload.optimizer, memory))
    return [*kept, *own], memory, _notes(memory, kept)


def compiled_terms(
    subject: Subject,
    workload: Workload,
    placement: Placement,
    optimizer: Any = None,
    device: str | None = None,
    topology: str | None = None,
) -> tuple[tuple[Term, ...], CompiledMemory]:
    """Return the terms that the compiler decides instead of estimates, and all it said.

    Args:
        subject, workload, placement: what is planned.
        optimizer: an optax transformation; None for that which the workload names.
        device: as of `platform_for`, without a number.
        topology: the layout of a TPU slice.

    Raises:
        InputError: what cannot be compiled, and why.
        MissingPackageError: a TPU, and no libtpu.
    """
    memory = compiled_memory(subject, workload, placement, optimizer, device, topology)
    return terms_of(memory, workload), memory


def compiled_memory(
    subject: Subject,
    workload: Workload,
    placement: Placement,
    optimizer: Any = None,
    device: str | None = None,
    topology: str | None = None,
) -> CompiledMemory:
    """Return what the compiler says of the memory of one device; nothing is allocated.

    Args, Raises: as of `compiled_terms`.
    """
    if subject.architecture is None:
        raise InputError(
            "--compile",
            found=f"nothing says what the layers of {subject.name} are",
            expected="a name of `explorer catalog`, a config, or a folder with a config.json",
        )
    if workload.train and optimizer is None:
        optimizer = optimizer_named(workload.optimizer)
    platform = platform_for(placement.devices, device, topology)
    program = program_of(
        subject.architecture, workload, placement, platform.devices, optimizer
    )
    started = time.perf_counter()
    lowered = program.lower()
    took = time.perf_counter() - started
    return _compiled(lowered, program, platform, took)


def _compiled(
    lowered: "jax.stages.Lowered", program: Program, platform: Platform, lowering: float
) -> CompiledMemory:
    import jax

    started = time.perf_counter()
    try:
        found: Any = lowered.compile().memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise InputError(
                "--compile", found=f"{platform.compiler} failed: {first_line(error)}"
            ) from error
        found, refused = None, first_line(error).removeprefix("RESOURCE_EXHAUSTED: ")
    else:
        refused = ""
    is_tpu = platform.name.startswith("v")
    return CompiledMemory(
        program=program.name,
        compiler=platform.compiler,
        platform=platform.name,
        devices=len(platform.devices),
        arguments=getattr(found, "argument_size_in_bytes", 0),
        parameters=program.parameters,
        optimizer=program.optimizer,
        batch=program.batch,
        outputs=getattr(found, "output_size_in_bytes", 0),
        aliased=getattr(found, "alias_size_in_bytes", 0),
        temporaries=getattr(found, "temp_size_in_bytes", 0),
        peak=getattr(found, "peak_memory_in_bytes", None) if is_tpu else None,
        refused=refused,
        lowering_seconds=lowering,
        compiling_seconds=time.perf_counter() - started,
    )


def terms_of(memory: CompiledMemory, workload: Workload) -> tuple[Term, ...]:
    """Return the terms that stand for estimates; none where the compiler refused.

    The terms of parameters and optimizer stay: they are the compiler's arguments. Its
    temporaries are gradients, activations and whatever else is needed in between; they share
    memory, so that no figure of each exists.

    >>> memory = CompiledMemory(program="a step", compiler="XLA", platform="cpu", devices=2,
    ...     arguments=70, parameters=40, optimizer=20, temporaries=100, outputs=61, aliased=60)
    >>> [(term.name, term.bytes, term.on_device) for term in terms_of(memory, Workload(train=True))]
    [('workspace', 222, 111)]
    """
    if memory.refused:
        return ()
    results = memory.outputs - memory.aliased
    rest = memory.arguments - memory.parameters - memory.optimizer
    if workload.train:
        note = "gradients, activations, logits and buffers in one, and the batch"
        return (_term("workspace", memory.temporaries + rest + results, note, memory),)
    return (
        _term("logits", results, "what the heads return for all tokens", memory),
        _term("workspace", memory.temporaries + rest, "activations and the batch", memory),
    )


def _term(name: TermName, nbytes: int, note: str, memory: CompiledMemory) -> Term:
    return Term(
        name=name,
        bytes=nbytes * memory.devices,
        low=nbytes * memory.devices,
        high=nbytes * memory.devices,
        provenance=f"exact (XLA, {memory.platform})",
        note=note,
        per_device=nbytes,
    )


def _notes(memory: CompiledMemory, terms: list[Term]) -> tuple[str, ...]:
    """Return what was compiled by what, and whether the plan's state is its arguments."""
    took = memory.lowering_seconds + memory.compiling_seconds
    notes = [f"compiled: {memory.program}; by {memory.compiler} in {took:.0f} s"]
    if memory.refused:
        return *notes, f"the compiler refuses it: {memory.refused}"
    if memory.peak is not None:
        own = memory.parameters + memory.optimizer + memory.batch
        notes.append(
            f"the compiler's own peak: {memory.peak:,} bytes a chip; "
            f"{memory.arguments - own:,} of the arguments are counters and padding"
        )
    if memory.platform == "cpu":
        notes.append(_ELSEWHERE)
    planned = sum(term.on_device for term in terms if term.name in _STATE)
    found = memory.parameters + memory.optimizer
    what = "parameters and optimizer" if memory.optimizer else "parameters"
    arguments = f"of the compiler's {memory.arguments:,} bytes of arguments a device"
    notes.append(
        f"{what}, {found:,} bytes, are {arguments}"
        if planned == found
        else f"{what} are {found:,} {arguments}, and {planned:,} by the terms above"
    )
    return tuple(notes)
