"""docs/plugins.md as a reader uses it: every file is written as printed, every command typed in an empty folder.

The commands run in a virtual environment of their own that sees this one's packages, so that what the page installs
leaves nothing here.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

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
    # What `fedsec` does, but for loading torch anew each time.
    stand_in = f'"{sys.executable}" -S -E "{prepared.__file__}" ask "{prepared.prepared(f"{venv}/bin/python")}"'
    for tool, program in {"fedsec": stand_in, "pip": f'"{venv}/bin/python" -m pip'}.items():
        script = venv / "bin" / tool
        script.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        script.chmod(0o755)
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


def _plain(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.timeout(1200)  # a dozen commands that each load torch, on a machine that may be busy
def test_the_page_works_as_it_is_printed(reader: Path) -> None:
    output = ""
    for block in BLOCKS:
        if block.file:
            path = reader / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "sh":
            output = _type(block.text, reader)
        elif block.language == "text" and block.follows_commands:
            for line in block.text.splitlines():
                assert _plain(line) in _plain(output), f"the page says that this is printed: {line}\n{output}"
    cells = json.loads((reader / "scorecard.json").read_text())["cells"]
    wrong = [(cell["attack"], cell["defense"], cell["reason"]) for cell in cells if cell["status"] == "error"]
    assert not wrong
    seen = {(cell["status"], name) for cell in cells for name in (cell["attack"], *cell["defense"].split("+"))}
    cards = re.findall(r'"(x-[a-z-]+)"', next(block.text for block in BLOCKS if block.file == "every_hook.py"))
    assert {name for name in cards if ("ok", name) not in seen} == set()


def test_every_block_is_written_typed_or_compared() -> None:
    assert {block.language for block in BLOCKS if block.file} == {"python", "yaml", "toml"}
    loose = [block for block in BLOCKS if not block.file and block.language not in ("sh", "text")]
    assert loose == []
    listing = [block for block in BLOCKS if block.language == "text" and not block.follows_commands]
    assert len(listing) == 1
    assert listing[0].text.split() == [b.file for b in BLOCKS if b.file.startswith("my-plugins/")]


def test_the_page_names_every_hook_field_and_choice() -> None:
    """What a reader needs to know of the interface is on the page."""
    from dataclasses import fields

    from fedsec import api
    from fedsec.api.hooks import METHODS, OBSERVE
    from fedsec.goals.cards import CARDS

    page = PAGE.read_text()
    names = {*METHODS, OBSERVE, "state", "load_state", *(card.method for card in CARDS), *(card.name for card in CARDS)}
    names |= {name for name in vars(api.Goal) if not name.startswith("_")}
    for kind in (
        api.AttackCard, api.DefenseCard, api.Parameter, api.ThreatModel, api.ClientView, api.ColluderView, api.StepView,
        api.RoundContext, api.RoundView, api.ReleasedView, api.Sample, api.Update, api.Mixed, api.Exchanged,
        api.TrainingSettings, api.ModelSetup, api.Rehearsal, api.Weighted, api.BroadcastView, api.Evidence,
        api.Candidate, api.Probe, api.Triggered, api.TriggerView, api.ReleaseView, api.QueryView, api.Measured,
        api.GoalCard, api.Shown, api.Stage, api.Staged, api.Truth, api.Watched, api.Scored, api.Compared,
    ):  # fmt: skip
        names |= {field.name for field in fields(kind)}
    for choices in (api.Position, api.Behaviour, api.Provenance, api.Role, api.Rounds, api.Asks, api.Form):
        names |= {choice.name for choice in choices}
    assert {name for name in names if not re.search(rf"\b{name}\b", page)} == set()
