"""Colours of a terminal: the exact sequences, around the same text, and legible to everybody."""

import re

import numpy as np
import pytest

import explorer as ex
from explorer.document.html import html_of
from explorer.document.layout import TERMINAL, table_lines
from explorer.document.palette import COLOURS, OTHER, escape_of
from explorer.document.records import Column, Document, Notes, Table
from explorer.document.text import text_of
from explorer.views.inventory import inventory_document

TABLE = Table(
    (Column("by", once=True), Column("part", hued=True), Column("n", "right")),
    [("component", "mlp", 3), ("component", "conv", 1), ("total", "", 4)],
    total=True,
    bars=(0.75, 0.25),
    parts=True,
)
SEQUENCE = re.compile(r"\x1b\[[0-9;]*m")
MARK = re.compile(r"\x1b\[38;5;[0-9]+m▌\x1b\[0m(?=[a-z])")


def test_the_sequences_of_a_table():
    green, end = "\x1b[38;5;36m", "\x1b[0m"
    assert table_lines(TABLE, 28, TERMINAL) == [
        f"\x1b[2mby         part  n{end}",
        f"component {green}▌{end}mlp   3  {green}██████{end}",
        "           conv  1  ██",
        "─────────  ────  ─",
        f"\x1b[1mtotal            4{end}",
    ]


def test_the_sequences_of_titles_and_notes():
    document = Document("gpt2", (Notes(("tied",)),))
    found = text_of(document, 60, TERMINAL)
    assert found == "\x1b[1mgpt2\x1b[0m\n\n\x1b[2mnotes\x1b[0m\n  - tied"


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("name", ["gpt2", "mixtral-8x7b"])
def test_without_its_sequences_the_text_is_the_same(name: str, width: int):
    document = inventory_document(ex.explore(name))
    coloured = text_of(document, width, TERMINAL)
    assert SEQUENCE.sub("", MARK.sub(" ", coloured)) == text_of(document, width)
    assert {escape_of(word) for word in ("attention", "norm")} <= set(
        SEQUENCE.findall(coloured)
    )
    assert all(line.count("\x1b[0m") == len(SEQUENCE.findall(line)) / 2 for line in coloured.split("\n"))  # fmt: skip


def test_a_name_brings_no_sequence_of_its_own():
    tree = {"\x1b[31mred": {"mlp": np.ones((2, 2), "float32")}}
    found = text_of(inventory_document(ex.explore(tree)), 100, TERMINAL)
    assert "\x1b[31m" not in found
    assert r"\x1b[31mred" in found


def test_a_notebook_has_the_same_colours():
    html = html_of(Document("", (TABLE,)))
    assert f"background:{COLOURS['mlp'].code}" in html
    assert html.count("background:#") == 1


def rgb(code: str) -> np.ndarray:
    return np.array([int(code[n : n + 2], 16) for n in (1, 3, 5)]) / 255


def of_cell(cell: int) -> np.ndarray:
    """Return a colour of xterm's table: a cube of 6 levels from 16 on, then greys."""
    if cell >= 232:
        return np.full(3, (8 + 10 * (cell - 232)) / 255)
    levels = np.array([0, 95, 135, 175, 215, 255]) / 255
    return levels[[(cell - 16) // 36, (cell - 16) // 6 % 6, (cell - 16) % 6]]


def linear(colour: np.ndarray) -> np.ndarray:
    """Return linear light of sRGB."""
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    """Return the contrast of WCAG 2."""
    low, high = sorted(float(linear(each) @ [0.2126, 0.7152, 0.0722]) for each in (a, b))
    return (high + 0.05) / (low + 0.05)


# Machado, Oliveira, Fernandes (2009), severity 1.0, for linear light
SEEN = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def lab(light: np.ndarray) -> np.ndarray:
    """Return CIE L*a*b* of linear light."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ np.clip(light, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", SEEN)
def test_every_vision_sees_different_colours(vision: str):
    """A difference of 10 in L*a*b* is seen beside each other; 2.3 is just noticeable."""
    for kind in ("code", "cell"):
        lights = [
            linear(rgb(c.code) if kind == "code" else of_cell(c.cell))
            for c in COLOURS.values()
        ]
        seen = [lab(SEEN[vision] @ light) for light in lights]
        pairs = [(i, j) for i in range(len(seen)) for j in range(i)]
        assert min(np.linalg.norm(seen[i] - seen[j]) for i, j in pairs) > 10


def test_colours_are_seen_in_dark_and_light_terminals():
    for colour in (*COLOURS.values(), OTHER):
        for ground in (np.zeros(3), np.ones(3)):
            assert contrast(of_cell(colour.cell), ground) > 2.2
        assert np.linalg.norm(of_cell(colour.cell) - rgb(colour.code)) < 0.45
