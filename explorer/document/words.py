"""Numbers with their nouns."""

__all__ = ["counted"]


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "tensor"), counted(2000, "bias", "biases")
    ('1 tensor', '2,000 biases')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
