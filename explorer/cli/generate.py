"""generate: a text continued by a checkpoint, as the words come."""

from typing import TYPE_CHECKING, Any

import click

from explorer.api.generation import generate_text
from explorer.cli.console import echo, echo_part, target_argument

if TYPE_CHECKING:
    from explorer.generation.text import TextGeneration

__all__ = ["generate"]


@click.command()
@target_argument
@click.argument("text")
@click.option(
    "--max-new-tokens", type=int, default=128, show_default=True, help="Stop after so many."
)
@click.option(
    "--temperature",
    type=float,
    default=0.0,
    show_default=True,
    help="What logits are divided by; 0 takes the likeliest token.",
)
@click.option("--top-k", type=int, help="Choose among so many of the likeliest tokens.")
@click.option(
    "--top-p", type=float, help="Choose among the likeliest, of this share in all."
)
@click.option(
    "--min-p", type=float, help="Leave out tokens below this share of the likeliest."
)
@click.option(
    "--repetition-penalty",
    type=float,
    default=1.0,
    show_default=True,
    help="Make tokens that were there before less likely; 1 does nothing.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@click.option("--dtype", help="Compute in float32 (default on a CPU), bfloat16 or float16.")
@click.option("--cache-dtype", help="Keep keys and values in bfloat16, float16, ...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print; json prints at the end.",
)
def generate(target: str, text: str, dtype: str | None, form: str, **settings: Any) -> None:
    """Continue TEXT with the model of TARGET, printing words as they come.

    TARGET is a folder with weights, config.json and tokenizer.json, or a GGUF file, whose own
    vocabulary is used. The last line, on stderr, says how fast it was.

    \b
    Examples:
      explorer generate model.gguf "The capital of France is"
      explorer generate model/ "Once upon a time" --temperature 0.8 --top-p 0.95 --seed 1
      explorer generate model.gguf "2 + 2 =" --max-new-tokens 4 --format json
    """
    streams = form == "text"
    if streams:
        started = False

        def show(part: str) -> None:
            nonlocal started
            if not started:
                echo_part(text)
                started = True
            echo_part(part)

        found = generate_text(target, text, dtype=dtype, on_text=show, **settings)
        echo("" if started else text)
        click.echo(_figures(found), err=True)
        return
    found = generate_text(target, text, dtype=dtype, **settings)
    from explorer.views.exports import json_text

    echo(json_text(found))


def _figures(found: "TextGeneration") -> str:
    """Return how much there was, how fast it came, and what was kept, in one line."""
    from explorer.views.units import size

    new = len(found.tokens)
    parts = [
        f"{found.prompt_tokens:,} + {new:,} tokens{' to an end' if found.stopped else ''}",
        f"the first after {found.prefill_seconds:.2f} s",
    ]
    if found.decode_tokens_per_second:
        parts.append(f"then {found.decode_tokens_per_second:.1f} tokens/s")
    return "; ".join((*parts, f"cache {size(found.cache_bytes)}"))
