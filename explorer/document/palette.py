"""The colours of components, the same in every output: terminal, notebook, plots and report.

They are those of Okabe and Ito, which people distinguish with any colour vision, and no colour
is the only sign of anything: the word stands beside it.
"""

from typing import NamedTuple

__all__ = ["COLOURS", "OTHER", "Colour", "colour_of", "escape_of"]


class Colour(NamedTuple):
    """A colour for pages and pictures, and one of a terminal that is near it and legible there.

    Those of a terminal differ from each other in any colour vision, on black and on white.

    Attributes:
        code: "#rrggbb".
        cell: number in the table of 256 colours that terminals have.
    """

    code: str
    cell: int


COLOURS = {
    "embedding": Colour("#0072B2", 25),
    "attention": Colour("#E69F00", 208),
    "mlp": Colour("#009E73", 36),
    "experts": Colour("#CC79A7", 175),
    "router": Colour("#D55E00", 166),
    "norm": Colour("#56B4E9", 75),
    "head": Colour("#F0E442", 143),  # darker in a terminal: it may be white
}
OTHER = Colour("#A0A8B0", 246)


def colour_of(word: str) -> Colour | None:
    """Return the colour of a component; None for a word that has none.

    >>> colour_of("mlp"), colour_of("kernel")
    (Colour(code='#009E73', cell=36), None)
    """
    return COLOURS.get(word)


def escape_of(word: str) -> str:
    """Return what begins the colour of a component in a terminal; empty for other words.

    >>> escape_of("mlp")
    '\\x1b[38;5;36m'
    """
    found = COLOURS.get(word)
    return "" if found is None else f"\x1b[38;5;{found.cell}m"
