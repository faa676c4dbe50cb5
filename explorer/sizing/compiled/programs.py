"""The programs that are compiled: the jitted step of training, or a forward pass.

They are those that a user runs: the step of `explorer.training`, the module of
`explorer.models`. Their arguments are shapes, so that no weight exists.
"""

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from explorer import dtypes
from explorer.architectures.architecture import Architecture
from explorer.errors import InputError, printable
from explorer.sizing.meshes.placement import Placement, mesh_text
from explorer.sizing.records import Workload

if TYPE_CHECKING:
    import jax
    from jax.sharding import Mesh

    from explorer.models.transformer import Transformer

__all__ = ["Program", "program_of"]

# explorer's words for what the backward pass computes again -> those of the modules
_REMAT = {"none": None, "selective": "dots_no_batch", "full": "full"}


class Program(NamedTuple):
    """A program to compile, and the bytes of its arguments on one device by what they are."""

    name: str
    lower: "Callable[[], jax.stages.Lowered]"
    parameters: int
    optimizer: int
    batch: int


def program_of(
    architecture: Architecture,
    workload: Workload,
    placement: Placement,
    devices: list[Any],
    optimizer: Any = None,
) -> Program:
    """Return the program of a workload, for as many devices as its mesh has.

    A training state holds the master copies where the workload has some, and parameters of
    its dtype else. In the loss, float32 parameters are cast: to the dtype that they are the
    masters of, or to bfloat16.

    Args:
        architecture: the model; equal layers are stacked as `placement.scan` says.
        workload: `batch` is raised to what the mesh divides.
        placement: the mesh.
        devices: real ones, or those of a topology.
        optimizer: an optax transformation, for training.

    Raises:
        InputError: a model that has no module, or a workload that it cannot have.
    """
    architecture.check_built()
    _check_covered(workload)
    from explorer.models.transformer import Transformer
    from explorer.training.sharding.mesh import make_mesh

    axes = placement.mesh
    mesh = make_mesh(
        axes.get("data", 1),
        axes.get("fsdp", 1),
        axes.get("tensor", 1),
        devices,
        expert=axes.get("expert", 1),
        sequence=axes.get("sequence", 1),
    )
    dtype = _float(workload.dtype or architecture.dtype)
    kept = _float(workload.master or dtype) if workload.train else dtype
    model = Transformer(
        architecture,
        scan=placement.scan,
        param_dtype=kept,
        remat=_REMAT[workload.remat] if workload.train else None,
    )
    if not workload.train:
        return _forward(model, workload, placement, mesh)
    computed = "bfloat16" if dtype == "float32" else dtype
    cast = computed if computed != kept else None
    return _training(model, workload, placement, mesh, optimizer, cast)


def _check_covered(workload: Workload) -> None:
    """Refuse what no program here does."""
    for name, found, cure in (
        ("lora", workload.lora, "leave out --lora"),
        ("quantize", workload.quantize, "give a --dtype instead"),
        ("zero", workload.zero or None, "name the axis: --mesh fsdp=N"),
    ):
        if found is not None:
            raise InputError(
                "--compile",
                found=f"{name} is {printable(found, 40)}",
                expected="a model whose every parameter has one floating-point dtype",
                cure=cure,
            )


def _float(name: str) -> str:
    """Return the name of a floating-point dtype that XLA computes in."""
    found = dtypes.parse("--compile", name).name
    if found not in ("float64", "float32", "bfloat16", "float16"):
        raise InputError(
            "--compile",
            found=f"dtype {found}",
            expected="bfloat16, float16 or float32, which modules compute in",
            cure="give a --dtype",
        )
    return found


def _forward(
    model: "Transformer", workload: Workload, placement: Placement, mesh: "Mesh"
) -> Program:
    """Return a forward pass over prompts: what comes out are the heads' outputs."""
    import jax

    from explorer.training.sharding.mesh import sharded_shapes

    batch = _inputs(model, workload, placement.rounded(workload.batch), mesh)
    params = jax.eval_shape(model.init, jax.random.key(0), batch)["params"]
    placed = sharded_shapes(params, mesh)

    def forward(params: Any, batch: Any) -> Any:
        found = model.apply({"params": params}, batch)
        heads = (found.logits, found.pooled, found.relationship)  # pyright: ignore
        return heads if found.logits is not None else (found.hidden, *heads)  # pyright: ignore

    return Program(
        name=f"a forward pass, {_about(model, workload, placement, batch)}",
        lower=lambda: jax.jit(forward).lower(placed, batch),
        parameters=_on_device(placed),
        optimizer=0,
        batch=_on_device(batch),
    )


def _training(
    model: "Transformer",
    workload: Workload,
    placement: Placement,
    mesh: "Mesh",
    optimizer: Any,
    compute_dtype: str | None,
) -> Program:
    """Return a step: the loss is the cross-entropy of what the model's head predicts."""
    import jax

    from explorer.training.sharding.mesh import sharded_shapes
    from explorer.training.step.state import create_state
    from explorer.training.step.train_step import make_train_step

    examples = placement.rounded(workload.batch) * workload.accumulate
    inputs = _inputs(model, workload, examples, mesh)
    one = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
    state = jax.eval_shape(lambda: create_state(model, optimizer, jax.random.key(0), one))
    placed = sharded_shapes(state, mesh)
    batch = (inputs, _labels(model.architecture, inputs, mesh))
    step = make_train_step(
        _loss_of(model),
        optimizer,
        accumulate=workload.accumulate,
        compute_dtype=compute_dtype,
        mesh=mesh,
    )
    about = _about(model, workload, placement, inputs, compute_dtype)
    return Program(
        name=f"a training step with {workload.optimizer}, {about}",
        lower=lambda: step.lower(placed, batch),
        parameters=_on_device(placed.params),
        optimizer=_on_device(placed.opt_state),
        batch=_on_device(batch),
    )


def _inputs(model: "Transformer", workload: Workload, examples: int, mesh: "Mesh") -> Any:
    """Return the shape of tokens, or of images, on the mesh."""
    import jax
    import jax.numpy as jnp

    from explorer.training.sharding.batch_placement import batch_sharding

    patches = model.architecture.patch_embed
    shape, dtype = (examples, workload.context), jnp.int32
    if patches is not None:
        image = (patches.image, patches.image, patches.channels)
        shape, dtype = (examples, *image), jnp.float32
    return jax.ShapeDtypeStruct(shape, dtype, sharding=batch_sharding(mesh))


def _labels(architecture: Architecture, inputs: Any, mesh: "Mesh") -> Any:
    """Return the shape of a label for each prediction; None for a model without a head."""
    import jax
    import jax.numpy as jnp

    from explorer.training.sharding.batch_placement import batch_sharding

    if architecture.classifier is not None:
        shape = inputs.shape[:1]
    elif architecture.tied or architecture.lm_head or architecture.predictions:
        shape = inputs.shape
    else:
        return None
    return jax.ShapeDtypeStruct(shape, jnp.int32, sharding=batch_sharding(mesh))


def _loss_of(model: "Transformer") -> Callable[..., Any]:
    def loss_fn(params: Any, batch: Any, context: Any) -> Any:
        import jax.numpy as jnp
        import optax

        inputs, labels = batch
        found: Any = model.apply({"params": params}, inputs)
        if found.logits is None:  # a model without a head: any loss of its hidden states
            return jnp.square(found.hidden.astype(jnp.float32)).mean()
        logits = found.logits.astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return loss_fn


def _about(
    model: "Transformer",
    workload: Workload,
    placement: Placement,
    inputs: Any,
    compute_dtype: str | None = None,
) -> str:
    """Return what is compiled, in words."""
    layers = "stacked" if model.scan else "unrolled"
    parts = [f"{' x '.join(f'{size:,}' for size in inputs.shape)} inputs"]
    if workload.accumulate > 1:
        parts.append(f"in {workload.accumulate} micro-batches")
    if workload.train:
        parts.append(f"remat {workload.remat}")
    cast = f" cast to {compute_dtype}" if compute_dtype else ""
    parts.append(f"{model.param_dtype} parameters{cast}")
    parts.append(f"layers {layers}")
    if placement.devices > 1:
        parts.append(f"mesh {mesh_text(placement.mesh)}")
    return ", ".join(parts)


def _on_device(tree: Any) -> int:
    """Return the bytes that one device holds of placed shapes."""
    import jax

    def nbytes(leaf: Any) -> int:
        return prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    return sum(map(nbytes, jax.tree.leaves(tree)))
