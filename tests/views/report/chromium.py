"""A page in headless Chromium, driven over a pipe: what it draws, asks for and complains of."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["CHROMIUM", "Page", "opened"]

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run",
    "--no-default-browser-check", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class Page:
    """One page; `requests` and `complaints` grow as events arrive."""

    def __init__(self, commands: int, answers: int):
        self.commands, self.answers = commands, os.fdopen(answers, "rb")
        self.session, self.number, self.rest = "", 0, b""
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return what a command of the DevTools protocol answers."""
        self.number += 1
        command: dict[str, Any] = {"id": self.number, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]

    def wait_for(self, event: str) -> None:
        """Wait until an event arrives."""
        while self._next().get("method") != event:
            pass

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            part = self.answers.read1(1 << 16)  # pyright: ignore[reportAttributeAccessIssue]
            assert part, "Chromium has ended"
            self.rest += part
        raw, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(raw)
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"])[:600])
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning"):
                self.complaints.append(str([a.get("value") for a in params["args"]]))
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Page.javascriptDialogOpening":
                self.complaints.append(f"dialog: {params['message']}")
        return message

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key."""
        codes = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "ArrowUp": 38, "Enter": 13,
                 "Backspace": 8, "Tab": 9}  # fmt: skip
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
            )

    def resize(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Set the size of the window and its colour scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Save what is shown as a PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def print_to(self, path: Path) -> None:
        """Save the page as it is printed."""
        found = self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def opened(place: Path | str, width: int = 1280, *, dark: bool = False) -> Iterator[Page]:
    """Open a file, or a URL, in a Chromium of its own, which ends with the block."""
    assert CHROMIUM, "Chromium is not installed: apt-get install chromium"
    ours, theirs = os.pipe(), os.pipe()  # commands to it, answers from it
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # it reads commands from descriptor 3 and writes answers to descriptor 4
        script = f'exec "$0" "$@" 3<&{ours[0]} 4>&{theirs[1]}'
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
        process = subprocess.Popen(
            ["bash", "-c", script, CHROMIUM, *_FLAGS, *sandbox, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(ours[0], theirs[1]),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(ours[0])
        os.close(theirs[1])
        page = Page(ours[1], theirs[0])
        try:
            targets = page.call("Target.getTargets")["targetInfos"]
            target = next(t["targetId"] for t in targets if t["type"] == "page")
            found = page.call("Target.attachToTarget", targetId=target, flatten=True)
            page.session = found["sessionId"]
            for domain in ("Page", "Network", "Runtime", "Log"):
                page.call(f"{domain}.enable")
            page.resize(width, dark=dark)
            page.call(
                "Page.navigate", url=place.as_uri() if isinstance(place, Path) else place
            )
            page.wait_for("Page.loadEventFired")
            yield page
        finally:
            os.close(ours[1])
            process.terminate()
            process.wait(30)
            page.answers.close()
