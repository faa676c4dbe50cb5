"""prune: zeros in the kernels of a model, or fewer of them, and what that changes."""

from typing import TYPE_CHECKING, Any

import click

from explorer.cli.console import (
    echo_result,
    evaluate_options,
    format_option,
    path_type,
    target_argument,
)
from explorer.document.records import Document

if TYPE_CHECKING:
    from explorer.transforms.records import Change

__all__ = ["prune"]


@click.command()
@target_argument
@click.option(
    "--pattern", required=True, metavar="0.5|2:4|rows:0.25", help="What is pruned."
)
@click.option(
    "--by",
    default="magnitude",
    show_default=True,
    metavar="METHOD",
    help="magnitude, random, wanda or sparsegpt.",
)
@click.option("--scope", metavar="tensor|global|group", help="Which entries are compared.")
@click.option("--select", metavar="GLOB", help='Only these tensors: "**/mlp/**".')
@click.option(
    "--calibrate", metavar="TEXT.txt", type=path_type, help="Text for wanda and sparsegpt."
)
@click.option("--sequences", default=16, show_default=True, help="Of that text.")
@click.option("--length", default=128, show_default=True, help="Tokens of a sequence.")
@click.option("--seed", default=0, show_default=True, help="Of random scores.")
@click.option(
    "--plan", "planned", is_flag=True, help="Count what will change: needs no weights."
)
@click.option("-o", "--output", "path", type=click.Path(), help="The new file or folder.")
@evaluate_options
@format_option
@click.pass_context
def prune(
    ctx: click.Context,
    target: str,
    form: str,
    planned: bool,
    path: str | None,
    calibrate: str | None,
    sequences: int,
    length: int,
    evaluate: str | None,
    eval_length: int,
    eval_sequences: int,
    **given: Any,
) -> None:
    """Write a pruned model, and print what changed.

    A share of the entries (0.5) or n:m (2:4) become zeros in the kernels of linear layers. rows,
    columns, heads, layers and experts are removed from a model that explorer knows, whose shapes
    and config.json shrink. Without -o or --plan, what would change is measured and not written.
    --evaluate measures on a text what the written model loses.

    \b
    Examples:
      explorer prune llama-3.1-8b --pattern 2:4 --plan
      explorer prune model/ --pattern 0.5 -o pruned/
      explorer prune model.gguf --pattern 2:4 --by sparsegpt --calibrate text.txt -o pruned/
      explorer prune model/ --pattern rows:0.25 -o smaller/
    """
    from explorer.api import pruning
    from explorer.api.evaluating import check_text, evaluated_pruning

    if evaluate is not None and path is None:
        raise click.UsageError("--evaluate needs a pruned model: give -o OUT", ctx)
    if planned:
        if path is not None:
            raise click.UsageError("--plan writes nothing: leave -o out", ctx)
        given.pop("seed")
        _print(pruning.plan_pruning(target, **given), form)
        return
    if path is not None:
        from explorer.api.writing import check_new

        check_new(path)
    tokens = check_text(target, evaluate, eval_length, eval_sequences)
    data = None
    if calibrate is not None:
        from explorer.pretrained.tokens import token_sequences

        data = [*token_sequences(target, calibrate, length, sequences)[:, None]]
    change = _pruned(target, path, data, given)
    if path is not None and tokens is not None:
        change = evaluated_pruning(change, target, path, tokens)
    _print(change, form)


def _pruned(target: str, path: str | None, data: Any, given: dict[str, Any]) -> "Change":
    """Prune a target, and write it if there is a path; what can be is done a tensor at a time."""
    from explorer.api import pruning

    if path is not None and pruning.can_stream(target, **given):
        from explorer.cli.writing_progress import progress_bar

        with progress_bar() as (total, done):
            progress = None if total is None or done is None else (total, done)
            return pruning.prune_file(target, path=path, progress=progress, **given)
    result, change = pruning.prune(target, data=data, **given)
    if path is not None:
        from explorer.api.writing import save

        like = target if change.config is None else None
        save(result, path, like=like, config=change.config)
    return change


def _print(change: "Change", form: str) -> None:
    def document() -> Document:
        from explorer.views.change import change_document

        return change_document(change)

    echo_result(
        form, document=document, records=lambda: change.tensors, value=change.to_dict
    )
