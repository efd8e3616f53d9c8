"""docs/plugins.md as a reader uses it: every file is written as printed, every command typed in an empty folder.

The commands run in a virtual environment of their own that sees this one's packages, so that what the page installs
leaves nothing here.
"""

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fedsec.plugin_files import disallow_plugins

from .. import prepared

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "plugins.md"


class Block(NamedTuple):
    """A fenced block of the page."""

    language: str
    file: str
    """Where a reader puts it; empty for commands and output."""
    text: str
    follows_commands: bool
    """Whether nothing but blank lines stands between it and a block of commands."""


def _blocks() -> Iterator[Block]:
    page, end, before = PAGE.read_text(), 0, ""
    for found in re.finditer(r"^```(\w+) ?(\S*)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        close = not page[end : found.start()].strip() and before == "sh"
        yield Block(*found.groups(), follows_commands=close)
        end, before = found.end(), found.group(1)


BLOCKS = list(_blocks())


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, and an environment beside it in which fedsec is installed."""
    folder = tmp_path_factory.mktemp("reader")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    seen = [path for path in sys.path if path.endswith("site-packages")]
    roots = [str(ROOT)] if os.environ.get("PYTHONPATH") else []
    lines = [f"import site; site.addsitedir({path!r})" for path in seen] + roots
    (site / "outer.pth").write_text("\n".join(lines) + "\n")
    python = f'"{venv}/bin/python" -m'
    # What `fedsec run` does, but for loading torch anew; the other commands load none.
    loaded = f'"{sys.executable}" -S -E "{prepared.__file__}" ask "{prepared.prepared()}"'
    fedsec = f'case "$1" in run) exec {loaded} "$@" ;; esac\nexec {python} fedsec.cli.main "$@"'
    for tool, script in {"fedsec": fedsec, "pip": f'exec {python} pip "$@"'}.items():
        (venv / "bin" / tool).write_text(f"#!/bin/sh\n{script}\n")
        (venv / "bin" / tool).chmod(0o755)
    work = folder / "work"
    work.mkdir()
    return work


def _type(commands: str, work: Path) -> str:
    """What the commands print, typed into the reader's shell, whose variables last."""
    venv, state = work.parent / "venv", work.parent / "state"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {
        **kept,
        "PATH": f"{venv}/bin:{os.environ['PATH']}",
        "COLUMNS": "200",
        "NO_COLOR": "1",
        "FEDSEC_WORKERS": "1",  # what is tested elsewhere takes a few seconds less
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say: none
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    script = f"[ -f {state} ] && . {state}\nset -eo pipefail\n{commands}\nexport -p > {state}\n"
    done = subprocess.run(["bash", "-c", script], cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def _test(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the reader's tests here: a pytest of their own would only load torch once more."""
    monkeypatch.chdir(work)
    try:
        tests = runpy.run_path("test_mine.py")
        for name, test in tests.items():
            if name.startswith("test_"):
                folder = work.parent / name
                folder.mkdir()
                test(folder)
    finally:
        disallow_plugins("mine")


def _plain(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.timeout(1200)  # half a dozen commands, on a machine that may be busy
def test_the_page_works_as_it_is_printed(reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = ""
    for block in BLOCKS:
        if block.file:
            path = reader / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "sh":
            tested, rest = re.subn(r"^python -m pytest.*\n", "", block.text, flags=re.MULTILINE)[::-1]
            if tested:
                _test(reader, monkeypatch)
            output = _type(rest, reader)
        else:
            for line in block.text.splitlines():
                assert _plain(line) in _plain(output), f"the page says that this is printed: {line}\n{output}"
    (scorecard,) = (reader / "runs" / "mine").glob("*/scorecard.json")
    cells = json.loads(scorecard.read_text())["cells"]
    assert {(cell["attack"], cell["defense"]) for cell in cells if cell["status"] == "ok"} == {
        ("none", "none"),
        ("none", "my-norm-bound"),
        ("my-noise(scale=2)", "none"),
        ("my-noise(scale=2)", "my-norm-bound"),
    }


def test_every_block_is_written_typed_or_compared() -> None:
    assert {block.language for block in BLOCKS if block.file} == {"python", "yaml", "toml"}
    for block in BLOCKS:
        assert block.file or block.language == "sh" or (block.language == "text" and block.follows_commands)


def test_the_page_is_short() -> None:
    assert len(PAGE.read_text().splitlines()) <= 150
