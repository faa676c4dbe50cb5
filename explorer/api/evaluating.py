"""Models on a text: what a written checkpoint loses against the one that it was made of."""

import os
from typing import TYPE_CHECKING, Any

from explorer.errors import InputError

if TYPE_CHECKING:
    from explorer.transforms.records import Change, Evaluation

__all__ = ["check_text", "evaluated_pruning", "evaluated_quantisation"]


def check_text(target: str, text: str | None, length: int, sequences: int) -> Any:
    """Return the tokens of a text as a checkpoint's own tokenizer has them; None of no text.

    Called before anything is written, so that what is wrong with them is said first.

    Raises:
        InputError: as `scored_sequences`; also sequences of no token that is predicted.
    """
    if text is None:
        return None
    from explorer.pretrained.tokens import scored_sequences

    for place, number, least in (("length", length, 2), ("sequences", sequences, 1)):
        if number < least:
            raise InputError(place, found=f"is {number}", expected=f"{least} or more")
    return scored_sequences(target, text, length, sequences)


def evaluated_quantisation(
    change: "Change", target: str, scheme: str, path: str, tokens: Any
) -> "Change":
    """Return a change with what the model loses on tokens.

    Args:
        change: of quantising.
        target: the checkpoint that was quantised.
        scheme: that it was.
        path: what was written.
        tokens: of `check_text`.

    Raises:
        InputError: a checkpoint of no causal language model that explorer knows.
    """
    from explorer.api.quantising import quantize
    from explorer.pretrained.loading import load_pretrained

    model, before = load_pretrained(target)
    if os.path.isdir(path) or path.endswith(".gguf"):
        _, after = load_pretrained(path)
    else:
        # the numbers of the file, which has no config beside it
        after, _ = quantize(before, scheme, model=model, measure=False)
    return _evaluated(change, (model, before), (model, after), tokens)


def evaluated_pruning(change: "Change", target: str, path: str, tokens: Any) -> "Change":
    """Return a change with what a pruned model, which was written, loses on tokens.

    Raises:
        InputError: as `evaluated_quantisation`.
    """
    from explorer.pretrained.loading import load_pretrained

    return _evaluated(change, load_pretrained(target), load_pretrained(path), tokens)


def _evaluated(change: "Change", before: Any, after: Any, tokens: Any) -> "Change":
    from msgspec.structs import replace

    return replace(change, evaluation=_evaluation(before, after, tokens))


def _evaluation(before: Any, after: Any, tokens: Any) -> "Evaluation":
    """Return what one module and its parameters lose against another's."""
    from explorer.transforms.evaluation import Evaluator

    models = {"before": before[0], "after": after[0]}

    def logits(params: Any, tokens: Any) -> Any:
        [(which, tree)] = params.items()
        return models[which].apply({"params": tree}, tokens).logits

    evaluator = Evaluator(logits, tokens)
    return evaluator.compare({"before": before[1]}, {"after": after[1]})
