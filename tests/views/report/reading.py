"""A report read back without a browser: its elements, its data, and what it could ask for."""

import base64
import hashlib
import json
from html.parser import HTMLParser
from typing import Any

__all__ = ["ReadReport", "read_report", "totals_of"]

_VOID = {"meta", "link", "input", "br"}


class ReadReport(HTMLParser):
    """Collects elements and text; every element is closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.raw:
            self.raw[self.open[-1]][-1] += data
        else:
            self.text.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """What the script is given."""
        return json.loads(self.raw["script"][0])

    @property
    def policy(self) -> str:
        """Its Content-Security-Policy."""
        return next(
            str(attributes["content"])
            for tag, attributes in self.elements
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        )


def read_report(page: str) -> ReadReport:
    """Return a report read back; what could run, or ask for anything elsewhere, fails."""
    parser = ReadReport()
    parser.feed(page)
    parser.close()
    assert not parser.open
    for tag, attributes in parser.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base", "form", "a:href"), (
            tag
        )
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in ("style", "src", "srcset", "action"), (tag, name)
            assert name != "href" or str(value).startswith(("#", "data:,")), value
    kinds = [at.get("type") for tag, at in parser.elements if tag == "script"]
    assert kinds == ["application/json", None]
    for text, directive in (
        (parser.raw["script"][1], "script-src"),
        (parser.raw["style"][0], "style-src"),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in parser.policy
    assert "default-src 'none'" in parser.policy
    assert "url(" not in parser.raw["style"][0]
    assert "@import" not in parser.raw["style"][0]
    return parser


def totals_of(drawn: dict[str, Any]) -> tuple[int, int, int]:
    """Return parameters, bytes and tensors of a map; every part is the sum of those in it."""
    nodes = drawn["nodes"]
    for column in (2, 3, 4):
        sums: dict[int, int] = {}
        for node in nodes[1:]:
            sums[node[1]] = sums.get(node[1], 0) + node[column]
        assert all(nodes[parent][column] == total for parent, total in sums.items())
    assert all(node[1] < at for at, node in enumerate(nodes))
    return tuple(nodes[0][2:5])
