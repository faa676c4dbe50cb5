"""quantize: a checkpoint written with quantised weights, or what that would take."""

from typing import TYPE_CHECKING, Any

import click

from explorer.cli.completion import complete_scheme
from explorer.cli.console import (
    echo_result,
    evaluate_options,
    format_option,
    path_type,
    target_argument,
)
from explorer.document.records import Document

if TYPE_CHECKING:
    from explorer.transforms.calibration.settings import Calibration
    from explorer.transforms.records import Change

__all__ = ["quantize"]


@click.command()
@target_argument
@click.option(
    "--to",
    "scheme",
    required=True,
    shell_complete=complete_scheme,
    help="Q4_K_M, Q8_0, nf4, int4:g64, fp8, ...",
)
@click.option(
    "--by", "method", metavar="METHOD", help="gptq or awq, on --calibrate TEXT.txt."
)
@click.option(
    "--calibrate", metavar="TEXT.txt", type=path_type, help="Text for gptq and awq."
)
@click.option("--sequences", default=16, show_default=True, help="Of that text.")
@click.option("--length", default=128, show_default=True, help="Tokens of a sequence.")
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
    method: str | None,
    calibrate: str | None,
    sequences: int,
    length: int,
    **text: Any,
) -> None:
    """Write a model with quantised weights, and print what was lost.

    With one of llama.cpp's schemes (Q4_K_M, Q8_0, Q4_K:pure, ...), a GGUF file: its mixing rule
    chooses the type of each tensor, and the blocks are those that llama.cpp writes. With one for
    linear layers (nf4, int8, fp8, ...), a folder of safetensors in its library's layout.

    --plan needs no weights: TARGET may be a name of `explorer catalog` or a config.json, and the
    sizes are exact. --evaluate measures on a text what is lost: the loss, how often the most likely
    next token is the same, and the divergence. --by gptq or awq chooses the numbers of int4 and
    int8 in groups on a text, with which the model loses less than with the nearest ones.

    \b
    Schemes for linear layers: nf4, fp4, int8, int4, fp8, mxfp4, nvfp4, int8wo, int4wo;
    options :g64, :channel, :tensor, :block, :asym, :search, :double, :e5m2.
    gptq and awq are sizes of --plan, and methods of --by.
    llama.cpp's: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q1_0, Q2_0, Q2_K, Q2_K_S,
    Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K, IQ1_S, IQ1_M, IQ2_XXS,
    IQ2_XS, IQ2_S, IQ2_M, IQ3_XXS, IQ3_XS, IQ3_S, IQ3_M, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0,
    MXFP4_MOE, NVFP4; :pure gives every matrix one type.

    \b
    Examples:
      explorer quantize llama-3.1-8b --to Q4_K_M --plan
      explorer quantize model/ --to Q4_K_M -o model-Q4_K_M.gguf
      explorer quantize model.gguf --to Q8_0 -o model-Q8_0.gguf --evaluate text.txt
      explorer quantize model/ --to int4:g128 --by gptq --calibrate text.txt -o model-int4/
    """
    if is_plan == (path is not None):
        raise click.UsageError("give either --plan or -o OUT", ctx)
    if (method is None) != (calibrate is None):
        raise click.UsageError("--by METHOD and --calibrate TEXT.txt need each other", ctx)
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
        calibration = _calibration(like or target, method, calibrate, length, sequences)
        with progress_bar() as (total, done):
            progress = None if total is None or done is None else (total, done)
            change = quantize_file(
                target, scheme, path, like=like, progress=progress, calibrate=calibration
            )
        if tokens is not None:
            change = evaluated_quantisation(change, target, scheme, path, tokens)
    _print(change, form)


def _calibration(
    target: str, method: str | None, text: str | None, length: int, sequences: int
) -> "Calibration | None":
    """Return a method and the tokens of a text for it, as the model's own tokenizer has them."""
    if method is None:
        return None
    from explorer.api.evaluating import check_text
    from explorer.transforms.calibration.settings import Calibration, check_calibration

    check_calibration(Calibration(method, None))
    tokens = check_text(target, text, length, sequences)
    return Calibration(method, [*tokens[:, None]])


def _print(change: "Change", form: str) -> None:
    def document() -> Document:
        from explorer.views.change import change_document

        return change_document(change)

    echo_result(
        form, document=document, records=lambda: change.tensors, value=change.to_dict
    )
