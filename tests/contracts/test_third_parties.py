"""Packages of third parties: the example is found and used like what comes with fedsec; broken ones break nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

import fedsec
from fedsec import registry
from fedsec.comparison.harm import drawn

from ..prepared import fedsec as fedsec_command

EXAMPLE = Path(__file__).parent.parent / "plugin_example"
GOAL, METRIC = "example-text-lengths", "example/length-match"
NAMES = {
    "attacks": ["example-backtrack", "example-count-words", "example-likely-texts"],
    "defenses": ["example-norm-bound", "example-quiet-answers"],
    "goals": [GOAL],
    "metrics": [METRIC],
    "datasets": ["example-weather"],
    "models": ["example-narrow-bert"],
}
SCENARIO: dict[str, Any] = {
    "schema": 1,
    "name": "test/third-parties",
    "summary": "A question?",
    "model": {"name": "example-narrow-bert", "dropout": False},
    "data": {"name": "example-weather", "train": 40, "test": 20, "max_tokens": 16},
    "federation": {"clients": 5, "rounds": 2, "batch_size": 2, "learning_rate": 0.1},
    "threat": {"malicious": 1},
    "matrix": {"attack": ["sign-flip", "example-backtrack"], "defense": ["example-norm-bound", "krum"]},
}
LENGTHS: dict[str, Any] = {
    **SCENARIO,
    "name": "test/own-goal",
    "federation": {"clients": 4, "rounds": 1, "batch_size": 1, "learning_rate": 0.1, "update": "gradient"},
    "threat": {},
    "matrix": {"attack": ["example-count-words"], "defense": ["frozen-embeddings"]},
}


def _fedsec(*arguments: str, cwd: Path, path: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return fedsec_command(*arguments, cwd=cwd, **({"PYTHONPATH": str(path)} if path is not None else {}))


def _package(folder: Path, name: str, entry_points: str, **modules: str) -> None:
    """What an installed package looks like on the path."""
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(entry_points)
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The example's sources on the path, before the installed ones."""
    folder = tmp_path / "site"
    shutil.copytree(EXAMPLE / "src" / "fedsec_example", folder / "fedsec_example")
    points = "".join(f"[fedsec.{kind}]\nit = fedsec_example.cards:{kind.upper()}\n" for kind in NAMES)
    _package(folder, "fedsec_example", points)
    return folder


def test_the_example_is_installed_and_found() -> None:
    try:
        distribution("fedsec-example")
    except PackageNotFoundError:
        pytest.fail("tests/plugin_example is not installed. Run: make test, or: pip install -e tests/plugin_example")
    for kind, names in NAMES.items():
        cards = {card.name: card for card in getattr(registry, kind)()}
        assert set(names) <= set(cards)
        for name in names:
            if kind != "metrics":  # a metric's card describes; its goal computes it
                assert cards[name].target.startswith("fedsec_example."), "a short target was not completed"
                registry.load_target(cards[name])


def test_it_is_listed_and_shown(copy: Path, tmp_path: Path) -> None:
    listed = json.loads(_fedsec("list", "--json", cwd=tmp_path, path=copy).stdout)
    for kind, names in NAMES.items():
        assert set(names) <= {card["name"] for card in listed if card["kind"] == kind}
    for name in (name for names in NAMES.values() for name in names):
        shown = _fedsec("show", name, cwd=tmp_path, path=copy)
        assert shown.returncode == 0
        assert shown.stdout.startswith(name)


def test_it_is_listed_without_importing_its_methods(copy: Path, tmp_path: Path) -> None:
    for file in (copy / "fedsec_example").glob("*.py"):
        if file.name not in ("__init__.py", "cards.py"):
            file.write_text("raise SystemExit('imported')\n")
    assert _fedsec("list", cwd=tmp_path, path=copy).returncode == 0


def test_a_goal_of_its_own_is_asked_scored_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the scorecard, the terminal and the report, in the words of its card; fedsec itself knows neither name."""
    from fedsec.cli.summary import print_result

    result = fedsec.run(fedsec.load_scenario(LENGTHS), tmp_path)
    assert [cell["reason"] for cell in result.scorecard["cells"] if cell["status"] == "error"] == []
    (shown,) = registry.goals().get(GOAL).headline
    rows = {row["defense"]: row for row in result.scorecard["summary"] if row["attack"] == "example-count-words"}
    open_, frozen = rows["none"], rows["frozen-embeddings"]
    value = open_["metrics"][METRIC]
    assert (open_["goal"], open_["status"], frozen["status"]) == (GOAL, "ok", "blocked")
    assert value["n"] == 4
    assert value["value"] > value["chance"] > 0
    assert open_["harm"]["value"] == pytest.approx((value["value"] - value["chance"]) / (1 - value["chance"]))
    assert open_["harm"]["metric"] == METRIC
    assert drawn(open_["harm"]) == open_["harm"]["value"] > 0.5
    assert frozen["metrics"][METRIC]["value"] == pytest.approx(value["chance"])
    assert drawn(frozen["harm"]) == 0.0
    page = (result.path / "report.html").read_text()
    assert shown.axis in page
    assert shown.square.format(n=4) in page.replace("\u00a0", " ")
    print_result(result, "How long?")
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{value['value']:.0%}".removesuffix("%") in printed
    assert "of the length of the texts of 4 clients" in printed
    assert all(word in printed for word in shown.axis.split())  # a narrow column breaks it


@pytest.mark.parametrize("room", ["fedsec", "attacks", "defenses", "scenarios"])
def test_nothing_in_fedsec_names_that_goal_or_its_metric(room: str) -> None:
    files = [path for path in (EXAMPLE.parent.parent / room).rglob("*") if path.suffix in (".py", ".j2", ".yaml")]
    assert files
    naming = [path for path in files if re.search(f"{GOAL}|{METRIC}|length.match", path.read_text())]
    assert naming == []


def test_it_runs_in_workers_and_its_sources_enter_the_keys(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "it.yaml").write_text(json.dumps(SCENARIO))
    assert "9 cells" in _fedsec("validate", "it.yaml", cwd=tmp_path, path=copy).stdout
    done = _fedsec("run", "it.yaml", "--json", "--workers", "2", cwd=tmp_path, path=copy)
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert [(cell["status"], cell["reason"]) for cell in cells] == [("ok", None)] * 9
    before = _keys(copy, tmp_path)
    source = copy / "fedsec_example" / "norm_bound.py"
    source.write_text(source.read_text().replace("self.factor * norms.median()", "self.factor * norms.mean()"))
    after = _keys(copy, tmp_path)
    assert {label for label in before if before[label] != after[label]} == {
        label for label in before if "example-norm-bound" in label
    }
    source = copy / "fedsec_example" / "weather.py"
    source.write_text(source.read_text().replace("range(32)", "range(33)"))
    assert not set(_keys(copy, tmp_path).values()) & set(after.values()), "every cell reads the data set"


def _keys(copy: Path, tmp_path: Path) -> dict[str, str]:
    code = (
        "import json, fedsec\nfrom fedsec.plan.tasks import tasks_of\n"
        "print(json.dumps({t.cell.label: t.key for t in tasks_of(fedsec.load_scenario('it.yaml'))}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    return dict(json.loads(done.stdout))


CARD = (
    "from fedsec.api import *\nGOOD = DefenseCard(name='test-good', summary='Good.', target=':X', protects='privacy')\n"
)
BROKEN = {
    "raises": "raise RuntimeError('not today')\n",
    "exits": "import sys\nsys.exit(3)\n",
    "interrupts": "raise GeneratorExit\n",
    "cannot be parsed": "def\n",
    "has no cards": "CARDZ = ()\n",
    "cards are none": "CARDS = None\n",
    "a single card": CARD + "CARDS = GOOD\n",
    "texts for cards": "CARDS = ('krum',)\n",
    "attacks for defenses": CARD
    + "CARDS = (AttackCard(name='a', summary='A.', threat=ThreatModel("
    + "position=Position.CLIENT, behaviour=Behaviour.MALICIOUS, goal='untargeted')),)\n",
    "a taken name": CARD + "from dataclasses import replace\nCARDS = (replace(GOOD, name='krum'),)\n",
    "a name that is none": CARD + "from dataclasses import replace\nCARDS = (replace(GOOD, name=None),)\n",
    "limits that are none": CARD + "from dataclasses import replace\nCARDS = (replace(GOOD, limits=None),)\n",
    "a summary of bytes": CARD + "from dataclasses import replace\nCARDS = (replace(GOOD, summary=b'x'),)\n",
    "no aggregation": CARD + "from dataclasses import replace\nCARDS = (replace(GOOD, aggregation='plain'),)\n",
}


def test_broken_packages_break_neither_list_nor_show_nor_each_other(tmp_path: Path) -> None:
    """All at once: each is named with its reason, and what is sound is there."""
    site = tmp_path / "site"
    for place, source in enumerate(BROKEN.values()):
        _package(
            site, f"broken{place}", f"[fedsec.defenses]\np{place} = broken{place}:CARDS\n", **{f"broken{place}": source}
        )
    _package(site, "absent", "[fedsec.defenses]\nabsent = no_such_module_here:CARDS\n")
    _package(site, "nonsense", "[fedsec.defenses]\nnonsense = ???\n")
    _package(
        site, "good", "[fedsec.defenses]\ngood = good_one:CARDS\n", good_one=CARD + "print('hello')\nCARDS = (GOOD,)\n"
    )
    done = _fedsec("list", "defenses", cwd=tmp_path, path=site)
    assert done.returncode == 0, done.stderr
    assert "krum" in done.stdout
    assert "test-good" in done.stdout
    told = [line for line in done.stderr.splitlines() if line.startswith("broken plug-in")]
    assert len(told) == len(BROKEN) + 2
    assert any("p0: broken0:CARDS: not today" in line for line in told)
    as_json = _fedsec("list", "defenses", "--json", cwd=tmp_path, path=site)
    assert {"krum", "test-good"} <= {card["name"] for card in json.loads(as_json.stdout)}
    assert _fedsec("show", "krum", cwd=tmp_path, path=site).returncode == 0
    validated = _fedsec("validate", "quick/byzantine", cwd=tmp_path, path=site)
    assert validated.returncode == 0, validated.stderr
