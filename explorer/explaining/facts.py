"""What topics are written from: a model's figures, its architecture, and plans of it."""

import shlex
from collections.abc import Callable
from functools import cached_property

import msgspec

from explorer.analyses.ledger import Ledger
from explorer.architectures.architecture import Architecture
from explorer.inventory.inventory import Inventory
from explorer.inventory.tensor import TensorSpec
from explorer.sizing.records import MemoryPlan
from explorer.transforms.records import Change
from explorer.views import units

__all__ = ["STAND_IN", "Facts", "Planner", "in_words", "share"]

STAND_IN = (
    "llama-3.1-8b"  # what words are explained on where no model is named, or none fits
)
Planner = Callable[..., MemoryPlan]
Pruner = Callable[[str], Change]


class Facts(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One model, as the topics speak of it.

    Attributes:
        name: as sentences say it.
        spelled: as a command takes it; "" for an object in memory.
        inventory, ledger: what is in it.
        architecture: behind it; None where nothing describes one.
        plan: plans it, for settings.
        prune: returns what pruning by a pattern will change in it.
        example: returns the facts of a catalogued model, for what this one lacks.
        whole: whether details and tables are wanted.
    """

    name: str
    spelled: str
    inventory: Inventory
    ledger: Ledger
    architecture: Architecture | None
    plan: Planner
    prune: Pruner
    example: "Callable[[str], Facts]"
    whole: bool = True

    def command(self, verb: str, options: str = "", is_possible: bool = True) -> str:
        """Return a command on this model (`explorer show gpt2 --by role`), or on another one
        where it cannot be run on this one."""
        target = shlex.quote(self.spelled) if self.spelled and is_possible else STAND_IN
        return " ".join(filter(None, ("explorer", verb, target, options)))

    @property
    def reads_tokens(self) -> bool | None:
        """Whether it is a model of text; None where nothing says so."""
        return None if self.architecture is None else self.architecture.embed is not None

    @cached_property
    def largest(self) -> TensorSpec | None:
        """The parameter tensor with the most numbers in it; None for a model without any."""
        columns = self.inventory.columns
        numbers = [n for n, kind in enumerate(columns.kinds) if kind.is_parameter]
        if not numbers:
            return None
        most = max(numbers, key=lambda n: columns.kinds[n].size)
        return columns.spec(list(columns.numbers).index(most))

    def parameters_of(self, **words: str) -> int:
        """Return how many parameters have this role, component or both."""
        return self.inventory.total(
            lambda kind: kind.size,
            lambda kind: (
                kind.is_parameter
                and all(getattr(kind, name) == word for name, word in words.items())
            ),
        )


def in_words(number: int) -> str:
    """Return a large number as people say it; a small one in digits.

    >>> in_words(8_030_261_248), in_words(124_439_808), in_words(15)
    ('8.03 billion', '124 million', '15')
    """
    for word, scale in (("trillion", 10**12), ("billion", 10**9), ("million", 10**6)):
        if number >= scale:
            return f"{number / scale:.3g} {word}"
    return f"{number:,}"


def share(part: int, whole: int) -> str:
    """Return a part as a percentage of the whole, as tables show it."""
    return units.share(part, whole)
