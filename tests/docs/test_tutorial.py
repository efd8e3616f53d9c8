"""docs/tutorial.md says what `fedsec init` writes, and has the commands that docs/ci.md has."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedsec.cli.main import app

DOCS = Path(__file__).parent.parent.parent / "docs"


def _commands(page: str) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_what_it_shows_of_the_file_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["init", "--ci", "federation.yaml"]).exit_code == 0
    (gate,) = re.findall(r"^```text\ngate:\n(.*?)^```$", (DOCS / "tutorial.md").read_text(), re.MULTILINE | re.DOTALL)
    assert gate in (tmp_path / "federation.yaml").read_text()


def test_the_page_about_ci_starts_with_the_same_commands() -> None:
    start = [line for line in _commands("ci.md") if line.startswith("fedsec")]
    assert len(start) == 4
    assert set(start) <= set(_commands("tutorial.md"))


@pytest.mark.slow  # a run of the starter's eight cells
def test_every_command_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for line in _commands("tutorial.md")]
    assert [words[1] for words in commands] == ["list", "show", "init", "plan", "run", "baseline", "gate"]
    for words in commands:
        assert words[0] == "fedsec"
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, f"{' '.join(words)}: {done.output}"
    assert (tmp_path / "baselines" / "federation.json").is_file()
