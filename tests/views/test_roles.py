"""The notes of a report of roles, of one tensor and of several."""

import pytest

from explorer.document.records import Notes
from explorer.roles.report import Disagreement, RoleReport
from explorer.views.roles import roles_document


def notes_of(**found: tuple) -> tuple[str, ...]:
    report = RoleReport(
        target="toy",
        inputs="x",
        tokens=0,
        rows=(),
        roles=(),
        work=(),
        parameters=0,
        weights=0,
        biases=0,
        trainable=0,
        active=0,
        experts="",
        macs=0,
        free_macs=0,
        **dict.fromkeys(("unused", "frozen", "tied", "disagreements"), ()) | found,
    )
    blocks = roles_document(report).blocks
    return tuple(
        item for block in blocks if isinstance(block, Notes) for item in block.items
    )


@pytest.mark.parametrize(
    ("found", "note"),
    [
        ({"unused": ("a",)}, "1 tensor reaches no output: a"),
        ({"unused": ("a", "b")}, "2 tensors reach no output: a, b"),
        ({"frozen": ("a",)}, "1 tensor gets no gradient: a"),
        (
            {"tied": ("a",)},
            "1 tensor is an embedding that also projects, or shares an array: a",
        ),
        (
            {"tied": ("a", "b")},
            "2 tensors are embeddings that also project, or share an array: a, b",
        ),
        (
            {"disagreements": (Disagreement("a", "kernel", "bias", 3),)},
            "1 tensor has a role that its name does not suggest: a is used as kernel, its name says "
            "bias",
        ),
        (
            {"unused": tuple("abcdefgh")},
            "8 tensors reach no output: a, b, c, d, e, f and 2 more",
        ),
    ],
)
def test_a_note_counts_its_tensors(found: dict[str, tuple], note: str):
    assert notes_of(**found) == (note,)
    assert notes_of() == ()
