"""Plans as a figure: memory over context for several batches, and the roofline of decoding."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from explorer.document.words import counted
from explorer.sizing.records import MemoryPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_plans"]

_MARK = "explorer: a plan of memory"
_BATCHES = (1, 4, 16, 64)
_CONTEXTS = tuple(2**power for power in range(9, 22))
_DECODED = tuple(2**power for power in range(11))
_SPACING = 1.7  # factor between the memories of devices that are drawn
_GB = 10**9


def plot_plans(
    plan: MemoryPlan,
    plan_for: Callable[[dict[str, Any]], MemoryPlan],
    path: str | os.PathLike | None = None,
) -> "Figure":
    """Return a figure of a plan's terms, of memory over context, and of decoding's roofline.

    Args:
        plan: whose terms are drawn as one bar.
        plan_for: returns the plan for other settings (context, batch).
        path: where to save it as well, in the format of its ending.

    Raises:
        MissingPackageError: matplotlib is not installed.
        InputError: the file is there, or cannot be written.
    """
    from explorer.document.figures import Picture, in_style, save_figure

    with in_style():
        figure = Picture(layout="constrained")
        has_speed = plan.decode_tokens_per_second is not None
        figure.set_size_inches(9.0, 9.0 if has_speed else 6.4)
        heights = (1, 3, 2.4) if has_speed else (1, 3)
        top, below, *rest = figure.subplots(len(heights), 1, height_ratios=heights)
        _draw_terms(top, plan)
        _draw_contexts(below, plan, plan_for)
        if rest:
            _draw_roofline(rest[0], plan, plan_for)
    if path is not None:
        save_figure(figure, path, _MARK)
    return figure


def _draw_terms(panel: "Axes", plan: MemoryPlan) -> None:
    """Draw the terms end to end, and the span of the total below and above it."""
    from explorer.document.figures import COLOURS, INK

    left = 0.0
    for term, colour in zip(plan.terms, COLOURS * 2, strict=False):
        size = term.bytes / _GB
        label = f"{term.name.replace('_', ' ')} {size:,.1f} GB"
        panel.barh([0], [size], left=left, color=colour, label=label, height=0.5)
        left += size
    low, high = plan.low_bytes / _GB, plan.high_bytes / _GB
    if low < high:
        panel.plot([low, high], [0.36, 0.36], color=INK, linewidth=1.0, marker="|")
    panel.set_yticks([])
    panel.grid(visible=False)
    panel.set_xlabel("GB")
    panel.set_title(f"{plan.target}: {left:,.1f} GB in all", parse_math=False)
    panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)


def _draw_contexts(
    panel: "Axes", plan: MemoryPlan, plan_for: Callable[[dict[str, Any]], MemoryPlan]
) -> None:
    """Draw bytes on the fullest device over the context, a line for each batch."""
    from explorer.document.figures import COLOURS, INK, LINES

    own = plan.workload.batch
    batches = sorted({*_BATCHES, own})
    for batch, colour, line in zip(batches, COLOURS, LINES, strict=False):
        sizes = [
            plan_for({"context": context, "batch": batch}).per_device_bytes / _GB
            for context in _CONTEXTS
        ]
        words = counted(batch, "sequence")
        style = {"color": colour, "linestyle": line, "label": words, "linewidth": 1.6}
        panel.plot(_CONTEXTS, sizes, **style)
    for name, memory in _capacities(plan):
        panel.axhline(memory / _GB, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        panel.text(_CONTEXTS[0], memory / _GB, f" {name}", va="bottom", fontsize=8)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(lambda size, _: f"{size:,.10g}")
    ticks = _CONTEXTS[::2]
    panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    panel.set_xlabel("tokens of context")
    panel.set_title("GB on the fullest device")
    panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)


def _draw_roofline(
    panel: "Axes", plan: MemoryPlan, plan_for: Callable[[dict[str, Any]], MemoryPlan]
) -> None:
    """Draw the bound of tokens a second over the batch: bandwidth first, then the peak.

    A dashed line is what batches would give if each were as fast as one sequence.
    """
    from explorer.document.figures import COLOURS, INK

    bounds = [plan_for({"batch": batch}).decode_tokens_per_second for batch in _DECODED]
    drawn = [(b, bound) for b, bound in zip(_DECODED, bounds, strict=True) if bound]
    first = drawn[0][1] / drawn[0][0]
    batches = [batch for batch, _ in drawn]
    panel.plot(batches, [bound for _, bound in drawn], color=COLOURS[0], marker="o", ms=4)
    panel.plot(
        batches,
        [first * batch for batch in batches],
        color=INK,
        linewidth=0.8,
        linestyle=(0, (4, 3)),
    )
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(batches, [f"{batch:,}" for batch in batches])
    panel.yaxis.set_major_formatter(lambda rate, _: f"{rate:,.10g}")
    panel.set_xlabel("sequences at a time")
    tokens = f"{plan.workload.context:,} tokens"
    panel.set_title(
        f"tokens a second at most on {plan.device}, each sequence of {tokens}",
        parse_math=False,
    )


def _capacities(plan: MemoryPlan) -> Sequence[tuple[str, int]]:
    """Return the memory of a few devices, far enough from each other for their names."""
    found: list[tuple[str, int]] = []
    for device in sorted(plan.devices, key=lambda device: device.memory):
        if not found or device.memory > _SPACING * found[-1][1]:
            found.append((device.name, device.memory))
    return found
