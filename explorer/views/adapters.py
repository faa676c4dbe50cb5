"""What a folder or file of adapters holds, as a document."""

from collections.abc import Mapping
from typing import Any

from explorer.document.records import Block, Column, Document, Notes, Paragraph, Table
from explorer.errors import printable

__all__ = ["adapters_document", "trainable_line"]

_COLUMNS = (
    Column("module", least=24),
    Column("rank", "right"),
    Column("alpha", "right"),
    Column("scale", "right"),
    Column("shape", rank=1),
    Column("parameters", "right"),
)
_NAMES = {"lora": "LoRA", "rslora": "rsLoRA", "dora": "DoRA"}


def adapters_document(place: str, adapters: Mapping[str, Any]) -> Document:
    """Return a row for each module that is adapted.

    Args:
        place: what is shown.
        adapters: as `explorer lora show --format json` prints it.
    """
    modules = adapters["modules"]
    ranks = sorted({row["rank"] for row in modules})
    base = f" of {printable(adapters['base'])}" if adapters["base"] else ""
    text = (
        f"{_NAMES[adapters['adapter']]} adapters{base}: rank {', '.join(map(str, ranks))}, "
        f"{adapters['trainable_parameters']:,} parameters for {len(modules):,} modules"
    )
    rows = [
        (
            printable(row["module"]), row["rank"], f"{row['alpha']:g}", f"{row['scale']:g}",
            f"[{row['outputs']}, {row['inputs']}]", row["parameters"],
        )
        for row in modules
    ]  # fmt: skip
    blocks: list[Block] = [Paragraph(text), Table(_COLUMNS, rows)]
    if adapters["saved"]:
        whole = [f"trained whole: {printable(n)} {s}" for n, s in adapters["saved"].items()]
        blocks.append(Notes(tuple(whole)))
    return Document(place, tuple(blocks))


def trainable_line(trainable: int, total: int) -> str:
    """Return counts as peft's print_trainable_parameters has them.

    >>> trainable_line(3686400, 3089625088)
    'trainable params: 3,686,400 || all params: 3,089,625,088 || trainable%: 0.1193'
    """
    share = 100 * trainable / total
    return f"trainable params: {trainable:,} || all params: {total:,} || trainable%: {share:.4f}"
