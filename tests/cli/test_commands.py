"""The commands that people are told to type: they work when pasted."""

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from fedsec.cli.commands import again_from_here, command, next_step, quoted
from fedsec.config.load import load_scenario
from fedsec.config.suite import members_of
from fedsec.report.again import again, cell_again
from fedsec.runner.scenario import _write_resolved
from fedsec.store.rundir import RunDirectory

from ..prepared import fedsec as _fedsec

ROWS = "text,label\n" + "".join(f"some words of row {number},{number % 2}\n" for number in range(24))
PLUGIN = """\
from fedsec.api import DefenseCard, Mixed

class First:
    def mix(self, rows, context):
        import torch
        return Mixed(torch.eye(len(rows), dtype=torch.float64)[:1], 0)

CARDS = (DefenseCard(name="my-first", summary="First.", target=":First", protects="robustness", needs_rows=True),)
"""


def test_options_are_kept_and_quoted() -> None:
    words = command(
        "run",
        "it's.yaml",
        overrides=["matrix.seed=[0, 1]"],
        plugins=[Path("my plug.py")],
        out=Path("o"),
        workers=2,
        memory=None,
    )
    assert shlex.split(quoted(words)) == words
    assert words[3:] == ["--set", "matrix.seed=[0, 1]", "--allow-plugins", "my plug.py", "--out", "o", "--workers", "2"]
    assert command("run", "x", out=Path("runs")) == ["fedsec", "run", "x"]


def test_a_run_is_run_again_from_its_folder_or_from_here() -> None:
    record = {"scenario": "a/b", "plugins": ["../../../../mine.py"], "threads": 2}
    plug = ["--allow-plugins", "../../../../mine.py", "--threads", "2"]
    assert again(record) == ["fedsec", "run", "scenario.resolved.yaml", "--out", "../../..", *plug]
    there = again_from_here(record, Path("my runs/a/b/key"))
    assert there[2:6] == ["my runs/a/b/key/scenario.resolved.yaml", "--out", "my runs", "--allow-plugins"]
    assert there[6] == "mine.py"
    assert again({}) == ["fedsec", "run", "scenario.resolved.yaml", "--out", "../.."], "whatever the record lacks"


@pytest.mark.parametrize(
    ("seeds", "harms", "step"),
    [
        ([4], [0.5], "fedsec run x --set 'matrix.seed=[4, 5, 6]'"),
        ([0, 1, 2], [0.1, 0.5, None], "fedsec show a1"),
        ([0, 1, 2], [], "fedsec list attacks"),
    ],
)
def test_the_next_step_fits_the_run(seeds: list[int], harms: list[Any], step: str) -> None:
    rows = [{"attack": f"a{n}(x=1)", "defense": "none", "harm": {"value": harm}} for n, harm in enumerate(harms)]
    card = {
        "summary": [{"attack": "none", "defense": "none", "harm": None}, *rows],
        "cells": [{"seed": seed} for seed in seeds],
    }
    assert next_step(card, None, ["fedsec", "run", "x"]) == step


def test_everything_that_is_told_works_when_pasted(tmp_path: Path) -> None:
    """validate, plan, run, report.html: from a folder with a space, with `--set` and a plug-in file."""
    here = tmp_path / "a project's folder"
    (here / "mine").mkdir(parents=True)
    (here / "plug ins").mkdir()
    (here / "mine/rows.csv").write_text(ROWS)
    (here / "plug ins/mine.py").write_text(PLUGIN)
    scenario = {
        "schema": 1,
        "name": "mine/case",
        "summary": "Does it work?",
        "model": {"name": "tiny-bert", "width": 16, "layers": 1, "dropout": False},
        "data": {"path": "mine/rows.csv", "max_tokens": 16},
        "federation": {"clients": 2, "rounds": 3, "learning_rate": 0.1, "batch_size": 2},
        "matrix": {"attack": ["none"], "defense": ["none", "my-first"], "seed": [0, 1]},
    }
    (here / "my case.yaml").write_text(json.dumps(scenario))
    given = ["my case.yaml", "--set", "federation.rounds=1", "--allow-plugins", "plug ins/mine.py"]

    def told(text: str, lead: str) -> list[str]:
        found = re.search(rf"{lead}(fedsec .*)", text)
        assert found, text
        return shlex.split(found[1])[1:]

    run = told(_fedsec("validate", *given, cwd=here).stdout, "Run it: ")
    assert run == told(_fedsec("plan", *given, cwd=here).stdout, "Run it: ") == ["run", *given]
    done = _fedsec(*run, "--workers", "1", cwd=here)
    assert done.returncode == 0, done.stderr
    following = told(done.stdout, "Next: +")
    lower = "federation.learning_rate=0.01"  # after one round the model is worse than before
    assert following == ["run", *given, "--workers", "1", "--set", lower]
    assert "4 done" in _fedsec("plan", *following[1:-2], cwd=here).stdout
    folder = next(here.rglob("report.html")).parent
    page = (folder / "report.html").read_text()
    again = re.search(r"<code>(fedsec run scenario[^<]*)</code>", page)
    assert again, page[:3000]
    words = shlex.split(again[1].replace("&#39;", "'"))
    planned = _fedsec("plan", *words[2:], "--json", cwd=folder)
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["cells"] == {"done": 4, "waiting": 0, "error": 0, "budget": 0, "n/a": 0}
    assert (folder / json.loads(planned.stdout)["path"]).resolve() == folder.resolve()
    one = shlex.split(html.unescape(re.findall(r"<dt>Again, seed 1</dt><dd><code>(.*?)</code>", page)[-1]))
    alone = _fedsec(*one[1:], "--workers", "1", "--json", cwd=folder)
    assert alone.returncode == 0, alone.stderr
    cells = json.loads(alone.stdout)["cells"]
    assert [(cell["attack"], cell["defense"], cell["seed"]) for cell in cells] == [
        ("none", "none", 1),
        ("none", "my-first", 1),
    ]


def test_a_cell_runs_by_itself_with_its_own_parameters_and_settings() -> None:
    cell = {
        "scenario": "b/two",
        "attack": "sign-flip(scale=7)",
        "attack_params": {"scale": 7.0},
        "defense_stack": [{"name": "krum", "params": {"neighbours": "blanchard"}}, {"name": "not here", "params": {}}],
        "seed": 3,
        "settings": {"federation.batch_size": 4},
    }
    given = cell_again({"scenario": "b/two"}, cell)[5:]
    assert given[:2] == ["--set", 'matrix.attack=[{"name": "sign-flip", "scale": 7.0}]']
    assert given[2:4] == ["--set", 'matrix.defense=[["krum", "not here"]]']
    assert given[4:] == ["--set", "matrix.seed=[3]", "--set", 'matrix.vary={"federation.batch_size": [4]}']
    plain = {**cell, "attack": "none", "attack_params": {}, "defense_stack": [], "settings": {}}
    members = [{"scenario": "a/one"}, {"scenario": "b/two"}]
    words = cell_again({"scenario": "suite", "members": members}, plain)
    assert words[2:5] == ["scenario-2.resolved.yaml", "--out", "../.."]
    assert words[5:] == [
        "--set",
        'matrix.attack=["none"]',
        "--set",
        'matrix.defense=["none"]',
        "--set",
        "matrix.seed=[3]",
    ]


def test_a_suites_folder_holds_each_of_its_scenarios_with_all_settings(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    held = {
        "schema": 1,
        "summary": "Does it work?",
        "model": {"name": "tiny-bert"},
        "data": {"path": str(tmp_path / "rows.csv")},
        "federation": {"clients": 2, "rounds": 1, "learning_rate": 0.1},
        "matrix": {"attack": ["none", "sign-flip"], "defense": ["none"]},
        "threat": {"malicious": 1},
    }
    suite = {"schema": 1, "name": "my/suite", "summary": "All?", "defense": ["none", "median"], "seed": [4]}
    loaded = load_scenario({**suite, "scenarios": [{**held, "name": "a/one"}, {**held, "name": "a/two"}]})
    run = RunDirectory(tmp_path / "runs/my/suite/key")
    run.path.mkdir(parents=True)
    _write_resolved(loaded, run)
    for place, member in enumerate(members_of(loaded), 1):
        words = ['matrix.attack=["sign-flip"]', "matrix.seed=[4]"]
        again = load_scenario(run.path / f"scenario-{place}.resolved.yaml", words)
        assert (again.name, again.matrix.defense) == (member.name, member.matrix.defense)
        assert again.matrix.seed == member.matrix.seed == [4]
