"""What must never be in the sources, and what a run leaves on a disk, with which permissions and which contents."""

import ast
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .support import MARKER, run_folder, scenario, tree

ROOT = Path(__file__).parent.parent.parent
SOURCES = sorted(
    path for room in ("fedsec", "attacks", "defenses", "scenarios") for path in (ROOT / room).rglob("*.py")
)

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "pty", "telnetlib"}
"""What can execute code that it reads, or has no business here."""
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv",
    "torch.load", "torch.save", "torch.hub.load", "torch.jit.load", "pandas.read_pickle", "pd.read_pickle",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "tempfile.mktemp",
    "subprocess.getoutput", "subprocess.getstatusoutput", "runpy.run_path", "runpy.run_module",
    "torch.manual_seed", "random.seed", "np.random.seed", "numpy.random.seed",
}  # fmt: skip
"""Calls that execute what they are given, race, or change what others rely on."""
WORDS = {"allow_pickle": True, "shell": True, "trust_remote_code": True, "weights_only": False}
"""Keyword arguments that must not have this value."""


def _name(node: ast.expr) -> str:
    """The dotted name of what is called; empty for what has none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _name(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        return [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return []


def _faults(text: str) -> Iterator[str]:
    """What a source must not hold."""
    for node in ast.walk(ast.parse(text)):
        for name in _imported(node):
            if name.split(".")[0] in MODULES or name in CALLS:
                yield f"imports {name}"
        if isinstance(node, ast.Call):
            if _name(node.func) in CALLS:
                yield f"calls {_name(node.func)}"
            for word in node.keywords:
                if word.arg in WORDS and not (
                    isinstance(word.value, ast.Constant) and word.value.value != WORDS[word.arg]
                ):
                    yield f"passes {word.arg}"
        if isinstance(node, ast.Attribute) and node.attr in ("__reduce__", "__reduce_ex__", "exec_module"):
            yield f"uses {node.attr}"


FORBIDDEN = (
    "import pickle", "from pickle import loads", "from torch import load", "import torch\ntorch.load(x)", "eval(x)",
    "yaml.load(x, Loader=L)", "exec('1')", "subprocess.run(x, shell=True)", "np.load(x, allow_pickle=True)",
    "f(trust_remote_code=True)", "f(trust_remote_code=asked)", "os.system(x)", "from os import system",
    "torch.manual_seed(0)", "spec.loader.exec_module(x)", "x.__reduce__()",
)  # fmt: skip


@pytest.mark.parametrize("text", FORBIDDEN)
def test_the_search_finds_what_it_is_for(text: str) -> None:
    assert list(_faults(text))


def test_the_search_lets_harmless_sources_pass() -> None:
    assert not list(
        _faults("np.load(x, allow_pickle=False)\nyaml.safe_load(x)\nre.compile(x)\nmodel.eval()\ntorch.tensor(1)")
    )


ALLOWED = {"fedsec/plugin_files.py": {"uses exec_module"}}
"""A plug-in file that the user names with --allow-plugins is code; nothing else is."""


def test_there_are_sources() -> None:
    assert len(SOURCES) > 100


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_executes_what_it_reads(path: Path) -> None:
    allowed = ALLOWED.get(str(path.relative_to(ROOT)), set())
    assert not set(_faults(path.read_text(encoding="utf-8"))) - allowed


SECRET = "marker-e7c1f0-of-a-secret"  # noqa: S105


LIBRARIES = re.compile(r"home/\.(cache|config)(/matplotlib(/fontlist-[\w.-]+\.json)?)?|tmp/torchinductor_[^/]+")
CACHE = re.compile(r"home/\.cache/fedsec(/notes(/[0-9a-f]{16}-\d+-\d+\.json)?)?")
"""Generated notes, which are the same whoever runs."""
"""What matplotlib and torch leave when they are imported."""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run took place: with its own home, temporary folder and current folder."""
    folder = tmp_path_factory.mktemp("left")
    for name in ("home", "tmp", "cwd", "data"):
        (folder / name).mkdir()
    file = scenario(folder / "data")
    content = json.loads(file.read_text())
    content["matrix"]["attack"].append({"name": "sign-flip", "scale": 2})
    file.write_text(json.dumps(content))
    environment = {
        **os.environ,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "XDG_CACHE_HOME": str(folder / "home" / ".cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HF_TOKEN": SECRET,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "FEDSEC_TOKEN": SECRET,
        "PASSWORD": SECRET,
        "USER": f"user-{SECRET}",
    }
    before = tree(folder)
    command = [
        sys.executable,
        "-m",
        "fedsec.cli.main",
        "run",
        str(file),
        "--out",
        str(folder / "out"),
        "--workers",
        "2",
    ]
    done = subprocess.run(
        command, cwd=folder / "cwd", env=environment, capture_output=True, text=True, timeout=200, umask=0, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert MARKER not in done.stdout + done.stderr, "a client's text is printed"
    (folder / "before.json").write_text(json.dumps(sorted(before)))
    return folder


def test_a_run_writes_into_its_own_folder_only(left: Path) -> None:
    before = set(json.loads((left / "before.json").read_text()))
    run = run_folder(left / "out").relative_to(left)
    new = {path for path in tree(left, without=left / run) if path not in before} - {"before.json", str(run)}
    folders = {str(parent) for parent in run.parents} - {"."}
    assert {path for path in new if not (LIBRARIES.fullmatch(path) or CACHE.fullmatch(path))} == folders


def test_what_holds_texts_is_for_its_owner_only(left: Path) -> None:
    run = run_folder(left / "out")
    files = [path for path in run.rglob("*") if path.is_file()]
    holding = [path for path in files if MARKER.encode() in path.read_bytes()]
    assert {path.parent.name for path in holding} == {"cells", run.name}, "cells and the report hold texts"
    for path in holding:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) in (0o600, 0o644), path
        assert not path.is_symlink()
    assert not (run / "checkpoints").exists() or not list((run / "checkpoints").iterdir())


def test_no_secret_and_no_path_of_the_home_is_in_a_run(left: Path) -> None:
    for path in run_folder(left / "out").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert SECRET.encode() not in content, path
        assert str(left / "home").encode() not in content, path


def test_what_failed_is_told_to_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in's message may quote a client's text."""
    from fedsec.runner import execute

    def fails(*_: object) -> None:
        raise ValueError(f"cannot attack {MARKER!r} with {SECRET}")

    from fedsec.config.load import load_scenario
    from fedsec.result import run

    monkeypatch.setattr(execute, "score", fails)
    before = os.umask(0)
    try:
        result = run(load_scenario(scenario(tmp_path)), tmp_path / "out")
    finally:
        os.umask(before)
    assert result.errors == 3
    holding = [path for path in result.path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert [path.name for path in holding] == ["errors.log"]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600


def test_an_error_that_no_file_can_hold_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedsec.config.load import load_scenario
    from fedsec.errors import FedsecError
    from fedsec.result import run
    from fedsec.runner import execute

    original, turns = execute.score, iter(range(9))

    def fails(*arguments: Any) -> Any:
        if next(turns):
            raise FedsecError("half a \ud800 and \x1b[2J <b>")
        return original(*arguments)

    monkeypatch.setattr(execute, "score", fails)
    result = run(load_scenario(scenario(tmp_path)), tmp_path / "out")
    assert [cell["cell"]["status"] for cell in result.cells] == ["ok", "error", "error"]
    assert "half a" in (result.path / "report.html").read_text()
