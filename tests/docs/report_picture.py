"""Draw docs/report.png, the picture of a report in the README: needs Chromium and jinja2.

`.venv/bin/python -m tests.docs.report_picture` after the page of the report has changed.
"""

import tempfile
import time
from pathlib import Path

import explorer as ex
from tests.docs.pages import ROOT
from tests.views.report.chromium import opened

__all__ = ["FILE"]

FILE = ROOT / "docs" / "report.png"
MODEL, SCHEME, DEVICE = "llama-3.1-8b", "Q4_K_M", "rtx-4090"
WIDTH, HEIGHT = 1180, 1592
_SET = """(() => {
  const stored = data.models[0].grid.stored.findIndex((way) => way.label === %r);
  for (const [name, value, kind] of [['stored', stored, 'input'], ['device', %r, 'change']]) {
    const element = document.querySelector('.' + name);
    element.value = value;
    element.dispatchEvent(new Event(kind));
  }
})()"""


def main() -> None:
    """Save the picture."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        ex.report(MODEL, path=path)
        with opened(path, WIDTH) as page:
            page.resize(WIDTH, HEIGHT)
            page.evaluate(_SET % (SCHEME, DEVICE))
            time.sleep(0.5)  # its size is observed, and drawn again
            page.picture(FILE, whole=False)


if __name__ == "__main__":
    main()
