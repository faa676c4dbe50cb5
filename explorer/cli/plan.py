"""plan: what a model needs to run or to train, and what it fits."""

import os
from typing import TYPE_CHECKING, Any

import click

from explorer.api.plans import plan as plan_target
from explorer.api.plans import sweep as sweep_target
from explorer.cli.completion import complete_device, complete_scheme
from explorer.cli.console import echo_result, format_option, target_argument
from explorer.document.records import Document
from explorer.errors import InputError

if TYPE_CHECKING:
    from explorer.sizing.records import MemoryPlan

__all__ = ["plan"]


@click.command()
@target_argument
@click.option("--context", type=int, help="Tokens of one sequence.")
@click.option("--batch", type=int, help="Sequences at a time.")
@click.option("--parallel", type=int, help="Slots that share llama.cpp's context.")
@click.option("--dtype", help="Of the parameters: bfloat16, float32, ...")
@click.option("--kv-dtype", help="Of the cache: float16, q8_0, q8_0/q4_0 (K/V), fp8, ...")
@click.option("--prompt", type=int, help="Tokens of a prompt computed at once.")
@click.option(
    "--swa-full/--no-swa-full",
    default=None,
    help="Whether layers with a window keep every token.",
)
@click.option("--kv-unified", is_flag=True, default=None, help="llama.cpp's shared slots.")
@click.option(
    "--expand-latent",
    is_flag=True,
    default=None,
    help="Latent attention keeps keys and values of every head.",
)
@click.option(
    "--quantize",
    metavar="SCHEME",
    shell_complete=complete_scheme,
    help="Q4_K_M, nf4, int4:g128, fp8, ...",
)
@click.option("--engine", help="jax, llama.cpp, vllm or sglang.")
@click.option(
    "--device",
    metavar="NAME[:N]",
    shell_complete=complete_device,
    help="A name of `explorer devices`, or here.",
)
@click.option("--train", is_flag=True, default=None, help="Plan training, not inference.")
@click.option("--optimizer", help="adamw, lion, adafactor, sgd, ...")
@click.option(
    "--master", metavar="DTYPE", help="Copies that the optimizer updates: float32."
)
@click.option("--compute-dtype", metavar="DTYPE", help="Of activations in training.")
@click.option("--lora", metavar="rank=16,targets=q,v", help="Train adapters alone.")
@click.option("--mesh", metavar="fsdp=8,tensor=2", help="Devices as a mesh with axes.")
@click.option("--meshes", type=int, help="A table over all meshes of so many devices.")
@click.option(
    "--compile",
    is_flag=True,
    default=None,
    help="Compile the real program, for exact figures instead of estimates.",
)
@click.option("--topology", metavar="4x4", help="Layout of the TPU slice to compile for.")
@click.option("--remat", help="none, selective or full.")
@click.option("--accumulate", type=int, help="Micro-batches a step.")
@click.option("--zero", type=int, help="Stage of ZeRO over the data axis, 0 to 3.")
@click.option("--tokens", type=int, help="To train on or to generate: for time and cost.")
@click.option("--price", type=float, help="Dollars per device and hour.")
@click.option("--layers", type=int, help="What if: this many blocks.")
@click.option("--vocab", type=int, help="What if: this many tokens in the vocabulary.")
@click.option("--experts", type=int, help="What if: this many experts in each mixture.")
@click.option("--untie", is_flag=True, default=None, help="What if: a head of its own.")
@click.option("--prune", metavar="0.5|2:4[:STORED]", help="What if: pruned kernels.")
@click.option(
    "--sweep",
    "axes",
    multiple=True,
    metavar="SETTING=A,B,...",
    help="A table over values of a setting, or of two.",
)
@click.option("--plot", "picture", metavar="FILE.png", help="Draw it: .png, .svg or .pdf.")
@format_option
def plan(
    target: str,
    form: str,
    device: str | None,
    axes: tuple[str, ...],
    meshes: int | None,
    picture: str | None,
    **settings: Any,
) -> None:
    """Print what a model needs to run or to train, term by term, and what it fits.

    With --compile, XLA compiles the real step for shapes alone: for CPU, or with
    `--device tpu-v5e --topology 4x4` for TPU (pip install -e '.[tpu-aot]' in the repository). A
    compiler that refuses a program that does not fit is an answer: the plan says so, with exit code 0.

    \b
    Examples:
      explorer plan llama-2-70b
      explorer plan llama-3.1-8b --quantize Q4_K_M --engine llama.cpp --device rtx-4090
      explorer plan llama-3.1-8b --train --optimizer adamw --device tpu-v5e --mesh fsdp=16
      explorer plan llama-3.1-8b --train --meshes 16
      explorer plan llama-3.1-8b --train --mesh fsdp=16 --remat full --compile
      explorer plan gpt2 --layers 24 --vocab 32000 --untie
      explorer plan llama-3.1-8b --sweep quantize=Q4_K_M,Q8_0 --sweep context=8192,32768
    """
    from explorer.sizing.workloads import axis_of, lora_of, mesh_of

    given = {name: value for name, value in settings.items() if value is not None}
    for name, parse in (("lora", lora_of), ("mesh", mesh_of)):
        if name in given:
            given[name] = parse(given[name])
    if given.get("compile") and device != "here":
        os.environ.setdefault("JAX_PLATFORMS", "cpu")  # no accelerator is taken
    if axes or meshes is not None:
        swept: dict[str, Any] = dict(map(axis_of, axes))
        if meshes is not None:
            if "mesh" in {*swept, *given}:
                raise InputError("--meshes", found="a mesh as well", expected="one of both")
            swept = {"mesh": meshes, **swept}
        _print_sweep(target, form, swept, device, given)
        return
    found = plan_target(target, device=device, **given)
    if picture is not None:
        from explorer.views.plan_plot import plot_plans

        def plan_for(changed: dict[str, Any]) -> "MemoryPlan":
            return plan_target(target, device=device, **{**given, **changed})

        plot_plans(found, plan_for, picture)

    def document() -> Document:
        from explorer.views.plan import plan_document

        return plan_document(found)

    echo_result(form, document=document, records=lambda: found.terms, value=lambda: found)


def _print_sweep(
    target: str, form: str, axes: dict[str, Any], device: str | None, given: dict[str, Any]
) -> None:
    found = sweep_target(target, axes, device=device, **given)

    def document() -> Document:
        from explorer.views.sweep import sweep_document

        return sweep_document(found)

    def records() -> list[dict[str, Any]]:
        from explorer.views.sweep import sweep_records

        return sweep_records(found)

    echo_result(form, document=document, records=records, value=lambda: found)
