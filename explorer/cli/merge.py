"""merge: several models of one architecture combined into one, and how far it is from the first."""

from typing import TYPE_CHECKING

import click

from explorer.cli.console import complete_target, echo_result, format_option, path_type
from explorer.document.records import Document

if TYPE_CHECKING:
    from explorer.transforms.records import Change

__all__ = ["merge"]


@click.command()
@click.argument(
    "models", nargs=-1, required=True, type=path_type, shell_complete=complete_target
)
@click.option(
    "--method",
    default="average",
    show_default=True,
    help="average, slerp, task_arithmetic, ties or dare.",
)
@click.option("--base", type=path_type, help="What the models were trained from.")
@click.option(
    "--weights",
    metavar="0.3,0.7",
    help="One for each model; of slerp the share of the way.",
)
@click.option(
    "--density",
    default=0.5,
    show_default=True,
    help="The share of changes ties and dare keep.",
)
@click.option(
    "--scale",
    default=1.0,
    show_default=True,
    help="What combined changes are multiplied by.",
)
@click.option("--seed", default=0, show_default=True, help="Of what dare drops.")
@click.option("--dtype", help="Of parameters in float formats: bf16, float16, float32.")
@click.option(
    "-o",
    "--output",
    "path",
    required=True,
    type=click.Path(),
    help="The new file or folder.",
)
@format_option
def merge(
    models: tuple[str, ...],
    method: str,
    base: str | None,
    weights: str | None,
    density: float,
    scale: float,
    seed: int,
    dtype: str | None,
    path: str,
    form: str,
) -> None:
    """Write one model that combines several of one architecture, and print what changed.

    What changed is measured from the first model; with --base, which task_arithmetic, ties and
    dare need, from the base. A tensor at a time is in memory, and the file says what was done.

    \b
    Examples:
      explorer merge model-a/ model-b/ -o soup/
      explorer merge model-a/ model-b/ --method slerp --weights 0.25 -o between/
      explorer merge chat/ code/ --base base/ --method ties --density 0.2 -o both/
    """
    from explorer.api.merging import merge_files
    from explorer.cli.writing_progress import progress_bar

    with progress_bar() as (total, done):
        change = merge_files(
            models,
            path,
            method,
            base=base,
            weights=None if weights is None else _numbers(weights),
            density=density,
            scale=scale,
            seed=seed,
            dtype=dtype,
            progress=None if total is None or done is None else (total, done),
        )
    _print(change, form)


def _numbers(text: str) -> list[float]:
    try:
        return [float(each) for each in text.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a list of numbers such as 0.3,0.7", param_hint="--weights"
        ) from None


def _print(change: "Change", form: str) -> None:
    def document() -> Document:
        from explorer.views.change import change_document

        return change_document(change)

    echo_result(
        form, document=document, records=lambda: change.tensors, value=change.to_dict
    )
