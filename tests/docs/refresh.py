"""Write into the Markdown pages what their sessions print today: `make refresh`.

`python -m tests.docs.refresh [PAGE ...]` runs every command and every Python example of the
pages and replaces the outputs that differ. Read the difference before you commit it.
"""

import doctest
import os
import sys
from pathlib import Path
from typing import Any

from tests.docs.pages import PAGES, ROOT, WIDTH, examples, run, sessions

__all__ = ["refreshed"]


class _Recorder(doctest.DocTestRunner):
    """Runs examples and keeps what each of them printed, by its line."""

    def __init__(self) -> None:
        super().__init__(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
        self.printed: dict[int, str] = {}

    def report_failure(self, out: Any, test: Any, example: Any, got: str) -> None:
        lines = got.splitlines()
        self.printed[example.lineno] = "".join(
            f"{line or '<BLANKLINE>'}\n" for line in lines
        )

    def report_unexpected_exception(
        self, out: Any, test: Any, example: Any, exc_info: Any
    ) -> None:
        raise exc_info[1]


def refreshed(page: str, name: str) -> str:
    """Return a page with the outputs of its sessions as they are printed today.

    Raises:
        SystemExit: a command writes to stderr.
    """
    return _python_refreshed(_console_refreshed(page, name), name)


def _console_refreshed(page: str, name: str) -> str:
    for session in reversed(list(sessions(page))):
        done = run(session.command)
        if done.stderr:
            sys.exit(f"{name}: {session.command}: {done.stderr}")
        printed = "".join(
            f"{line.rstrip()}\n" for line in done.stdout.rstrip().splitlines()
        )
        page = page[: session.start] + printed + page[session.end :]
    return page


def _python_refreshed(page: str, name: str) -> str:
    found = [example for _, shown in examples(page) for example in shown]
    recorder = _Recorder()
    test = doctest.DocTest(found, {"__name__": "__main__"}, name, name, 0, None)
    recorder.run(test, out=lambda _: None)
    lines = page.splitlines(keepends=True)
    for example in reversed(found):
        if example.lineno in recorder.printed:
            start = example.lineno + example.source.count("\n")
            end = start + example.want.count("\n")
            lines[start:end] = [recorder.printed[example.lineno]]
    return "".join(lines)


def main(names: list[str]) -> None:
    """Refresh the pages that are named, or all of them."""
    os.chdir(ROOT)
    os.environ["COLUMNS"] = WIDTH
    for page in [Path(name).resolve() for name in names] or PAGES:
        text = page.read_text("utf-8")
        new = refreshed(text, page.name)
        if new != text:
            page.write_text(new, "utf-8")
        sys.stdout.write(f"{page.name}: {'rewritten' if new != text else 'current'}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
