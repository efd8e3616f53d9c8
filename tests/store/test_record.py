"""What ran: enough to place a result, nothing of the user's own."""

import getpass
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from fedsec.store import record
from fedsec.store.record import environment, history


def _git(folder: Path, *arguments: str) -> None:
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_environment_names_versions_and_the_machine_and_nobody() -> None:
    found = environment()
    assert {"python", "packages", "git", "machine", "cores", "threads", "device"} <= set(found)
    assert found["packages"]["torch"]
    text = json.dumps(found)
    assert str(Path.home()) not in text
    assert f'"{getpass.getuser()}"' not in text


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_git_state_is_the_engines_and_never_the_users(tmp_path: Path) -> None:
    source = tmp_path / "venv" / "site-packages" / "fedsec" / "store" / "record.py"
    source.parent.mkdir(parents=True)
    source.write_text("")
    assert record._git_state(source) is None, "no repository"
    (tmp_path / "users.txt").write_text("")
    _git(tmp_path, "init")
    _git(tmp_path, "add", "users.txt")
    _git(tmp_path, "commit", "-m", "users")
    assert record._git_state(source) is None, "the user's repository"
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "engine")
    found = record._git_state(source)
    assert found is not None
    assert (len(found["commit"]), found["dirty"]) == (40, False)
    source.write_text("edited")
    assert (record._git_state(source) or {})["dirty"]


def test_a_run_knows_when_it_began_and_when_it_went_on() -> None:
    first = history(None, resumes=True)
    assert first["resumed"] == []
    second = history(first, resumes=True)
    assert second["created"] == first["created"]
    assert len(second["resumed"]) == 1
    assert history(second, resumes=False) == second
    assert len(history(second, resumes=True)["resumed"]) == 2
    assert history({"resumed": "x"}, resumes=False)["resumed"] == []
