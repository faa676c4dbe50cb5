"""The words of the field, explained on a model."""

import os
from typing import TYPE_CHECKING, Any

from explorer.api.plans import planner_of, subject_of
from explorer.api.pruning import plan_pruning
from explorer.errors import check_type

if TYPE_CHECKING:
    from explorer.explaining.facts import Facts
    from explorer.explaining.learning_run import LearningRun
    from explorer.explaining.records import Explanation

__all__ = ["explain"]

# names of folders that say nothing of the model in them
_BARE = {"checkpoint", "model", "weights"}


def explain(
    target: Any = None, word: str | None = None, *, run: "LearningRun | None" = None
) -> "Explanation":
    """Return what tensor, parameter, weight, bias and ten more words mean, on a real model.

    Every number is computed from the target; no array library is loaded for a name or a file.

    Args:
        target: as for `explore`; None for the catalogue's llama-3.1-8b.
        word: "bias", "MoE", "4-bit", ...: that topic in full; None for all of them in brief.
        run: what the topic learning quotes; None for a recorded run of `explorer train linear`.

    Raises:
        InputError: as `explore`; also a word that has no topic: the nearest is named.

    >>> found = explain("llama-2-7b", "tensors")
    >>> [(fact.name, fact.value) for fact in found.topics[0].facts][:2]
    [('parameters', 6738415616), ('tensors of parameters', 291)]
    """
    from explorer.architectures.catalog.entries import UndisclosedModel, find
    from explorer.explaining.explain import explanation_of, undisclosed_explanation
    from explorer.explaining.facts import STAND_IN
    from explorer.explaining.learning_run import RECORDED, LearningRun
    from explorer.explaining.words import find_topic

    if run is None:
        run = RECORDED
    check_type("run", run, LearningRun, "what run_learning returns, or None")
    topic = None
    if word is not None:
        check_type("word", word, str, "a word such as bias")
        topic = find_topic(word)
    target = STAND_IN if target is None else target
    name = os.fspath(target) if isinstance(target, str | os.PathLike) else ""
    if not os.path.lexists(name) and isinstance(model := find(name), UndisclosedModel):
        known = explanation_of(_facts(STAND_IN, STAND_IN), topic) if topic else None
        return undisclosed_explanation(model, name, known)
    return explanation_of(_facts(target, name), topic, run)


def _facts(target: Any, name: str = "") -> "Facts":
    """Return what topics are written from."""
    from explorer.analyses.ledger import ledger_of
    from explorer.explaining.facts import Facts

    subject = subject_of(target, ())
    inventory, planner = subject.inventory, planner_of(subject)
    return Facts(
        name=_called(name or inventory.target) or "this model",
        spelled=name,
        inventory=inventory,
        ledger=ledger_of(inventory),
        architecture=subject.architecture,
        plan=lambda **settings: planner(settings),
        prune=lambda pattern: plan_pruning(target, pattern),
        example=lambda other: _facts(other, other),
    )


def _called(target: str) -> str:
    """Return how sentences call a target: a path by its last part, which "model" alone is not."""
    if not os.path.lexists(target):
        return target
    above, last = os.path.split(os.path.abspath(target))
    is_bare = last.lower() in _BARE and os.path.basename(above)
    return f"{os.path.basename(above)}/{last}" if is_bare else last
