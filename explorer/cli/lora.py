"""lora: low-rank adapters of a model added, merged, extracted and shown."""

from typing import Any

import click

from explorer.cli.console import (
    complete_target,
    echo,
    echo_result,
    format_option,
    path_type,
    target_argument,
)
from explorer.document.records import Document, Notes, Paragraph
from explorer.errors import InputError
from explorer.views.adapters import trainable_line

__all__ = ["lora"]


@click.group()
def lora() -> None:
    """Low-rank adapters: add, merge, extract, show.

    \b
    Examples:
      explorer lora add llama-3.1-8b --rank 16 --targets q_proj,v_proj --plan
      explorer lora add model/ --rank 8 --targets all-linear -o adapter/
      explorer lora merge model/ adapter/ -o merged/
      explorer lora extract tuned/ model/ --rank 16 -o adapter/
      explorer lora show adapter/
    """


@lora.command()
@target_argument
@click.option("--rank", type=int, required=True, help="Of each adapter.")
@click.option(
    "--targets",
    default="q,v",
    show_default=True,
    help="Names of modules, or attention, mlp, all.",
)
@click.option("--alpha", type=float, help="The scale times the rank.  [default: the rank]")
@click.option(
    "--variant",
    type=click.Choice(["lora", "rslora", "dora"]),
    default="lora",
    show_default=True,
    help="Of adapters.",
)
@click.option("--dtype", default="float32", show_default=True, help="Of the adapters.")
@click.option("--save", default="", help="Modules trained whole beside them: classifier.")
@click.option("--seed", type=int, default=0, show_default=True, help="A is drawn from it.")
@click.option("--plan", "only_plan", is_flag=True, help="Print counts; needs no weights.")
@click.option("-o", "--out", type=click.Path(), metavar="FOLDER", help="A new folder.")
@format_option
def add(
    target: str,
    form: str,
    rank: int,
    targets: str,
    alpha: float | None,
    variant: Any,
    dtype: str,
    save: str,
    seed: int,
    only_plan: bool,
    out: str | None,
) -> None:
    """Add adapters to a model: print what they add, or write them to be trained.

    \b
    Examples:
      explorer lora add qwen2.5-3b --rank 16 --targets q_proj,v_proj --plan
      explorer lora add model/ --rank 8 -o adapter/
    """
    from explorer.api.adapters import add_lora, plan_lora, save_lora

    if only_plan == (out is not None):
        found = "both" if only_plan else "neither --plan nor -o FOLDER"
        raise InputError("lora add", found=found, expected="one of both")
    words, whole = (tuple(filter(None, each.split(","))) for each in (targets, save))
    change = plan_lora(
        target,
        rank,
        words,
        variant=variant,
        dtype=dtype,
        save=whole,
    )
    if out is not None:
        import jax

        from explorer.pretrained.loading import load_pretrained
        from explorer.sizing.training.saved import saved_leaves

        module, params = load_pretrained(target)
        adapters, change = add_lora(
            params, rank, words, alpha=alpha, variant=variant, dtype=dtype, model=module,
            rng=jax.random.key(seed), save=saved_leaves(module.architecture, whole),
        )  # fmt: skip
        save_lora(adapters, out, model=module, base=target)
    _print(form, change, trainable_line(change.trainable or 0, change.parameters_after))


@lora.command()
@click.argument("base", type=path_type, shell_complete=complete_target)
@click.argument("adapter", type=path_type)
@click.option(
    "-o", "--out", type=click.Path(), required=True, metavar="OUT", help="What is new."
)
@click.option("--dtype", help="Of the merged parameters: bf16, float16, float32.")
@format_option
def merge(base: str, adapter: str, out: str, dtype: str | None, form: str) -> None:
    """Merge adapters into their base model, and write the whole model to OUT.

    \b
    Example:
      explorer lora merge model/ adapter/ -o merged/
    """
    from explorer.api.adapters import merge_lora_file
    from explorer.cli.writing_progress import progress_bar

    with progress_bar() as (total, done):
        progress = None if total is None or done is None else (total, done)
        change = merge_lora_file(base, adapter, out, dtype=dtype, progress=progress)
    moved = [each for each in change.tensors if each.relative_error is not None]
    line = f"{out}: {change.parameters_after:,} parameters, {len(moved):,} tensors merged"
    if change.relative_error is not None:
        line += f", which moved by {change.relative_error:.3g} of their norm"
    _print(form, change, line)


@lora.command()
@click.argument("tuned", type=path_type, shell_complete=complete_target)
@click.argument("base", type=path_type, shell_complete=complete_target)
@click.option("--rank", type=int, help="Of every adapter, or the most of --energy.")
@click.option("--energy", type=float, help="Share of squared singular values that is kept.")
@click.option(
    "-o", "--out", type=click.Path(), required=True, metavar="FOLDER", help="A new one."
)
@format_option
def extract(
    tuned: str, base: str, rank: int | None, energy: float | None, out: str, form: str
) -> None:
    """Extract the adapters that turn BASE into TUNED, by singular values.

    \b
    Example:
      explorer lora extract tuned/ model/ --rank 16 -o adapter/
    """
    from explorer.api.adapters import extract_lora, save_lora
    from explorer.pretrained.loading import load_pretrained

    (module, params), (_, before) = load_pretrained(tuned), load_pretrained(base)
    adapters, change = extract_lora(params, before, rank=rank, energy=energy, model=module)
    save_lora(adapters, out, model=module, base=base)
    left = change.relative_error
    words = "" if left is None else f"; relative error of the kernels {left:.3g}"
    _print(form, change, f"{out}: {change.trainable:,} parameters{words}")


@lora.command()
@click.argument("folder", type=path_type)
@format_option
def show(folder: str, form: str) -> None:
    """Print what a folder or GGUF file of adapters holds.

    \b
    Example:
      explorer lora show adapter/
    """
    from explorer.transforms.adapters.gguf_adapters import read_adapters

    stored = read_adapters(folder)
    rows = [
        {
            "module": module,
            "rank": each.rank,
            "alpha": each.alpha,
            "scale": each.scale,
            "inputs": each.a.shape[1],
            "outputs": each.b.shape[0],
            "parameters": sum(x.size for x in each[:3] if x is not None),
        }
        for module, each in stored.modules.items()
    ]
    value = {
        "adapter": stored.config.variant,
        "base": stored.config.base_model_name_or_path,
        "trainable_parameters": stored.parameters,
        "saved": {name: list(array.shape) for name, array in stored.saved.items()},
        "modules": rows,
    }

    def document() -> Document:
        from explorer.views.adapters import adapters_document

        return adapters_document(folder, value)

    echo_result(form, document=document, records=lambda: rows, value=lambda: value)


def _print(form: str, change: Any, line: str) -> None:
    """Print a change: a line as text, its record in other forms."""
    if form == "text":
        echo("\n".join((line, *change.notes)))
        return

    def document() -> Document:
        return Document(blocks=(Paragraph(line), Notes(change.notes)))

    echo_result(
        form, document=document, records=lambda: change.tensors, value=change.to_dict
    )
