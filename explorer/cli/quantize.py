"""quantize: a checkpoint written with quantised weights, or what that would take."""

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

__all__ = ["quantize"]


@click.command()
@target_argument
@click.option("--to", "scheme", required=True, help="Q4_K_M, Q8_0, nf4, int4:g64, fp8, ...")
@click.option("--plan", "is_plan", is_flag=True, help="Print the sizes; write nothing.")
@click.option("-o", "--output", "path", type=click.Path(), help="The new file or folder.")
@click.option("--like", type=path_type, help="A checkpoint with the config and tokenizer.")
@evaluate_options
@format_option
@click.pass_context
def quantize(
    ctx: click.Context,
    target: str,
    scheme: str,
    is_plan: bool,
    path: str | None,
    like: str | None,
    form: str,
    **text: Any,
) -> None:
    """Write a model with quantised weights, and print what was lost.

    With one of llama.cpp's schemes (Q4_K_M, Q8_0, Q4_K:pure, ...), a GGUF file: its mixing rule
    chooses the type of each tensor, and the blocks are those that llama.cpp writes. With one for
    linear layers (nf4, int8, fp8, ...), a folder of safetensors in its library's layout.

    --plan needs no weights: TARGET may be a name of `explorer catalog` or a config.json, and the
    sizes are exact. --evaluate measures on a text what is lost: the loss, how often the most likely
    next token is the same, and the divergence.

    \b
    Examples:
      explorer quantize llama-3.1-8b --to Q4_K_M --plan
      explorer quantize model/ --to Q4_K_M -o model-Q4_K_M.gguf
      explorer quantize model.gguf --to Q8_0 -o model-Q8_0.gguf --evaluate text.txt
    """
    if is_plan == (path is not None):
        raise click.UsageError("give either --plan or -o OUT", ctx)
    if path is None:
        from explorer.api.writing import plan_quantisation

        if text["evaluate"] is not None:
            raise click.UsageError("--evaluate needs weights: give -o OUT", ctx)

        change = plan_quantisation(target, scheme)
    else:
        from explorer.api.evaluating import check_text, evaluated_quantisation
        from explorer.api.writing import check_new, quantize_file
        from explorer.cli.writing_progress import progress_bar

        check_new(path)
        tokens = check_text(
            like or target, text["evaluate"], text["eval_length"], text["eval_sequences"]
        )
        with progress_bar() as (total, done):
            progress = None if total is None or done is None else (total, done)
            change = quantize_file(target, scheme, path, like=like, progress=progress)
        if tokens is not None:
            change = evaluated_quantisation(change, target, scheme, path, tokens)
    _print(change, form)


def _print(change: "Change", form: str) -> None:
    def document() -> Document:
        from explorer.views.change import change_document

        return change_document(change)

    echo_result(
        form, document=document, records=lambda: change.tensors, value=change.to_dict
    )
