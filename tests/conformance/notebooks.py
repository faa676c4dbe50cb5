"""Records of explorer in executed notebooks, under the real pages of Jupyter and marimo, in Chromium.

python -m tests.conformance.notebooks [FOLDER]     keeps pages and pictures in FOLDER
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import marimo
import nbclient
import nbformat
from nbconvert import HTMLExporter

from tests.document.notebook_pages import STYLES, check_tree
from tests.views.report.chromium import Page, opened

ROOT = Path(__file__).parents[2]
IMPORT = "import explorer as ex"
RECORDS = (
    'ex.explore("gpt2")',
    'ex.ledger("gpt2")',
    'ex.summarize("gpt2", by="component")',
    'ex.compare("gpt2", "gpt2-medium")',
    'ex.plan("llama-3.1-8b", context=4096)',
    'ex.sweep("gpt2", {"batch": [1, 2]})',
    'ex.explain("gpt2", "bias")',
)
_SHOWN = "document.querySelectorAll('.explorer-document').length"
# of the text of a cell, 0 to 255, whichever way the page writes its colour
_LIGHTNESS = """(() => {
    const pen = document.createElement('canvas').getContext('2d');
    pen.fillStyle = getComputedStyle(document.querySelector('.explorer-document td')).color;
    pen.fillRect(0, 0, 1, 1);
    return pen.getImageData(0, 0, 1, 1).data.slice(0, 3).reduce((a, b) => a + b) / 3;
})()"""
# scripts that nbconvert fetches; outputs of explorer need none
_FETCHED = ("mathjax", "require_js", "jquery", "mermaid_js", "mermaid_layout_elk_js")
_CDN = "https://cdn.jsdelivr.net/npm/@marimo-team/frontend@{}/dist/"


def executed() -> nbformat.NotebookNode:
    """Return a notebook whose cells a kernel has run, each record once as HTML and as text."""
    cells = [nbformat.v4.new_code_cell(source) for source in (IMPORT, *RECORDS)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    where = {"metadata": {"path": str(ROOT)}}
    nbclient.NotebookClient(
        notebook, kernel_name="python3", timeout=60, resources=where
    ).execute()
    for cell in cells[1:]:
        (output,) = cell.outputs
        assert set(output.data) == {"text/html", "text/plain"}, cell.source
    return notebook


def check_page(page: Page, dark: bool, picture: Path) -> None:
    """Check every record of a page, and take its picture."""
    assert page.evaluate(_SHOWN) == len(RECORDS), page.evaluate(_SHOWN)
    assert (page.evaluate(_LIGHTNESS) > 128) is dark
    check_tree(page)
    # no table is wider than its cell of the notebook
    over = page.evaluate(
        "[...document.querySelectorAll('.explorer-document')].map(e => e.scrollWidth - e.clientWidth)"
    )
    assert max(over) <= 0, over
    page.resize(1280, 4000, dark=dark)
    page.picture(picture, whole=False)


def check_jupyter(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Check the page that nbconvert makes, which has JupyterLab's own styles."""
    for theme in ("light", "dark"):
        exporter = HTMLExporter(
            template_name="lab", theme=theme, **{f"{name}_url": "" for name in _FETCHED}
        )
        path = folder / f"jupyter_{theme}.html"
        path.write_text(exporter.from_notebook_node(notebook)[0], "utf-8")
        with opened(path, dark=theme == "dark") as page:
            check_page(page, theme == "dark", path.with_suffix(".png"))
            assert page.complaints == [], page.complaints
            assert page.requests[1:] == [], page.requests


def check_frames(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Check the outputs under the styles of Colab's frames and of VS Code's page of outputs."""
    for name in ("colab", "vscode"):
        outputs = "".join(
            f"<div class='output_subarea rendered_html'>{cell.outputs[0].data['text/html']}</div>"
            for cell in notebook.cells[1:]
        )
        for theme, colours in (
            ("light", "background:#fff;color:#212121"),
            ("dark", "background:#1e1e1e;color:#d5d5d5"),
        ):
            path = folder / f"{name}_{theme}.html"
            path.write_text(
                f"<!doctype html><meta charset=utf-8><style>{STYLES[name]}</style>"
                f"<body style='{colours}'>{outputs}",
                "utf-8",
            )
            with opened(path, dark=theme == "dark") as page:
                check_page(page, theme == "dark", path.with_suffix(".png"))
                assert page.complaints == [], page.complaints
                assert page.requests[1:] == [], page.requests


def exported(folder: Path) -> dict[str, str]:
    """Return the names of light and dark pages of a marimo notebook that was run, with the scripts beside it."""
    cells = "".join(
        f"\n\n@app.cell\ndef _(ex):\n    {source}\n    return\n" for source in RECORDS
    )
    source = folder / "records.py"
    source.write_text(
        f"import marimo\n\napp = marimo.App()\n\n\n@app.cell\ndef _():\n    {IMPORT}\n"
        f"    return (ex,)\n{cells}"
    )
    page = folder / "marimo.html"
    command = [sys.executable, "-m", "marimo", "export", "html", str(source), "-o", str(page)]  # fmt: skip
    subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True
    )
    for each in (Path(marimo.__file__).parent / "_static").iterdir():
        (folder / each.name).symlink_to(each)
    text = page.read_text("utf-8").replace(_CDN.format(marimo.__version__), "")
    setting, names = '"theme": "{}"', {}
    assert setting.format("light") in text
    for theme in ("light", "dark"):
        names[theme] = f"{theme}.html"
        themed = text.replace(setting.format("light"), setting.format(theme))
        (folder / names[theme]).write_text(themed, "utf-8")
    return names


def check_marimo(folder: Path, pictures: Path) -> None:
    """Check the page that marimo makes, which draws its outputs by script."""
    pages = exported(folder)
    with served(folder) as address:
        for theme, name in pages.items():
            with opened(f"{address}/{name}", dark=theme == "dark") as page:
                until = time.monotonic() + 60
                while not page.evaluate(_SHOWN) and time.monotonic() < until:
                    time.sleep(0.2)
                check_page(page, theme == "dark", pictures / f"marimo_{theme}.png")
                # of itself it says which files it loaded too early
                own = [each for each in page.complaints if "was preloaded" not in each]
                assert own == [], own
                away = [each for each in page.requests if not each.startswith(address)]
                assert all(each.startswith(("data:", "blob:")) for each in away), away


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder to this machine alone, and return its address."""
    handler = partial(_Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files, and writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        kept = Path(sys.argv[1] if len(sys.argv) > 1 else temporary)
        kept.mkdir(parents=True, exist_ok=True)
        notebook = executed()
        check_jupyter(notebook, kept)
        check_frames(notebook, kept)
        with tempfile.TemporaryDirectory() as folder:
            check_marimo(Path(folder), kept)
    print(
        f"{len(RECORDS)} records in executed notebooks: nbconvert's JupyterLab page, styles of"
        f" Colab and VS Code, marimo {marimo.__version__}; light and dark"
    )


if __name__ == "__main__":
    main()
