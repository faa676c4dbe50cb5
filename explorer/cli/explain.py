"""explain: tensor, parameter, weight, bias and ten more words, on a real model."""

import os
from typing import TYPE_CHECKING

import click

from explorer.api.explaining import explain as explain_words
from explorer.cli.completion import complete_target_or_word, complete_word
from explorer.cli.console import echo_result, format_option, path_type
from explorer.errors import InputError, TargetError, printable
from explorer.explaining.document import explanation_document, fact_records
from explorer.explaining.words import TOPICS, find_topic, is_word, nearest_word

if TYPE_CHECKING:
    from explorer.explaining.learning_run import LearningRun

__all__ = ["explain"]


@click.command()
@click.argument(
    "target", required=False, type=path_type, shell_complete=complete_target_or_word
)
@click.argument("word", required=False, shell_complete=complete_word)
@click.option(
    "--run", is_flag=True, help="Train the line of the topic learning now; loads JAX."
)
@format_option
def explain(target: str | None, word: str | None, run: bool, form: str) -> None:
    """Explain the words of the field on a real model: tensor, parameter, weight, bias,
    embedding, hyperparameter, learning, quantisation, pruning, mixture of experts, LoRA,
    memory, speed and cost.

    Without TARGET, on the catalogue's llama-3.1-8b. Every number is computed from the target.

    \b
    Examples:
      explorer explain
      explorer explain bias
      explorer explain llama-2-7b
      explorer explain mixtral-8x7b moe
      explorer explain model.gguf quantisation
      explorer explain learning --run
    """
    if word is None and target is not None and _means_word(target):
        target, word = None, target
    run_now = _measured(word) if run else None
    try:
        found = explain_words(target, word, run=run_now)
    except TargetError as error:
        if error.cure or word is not None or target is None:
            raise
        if os.path.lexists(target) or {*target} & {*"/.:"}:
            raise
        raise InputError(
            printable(target, 60),
            found="is neither a word that is explained nor a target",
            expected=f"one of {', '.join(TOPICS)}, a path, or a name of `explorer catalog`",
        ) from None
    echo_result(
        form,
        document=lambda: explanation_document(found),
        records=lambda: fact_records(found),
        value=lambda: found,
        markdown=lambda: explanation_document(found),
    )


def _means_word(text: str) -> bool:
    """Return whether the only argument is a word, perhaps a mistyped one, and not a target."""
    if os.path.lexists(text):
        return False
    if is_word(text):
        return True
    from explorer.architectures.catalog.entries import nearest

    return bool(nearest_word(text)) and nearest(text) is None


def _measured(word: str | None) -> "LearningRun":
    """Return the numbers of a run of `explorer train linear` that is made now."""
    if word is None or find_topic(word) != "learning":
        raise InputError(
            "--run",
            found="is for the topic learning",
            expected="explorer explain [TARGET] learning --run",
        )
    from explorer.recipes.learning import measure_learning

    return measure_learning()
