"""Local plug-in files: run only where they are allowed, known everywhere then, and part of their cells' keys."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fedsec
from fedsec import plugin_files, registry
from fedsec.errors import DuplicateNameError, FedsecError
from fedsec.plan.tasks import tasks_of
from fedsec.plugin_files import allow_plugins, allowed_files, disallow_plugins
from fedsec.store.sources import plugin_hash

from .prepared import fedsec as _fedsec

FILE = """
from dataclasses import dataclass, replace
from fedsec.api import (
    AttackCard, Behaviour, DefenseCard, Mixed, Parameter, Population, Position, ThreatModel
)

print("a plug-in that talks")

@dataclass(frozen=True)
class Shout:
    scale: float = 10.0

    def on_update(self, update, view):
        return replace(update, vector=update.vector * self.scale)

@dataclass(frozen=True)
class First:
    def mix(self, rows, context):
        import torch
        return Mixed(torch.eye(len(rows), dtype=torch.float64)[:1], 0)

CARDS = (
    AttackCard(
        name="test-shout", summary="Loud.", target=":Shout",
        parameters=(Parameter(name="scale", default=10.0, summary="factor"),),
        threat=ThreatModel(position=Position.CLIENT, behaviour=Behaviour.MALICIOUS, goal="untargeted"),
    ),
    DefenseCard(name="test-first", summary="First.", target=":First", protects="robustness", needs_rows=True),
)
"""
SCENARIO: dict[str, Any] = {
    "schema": 1,
    "name": "test/local",
    "summary": "A question?",
    "model": {"name": "tiny-bert", "width": 16, "layers": 1, "dropout": False},
    "federation": {"clients": 4, "rounds": 1, "batch_size": 2, "learning_rate": 0.1},
    "threat": {"malicious": 1},
    "matrix": {"attack": ["test-shout", "sign-flip"], "defense": ["test-first"]},
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    for file in allowed_files():
        if file.exists():
            disallow_plugins(file)
        else:
            plugin_files._take_out(next(n for n, one in plugin_files._loaded.items() if one.path == file))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def scenario(tmp_path: Path) -> dict[str, Any]:
    notes = tmp_path / "notes.jsonl"
    rows = [{"text": f"patient {i} has {'pain' if i % 2 else 'fever'}", "label": i % 2} for i in range(24)]
    notes.write_text("\n".join(map(json.dumps, rows)))
    return {**SCENARIO, "data": {"path": str(notes), "max_tokens": 16}}


def test_its_cards_are_known_and_load(file: Path) -> None:
    attack, defense = allow_plugins(file)
    assert attack is registry.attacks().get("test-shout")
    assert defense is registry.defenses().get("test-first")
    assert registry.load_target(attack)(scale=3.0).scale == 3.0
    assert allowed_files() == (file.resolve(),)
    disallow_plugins(file)
    assert "test-shout" not in registry.attacks()
    assert allowed_files() == ()
    assert not [name for name in sys.modules if name.startswith(plugin_files.PREFIX)]


def test_nothing_is_left_beside_the_file(file: Path) -> None:
    allow_plugins(file)
    assert [path.name for path in file.parent.iterdir()] == ["mine.py"]


def test_what_it_prints_is_no_data(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    allow_plugins(file)
    assert capfd.readouterr().out == ""


def test_a_folder_with_modules_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "my-kit"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .cards import CARDS\n")
    (folder / "cards.py").write_text(
        FILE.split("@dataclass")[0] + "CARDS" + FILE.split("CARDS")[1].replace('":', '".kit:')
    )
    (folder / "kit.py").write_text("from . import helper\n" + FILE.split("CARDS")[0])
    (folder / "helper.py").write_text("VALUE = 1\n")
    attack, _ = allow_plugins(folder)
    assert registry.load_target(attack)().scale == 10.0
    before = plugin_hash(attack.target)
    (folder / "helper.py").write_text("VALUE = 2\n")
    again, _ = allow_plugins(folder)
    assert plugin_hash(again.target) != before
    assert {path.name for path in folder.rglob("*")} == {"__init__.py", "cards.py", "kit.py", "helper.py"}


def _keys(scenario: dict[str, Any]) -> dict[str, str]:
    return {task.cell.label: task.key for task in tasks_of(fedsec.load_scenario(scenario))}


def test_one_line_edited_runs_its_cells_again_and_no_others(file: Path, scenario: dict[str, Any]) -> None:
    allow_plugins(file)
    before = _keys(scenario)
    assert _keys(scenario) == before
    file.write_text(FILE.replace("* self.scale", "* -self.scale"))
    assert _keys(scenario) == before, "what runs is what was read, until it is read again"
    allow_plugins(file)
    after = _keys(scenario)
    changed = {label for label in before if before[label] != after[label]}
    assert changed == {label for label in before if "test-" in label}
    assert len(changed) == 4
    file.write_text(FILE)  # as long as before, within the same second
    allow_plugins(file)
    assert _keys(scenario) == before


def test_an_edit_in_the_same_second_counts(file: Path) -> None:
    for scale in ("11.0", "12.0", "13.0"):
        file.write_text(FILE.replace("10.0", scale))
        attack, _ = allow_plugins(file)
        assert registry.load_target(attack)().scale == float(scale)


def test_a_moved_file_keeps_its_cells(file: Path, scenario: dict[str, Any], tmp_path: Path) -> None:
    allow_plugins(file)
    before = _keys(scenario)
    disallow_plugins(file)
    elsewhere = tmp_path / "elsewhere" / "mine.py"
    elsewhere.parent.mkdir()
    shutil.move(file, elsewhere)
    allow_plugins(elsewhere)
    assert _keys(scenario) == before


def test_it_runs_and_its_finished_cells_are_not_run_again(file: Path, scenario: dict[str, Any], tmp_path: Path) -> None:
    allow_plugins(file)
    loaded = fedsec.load_scenario(scenario)
    result = fedsec.run(loaded, tmp_path / "runs")
    assert {cell["status"] for cell in result.scorecard["cells"]} == {"ok"}
    cells = {path: path.stat().st_mtime_ns for path in (result.path / "cells").iterdir()}
    file.write_text(FILE.replace("* self.scale", "* -self.scale"))
    allow_plugins(file)
    fedsec.run(loaded, tmp_path / "runs")
    now = {path: path.stat().st_mtime_ns for path in (result.path / "cells").iterdir()}
    assert {path: now[path] for path in cells} == cells
    assert len(now) == len(cells) + 4


@pytest.mark.usefixtures("prepared_workers")
def test_worker_processes_know_it(file: Path, scenario: dict[str, Any], tmp_path: Path) -> None:
    allow_plugins(file)
    loaded = fedsec.load_scenario(scenario)
    with_one, with_two = (fedsec.run(loaded, tmp_path / str(n), workers=n).scorecard["cells"] for n in (1, 2))
    assert [cell["status"] for cell in with_two] == ["ok"] * 6
    accuracies = [[cell["metrics"]["utility/accuracy"] for cell in cells] for cells in (with_one, with_two)]
    assert accuracies[0] == accuracies[1]


@pytest.mark.usefixtures("prepared_workers")
def test_a_file_that_changed_since_is_not_run_by_workers(file: Path, scenario: dict[str, Any], tmp_path: Path) -> None:
    allow_plugins(file)
    file.write_text(FILE.replace("* self.scale", "* -self.scale"))
    result = fedsec.run(fedsec.load_scenario(scenario), tmp_path / "runs", workers=2)
    reasons = {cell["attack"] + cell["defense"]: cell["reason"] for cell in result.scorecard["cells"]}
    assert reasons["nonenone"] is None
    assert "sources, data or weights changed" in reasons["test-shoutnone"]


BROKEN = {
    "missing": (None, "there is no such file"),
    "syntax": ("x = 1\ndef :\n", r"mine.py, line 2: invalid syntax"),
    "raises": ("import fedsec\n\nraise RuntimeError('no')\n", "mine.py, line 3: RuntimeError: no"),
    "exits": ("raise SystemExit\n", "mine.py, line 1: SystemExit"),
    "needs another module": ("import no_such_module_here\n", "line 1: ModuleNotFoundError.*imports what is installed"),
    "needs its neighbour": ("from . import other\n", "line 1: ImportError"),
    "not text": (b"\xff\xfe\x00", "mine.py"),
    "a null byte": (b"CARDS = ()\0", "mine.py"),
    "no cards": ("x = 1\n", "defines no CARDS"),
    "empty": ("CARDS = ()\n", "at least one card"),
    "one card and no comma": (FILE + "CARDS = (CARDS[0])\n", "mind the comma"),
    "no card": (FILE + "CARDS = (CARDS[0], 'x')\n", r"CARDS\[1\]: 'x' is no card; allowed: AttackCard, DefenseCard"),
    "a class": (FILE + "CARDS = (AttackCard,)\n", r"CARDS\[0\]: <class .*> is no card"),
    "a card of no kind": (
        FILE + "from fedsec.api import Card\nCARDS = (Card(name='a', summary='b'),)\n",
        r"CARDS\[0\]: Card\(.*is no card",
    ),
    "a field of a wrong type": (FILE.replace("parameters=(", "limits=3, parameters=("), "field of a wrong type"),
    "no threat model": (
        FILE + "from dataclasses import replace\nCARDS = (replace(CARDS[0], threat=None),)",
        "wrong type",
    ),
    "parameters that are none": (FILE.replace("Parameter(name", "dict(name"), "is no Parameter"),
    "a default that is not allowed": (
        FILE.replace('summary="factor"', 'summary="x", maximum=1.0'),
        "the default of scale",
    ),
    "a name with blanks": (FILE.replace('"test-shout"', '"Test shout"'), "'Test shout' cannot be a name"),
    "a reserved name": (FILE.replace('"test-first"', '"none"'), "'none' cannot be a name"),
    "a taken name": (FILE.replace('"test-first"', '"krum"'), "two defenses are called 'krum'.*Rename one"),
    "one name twice": (FILE + "CARDS = (CARDS[0], CARDS[0])\n", "two attacks are called 'test-shout'"),
    "no such class": (FILE.replace('":Shout"', '":Whisper"'), "':Whisper', and the file defines no Whisper"),
    "a target without a class": (FILE.replace('":Shout"', '"Shout"'), "must be ':Class'"),
    "no target": (FILE.replace('target=":Shout",', ""), "must be ':Class'"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_wrong_is_said_and_nothing_stays(content: str | bytes | None, message: str, file: Path) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    names = [[card.name for card in kind()] for kind in (registry.attacks, registry.defenses)]
    with pytest.raises(FedsecError, match=message) as raised:
        allow_plugins(file)
    assert "mine" in str(raised.value)
    assert [[card.name for card in kind()] for kind in (registry.attacks, registry.defenses)] == names
    assert allowed_files() == ()
    assert not [name for name in sys.modules if name.startswith(plugin_files.PREFIX)]


@pytest.mark.parametrize("name", ["notes.txt", ".", "deep", "pipe.py"])
def test_what_is_no_plugin_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("CARDS = ()")
    (tmp_path / "deep").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(FedsecError, match=r"no plug-in file|holds no __init__"):
        allow_plugins(tmp_path / name)


def test_a_file_that_is_broken_by_an_edit_is_gone(file: Path) -> None:
    allow_plugins(file)
    file.write_text("x =")
    with pytest.raises(FedsecError):
        allow_plugins(file)
    assert "test-shout" not in registry.attacks()
    file.write_text(FILE)
    allow_plugins(file)
    assert "test-shout" in registry.attacks()


def test_two_files_of_one_name_are_refused(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text(FILE)
    allow_plugins(file)
    with pytest.raises(FedsecError, match=r"two plug-in files are called 'mine': .*Rename one"):
        allow_plugins(other)
    assert "test-shout" in registry.attacks()


def test_two_files_that_claim_one_name_are_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "yours.py").write_text(FILE)
    allow_plugins(file)
    with pytest.raises(DuplicateNameError, match="fedsec_plugin_mine:Shout and fedsec_plugin_yours:Shout"):
        allow_plugins(tmp_path / "yours.py")


TRAP = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nCARDS = ()\n"


def test_a_file_that_was_not_allowed_is_never_run(tmp_path: Path) -> None:
    for name in ("mine.py", "sitecustom.py", "fedsec_plugin_mine.py"):
        (tmp_path / name).write_text(TRAP)
    scenario = {**SCENARIO, "matrix": {"attack": ["mine.py"], "defense": [{"name": "mine:Shout"}]}}
    (tmp_path / "it.yaml").write_text(json.dumps({**scenario, "data": {"name": "clinic-notes"}}))
    allowing = {**scenario, "data": {"name": "clinic-notes"}, "allow_plugins": ["mine.py"], "plugins": ["mine.py"]}
    (tmp_path / "other.yaml").write_text(json.dumps(allowing))
    for arguments in (["list"], ["validate", "it.yaml"], ["run", "other.yaml"], ["show", "mine.py"], ["doctor"]):
        _fedsec(*arguments, cwd=tmp_path)
    done = _fedsec("validate", "other.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "allow_plugins: unknown key" in done.stderr
    assert not (tmp_path / "ran").exists()
    _fedsec("list", "--allow-plugins", "mine.py", cwd=tmp_path)
    assert (tmp_path / "ran").exists()


def test_every_verb_takes_the_option_and_its_variable(file: Path, scenario: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "it.yaml").write_text(json.dumps(scenario))
    own, variable = ["--allow-plugins", "mine.py"], {"FEDSEC_ALLOW_PLUGINS": "mine.py"}
    listed = _fedsec("list", "attacks", "--json", *own, cwd=tmp_path)
    assert "test-shout" in [card["name"] for card in json.loads(listed.stdout)]
    assert "a plug-in that talks" in listed.stderr
    assert "Loud." in _fedsec("show", "test-shout", cwd=tmp_path, **variable).stdout
    assert (
        "Run it: fedsec run it.yaml --allow-plugins mine.py"
        in _fedsec("validate", "it.yaml", *own, cwd=tmp_path).stdout
    )
    assert "test-shout vs test-first" in _fedsec("plan", "it.yaml", *own, cwd=tmp_path).stdout
    done = _fedsec("run", "it.yaml", "--json", "--workers", "2", cwd=tmp_path, **variable)
    assert done.returncode == 0, done.stderr
    assert {cell["status"] for cell in json.loads(done.stdout)["cells"]} == {"ok"}
    without = _fedsec("run", "it.yaml", cwd=tmp_path)
    assert without.returncode == 2
    assert "unknown attack 'test-shout'" in without.stderr


def test_a_broken_file_is_a_usage_error_without_a_traceback(file: Path, tmp_path: Path) -> None:
    file.write_text("1 / 0\n")
    for verb in (["list"], ["show", "x"], ["validate", "quick/byzantine"], ["run", "quick/byzantine"]):
        done = _fedsec(*verb, "--allow-plugins", "mine.py", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.strip().endswith("mine.py, line 1: ZeroDivisionError: division by zero")
        assert "Traceback" not in done.stderr
