"""Texts in the cells of a terminal: how wide they are, and shorter ones that stay distinct."""

from collections.abc import Sequence

__all__ = ["clip", "distinct", "widest", "width_of"]


def width_of(text: str) -> int:
    """Return how many terminal cells a text takes.

    >>> width_of("norm"), width_of("層")
    (4, 2)
    """
    if text.isascii() or text.replace("…", "").isascii():
        return len(text)
    import unicodedata  # seldom needed, and start-up is counted in milliseconds

    return sum(
        0
        if unicodedata.combining(c)
        else 2
        if unicodedata.east_asian_width(c) in "WF"
        else 1
        for c in text
    )


def widest(texts: Sequence[str]) -> int:
    """Return the cells of the widest of several texts.

    >>> widest(["norm", "層"])
    4
    """
    if all(map(str.isascii, texts)):
        return max(map(len, texts))
    return max(map(width_of, texts))


def clip(text: str, width: int, head: int | None = None) -> str:
    """Return a text of at most `width` cells; what is cut goes from its middle.

    Args:
        text: any.
        width: cells.
        head: cells that are kept of its beginning; None for half of them.

    >>> clip("encoder/layer/0/attention", 11), clip("encoder/layer/0/attention", 11, 3)
    ('encod…ntion', 'enc…tention')
    """
    if width_of(text) <= width:
        return text
    if width < 1:
        return ""
    head = min(width // 2 if head is None else head, width - 1)
    tail = width - head - 1
    left, right = text, text
    while width_of(left) > head:
        left = left[:-1]
    while width_of(right) > tail:
        right = right[1:]
    return left + "…" + right


def distinct(texts: Sequence[str], width: int) -> list[str]:
    """Return texts of at most `width` cells, different ones where they were different.

    What all long ones begin with is left out first; then what is cut goes from where they are
    the same. If nothing else helps they are numbered.

    >>> distinct(["model/layer/0/attention/query", "model/layer/0/attention/key"], 12)
    ['…query', '…key']
    >>> distinct(["abcdefgh_1", "abcdefgh_2", "total"], 6)
    ['abc…_1', 'abc…_2', 'total']
    """
    long = [text for text in texts if width_of(text) > width]
    if not long:
        return list(texts)
    shared = _shared_start(long) if len(set(long)) > 1 else ""
    short = [
        f"…{t[len(shared) :]}" if shared and t.startswith(shared) else t for t in texts
    ]
    wanted = len(set(texts))
    for head in (width // 2, width // 4, 2, 0):
        clipped = [clip(text, width, head) for text in short]
        if len(set(clipped)) == wanted:
            return clipped
    numbers: dict[str, str] = {}
    for text in texts:
        numbers.setdefault(text, f"~{len(numbers) + 1}")
    return [
        clip(clip(text, width - len(numbers[text])) + numbers[text], width, 0)
        if width_of(text) > width
        else text
        for text in texts
    ]


def _shared_start(texts: Sequence[str]) -> str:
    """Return what all texts begin with, up to the end of a part of a name."""
    first, last = min(texts), max(texts)
    same = next((i for i, c in enumerate(first) if c != last[i : i + 1]), len(first))
    start = first[:same]
    return start[: max(start.rfind("/"), start.rfind(".")) + 1].lstrip(" ")
