"""The page in a browser: accessible, no wider than a phone, sorted and filtered by its script. Needs Chromium."""

import importlib.util
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from fedsec.report.html import render

from .support import of_every_goal, plausible, scored
from .test_suite_page import READS, suite

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def in_browser(page: str, code: str, folder: Path, width: int = 1300) -> Any:
    """What some JavaScript gives in the page; its policy, which would refuse the code, is taken off."""
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    tail = f"<script>(async () => {{ {code} }})().then(found => {{ document.title = JSON.stringify(found); }})</script>"
    frame = f'<iframe id="frame" srcdoc="" style="width: {width}px; height: 900px; border: 0"></iframe>'
    (folder / "page.html").write_text(page.replace("</body>", f"{tail}</body>"))
    outer = f"""<!DOCTYPE html><html lang="en"><head><title>-</title></head><body><pre id="found"></pre>{frame}<script>
    const frame = document.getElementById("frame");
    frame.removeAttribute("srcdoc"); frame.src = "page.html";
    const wait = setInterval(() => {{ const title = frame.contentDocument?.title;
      if (!title || !/^[\\[{{"]/.test(title)) return;
      clearInterval(wait);
      document.getElementById("found").textContent = title;
    }}, 50);</script></body></html>"""
    (folder / "outer.html").write_text(outer)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    options += ["--virtual-time-budget=60000", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [str(CHROMIUM), *options, (folder / "outer.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(unescape(found[1]))


@pytest.fixture(scope="module")
def page() -> str:
    return suite({"a/reads": READS, "a/goals": of_every_goal(), "a/all": plausible()})


@pytest.mark.parametrize("width", [390, 1300])
def test_axe_finds_nothing_serious(page: str, width: int, tmp_path: Path) -> None:
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or not found.submodule_search_locations:
        pytest.skip("axe-playwright-python, which brings axe-core, is not installed")
    axe = (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
    code = """document.querySelectorAll("details").forEach(one => { one.open = true; });
    const done = await axe.run({resultTypes: ["violations"]});
    return done.violations.map(one => [one.impact, one.id, one.nodes[0].html.slice(0, 200)]);"""
    page = page.replace("</body>", f"<script>{axe}</script></body>")
    violations = in_browser(page, code, tmp_path, width)
    assert [one for one in violations if one[0] in ("serious", "critical")] == []


def test_a_phone_scrolls_tables_and_not_the_page(page: str, tmp_path: Path) -> None:
    code = """const root = document.documentElement, area = document.querySelector(".scroll");
    const hint = getComputedStyle(area, "::before").height;
    return [root.scrollWidth, root.clientWidth, area.scrollWidth > area.clientWidth, parseFloat(hint) > 10];"""
    across, room, scrolls, hinted = in_browser(page, code, tmp_path, width=390)
    assert across <= room
    assert (scrolls, hinted) == (True, True)


def test_the_script_sorts_and_filters(tmp_path: Path) -> None:
    code = """const table = document.querySelector("table.grid:not(.decide)"), body = table.tBodies[0];
    const order = () => [...body.rows].map(row => row.cells[0].textContent.trim());
    const first = order(), head = table.tHead.rows[0].cells[2];
    head.querySelector("button").click();
    const sorted = order(), state = head.getAttribute("aria-sort");
    const field = document.querySelector(".filter input");
    field.value = "KRUM flip"; field.dispatchEvent(new Event("input"));
    const left = document.querySelectorAll(".cells > details:not([hidden]) summary b");
    const shown = [...left].map(one => one.textContent);
    return [first, sorted, state, shown];"""
    first, ordered, state, shown = in_browser(render(*scored(plausible())), code, tmp_path)
    assert first == ["no defense", "frozen-embeddings", "krum"]
    assert ordered == ["no defense", "krum", "frozen-embeddings"], "most harm first; without a figure last"
    assert state == "descending"
    assert shown == ["sign-flip(scale=10) against krum"] * 2
