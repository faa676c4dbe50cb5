"""The report in headless Chromium, where it is installed: drawn, walked, and nothing asked for.

Without Chromium only `test_report.py` speaks for the page; with it these run as well.
"""

from pathlib import Path

import pytest

import explorer as ex
from tests.checkpoints import write_folder
from tests.views.report.chromium import CHROMIUM, Page, opened
from tests.views.report.test_report import HOSTILE

pytestmark = pytest.mark.slow


def browser_test(function):
    """Leave a test out where there is no Chromium."""
    return pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")(
        function
    )


def set_slider(page: Page, name: str, place: int) -> None:
    page.evaluate(
        f"(() => {{ const input = document.querySelector('.{name}'); input.value = {place};"
        " input.dispatchEvent(new Event('input')); })()"
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "llama.html"
    ex.report("llama-3.1-8b", path=path)
    return path


@browser_test
def test_it_draws_and_asks_for_nothing(report: Path):
    for width, dark in ((1280, False), (390, True)):
        with opened(report, width, dark=dark) as page:
            assert page.evaluate("document.querySelectorAll('.icicle g').length") > 8
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert "embedding 6.5%" in page.evaluate(
                "document.querySelector('.legend').textContent"
            )
            assert page.requests == [report.as_uri()]
            assert page.complaints == []


@browser_test
def test_the_longest_numbers_stay_in_their_tiles(tmp_path: Path):
    ex.report("kimi-k2", path=tmp_path / "kimi.html")  # 1,026,408,209,408 parameters
    wide = "Array.from(document.querySelectorAll('.tiles dd, .sliders output'))"
    for width in (1280, 1000, 700, 390):
        with opened(tmp_path / "kimi.html", width) as page:
            found = page.evaluate(
                f"{wide}.filter(e => e.scrollWidth > e.clientWidth).length"
            )
            assert found == 0, width
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@browser_test
def test_a_device_is_compared_with_what_is_needed(report: Path):
    with opened(report) as page:
        for context, tensor, device in ((0, 0, "h200"), (8, 0, "t4"), (8, 2, "t4")):
            set_slider(page, "context", context)
            set_slider(page, "tensor", tensor)
            page.evaluate(
                f"(() => {{ const d = document.querySelector('.device'); d.value = '{device}'; d.dispatchEvent(new Event('change')); }})()"
            )
            number = 2**tensor
            name = f"{device}:{number}" if number > 1 else device
            tokens = page.evaluate(f"data.models[0].grid.contexts[{context}]")
            plan = ex.plan("llama-3.1-8b", context=tokens, device=name)
            mark = "✓ fits" if plan.fits else "✗ does not fit"
            each = f"each of {number}" if number > 1 else "one"
            verdict = page.evaluate("document.querySelector('.verdict').textContent")
            assert f"{mark} {each} {device}" in verdict
            command = page.evaluate("document.querySelector('.command').textContent")
            assert command.endswith(f"--device {name}")


@browser_test
def test_the_map_is_walked_by_keys_and_searched(report: Path):
    with opened(report) as page:
        page.evaluate("document.querySelector('.icicle [tabindex=\"0\"]').focus()")
        focused = "document.activeElement.getAttribute('aria-label')"
        assert page.evaluate(focused).startswith(
            "llama-3.1-8b: 8,030,261,248 parameters (100%)"
        )
        page.press("ArrowRight")
        page.press("ArrowDown")
        assert page.evaluate(focused).startswith(
            "layers_[0-31]: 6,979,584,000 parameters (86.9%); 288 tensors"
        )
        page.press("Enter")
        assert (
            page.evaluate("document.querySelector('.trail').textContent")
            == "llama-3.1-8b/layers_[0-31]"
        )
        page.press("Backspace")
        assert page.evaluate("document.querySelector('.trail').textContent") == ""
        page.evaluate(
            "(() => { const s = document.querySelector('input[type=search]'); s.value = 'attention/*'; s.dispatchEvent(new Event('input')); })()"
        )
        selected = ex.explore("llama-3.1-8b").select("**/attention/**").num_parameters
        assert f": {selected:,} parameters (16.7%)" in page.evaluate(
            "document.querySelector('.found').textContent"
        )
        rows = page.evaluate(
            "[...document.querySelectorAll('.tree tbody tr')].filter(r => !r.hidden).map(r => r.firstChild.textContent)"
        )
        assert rows == ["layers_[0-31]", "attention", "query", "key", "value", "out"]
        assert page.complaints == []


SEARCH = """(() => { const s = document.querySelector('input[type=search]');
s.value = TERM; s.dispatchEvent(new Event('input')); })()"""


@browser_test
@pytest.mark.parametrize("term", ["*.bias", "*/bias", "attention.query", "attention/query"])
def test_dots_of_keys_find_what_slashes_of_paths_find(tmp_path: Path, term: str):
    ex.report("gpt2", path=tmp_path / "gpt2.html", values=False)
    glob = "**/bias" if "bias" in term else "**/attention/query/**"
    selected = ex.explore("gpt2").select(glob).num_parameters
    with opened(tmp_path / "gpt2.html") as page:
        page.evaluate(SEARCH.replace("TERM", repr(term)))
        found = page.evaluate("document.querySelector('.found').textContent")
        assert f": {selected:,} parameters" in found
        assert page.complaints == []


@browser_test
@pytest.mark.parametrize("name", ["gpt2", "llama-3.1-8b", "deepseek-v3"])
def test_devices_are_listed_by_whether_they_suffice(tmp_path: Path, name: str):
    ex.report(name, path=tmp_path / "model.html", values=False)
    with opened(tmp_path / "model.html") as page:
        said = page.evaluate("document.querySelector('.fits').textContent")
        number = "document.querySelectorAll('.fits .%s').length"
        fitting, others = (page.evaluate(number % each) for each in ("fit", "no"))
    assert said.startswith("one of these suffices: ✓") == (fitting > 0)
    assert said.startswith("none of these suffices: ✗") == (fitting == 0)
    assert ("too large for: ✗" in said) == (fitting > 0 and others > 0)
    assert fitting + others > 5


@browser_test
def test_hostile_names_stay_text(tmp_path: Path):
    layout = {f"{name}.weight": ((4, 3), "F32") for name in HOSTILE}
    ex.report(write_folder(tmp_path / "model", layout), path=tmp_path / "hostile.html")
    with opened(tmp_path / "hostile.html") as page:
        assert page.complaints == []
        assert page.requests == [(tmp_path / "hostile.html").as_uri()]
        assert page.evaluate("document.querySelectorAll('script').length") == 2
        assert (
            page.evaluate(
                "document.querySelectorAll('main img, main script, main i').length"
            )
            == 0
        )
        labels = page.evaluate(
            "[...document.querySelectorAll('.icicle g')].map(g => g.getAttribute('aria-label'))"
        )
        assert any(label.startswith("<") and "script>alert(1)" in label for label in labels)
        assert not any("\u202e" in label for label in labels)
