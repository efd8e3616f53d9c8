"""The README's claims that a machine can check."""

import re
from pathlib import Path

import pytest

from fedsec import registry
from fedsec.cli.main import app
from fedsec.config.load import load_scenario
from fedsec.config.shipped import shipped

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "attacks/README.md", "scenarios/README.md")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_command_exists() -> None:
    verbs = {command.name for command in app.registered_commands}
    names = {name for name, _ in shipped()}
    for page in PAGES:
        shell = "".join(re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL))
        for verb, argument in re.findall(r"^fedsec (\w+) ?([\w./-]*)", shell, re.MULTILINE):
            assert verb in verbs
            if verb == "run" and "/" in argument:
                assert argument in names
            if verb == "show":
                assert argument in registry.attacks() or argument in registry.defenses()


def test_the_python_example_loads() -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    name, override = re.findall(r'load_scenario\("([^"]+)", \["([^"]+)"\]\)', code.group(1))[0]
    assert load_scenario(name, [override]).matrix.seed == [0]


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, on a model and data that take seconds."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    small = (
        "model={name: tiny-bert, width: 16, layers: 1}", "data.train=60", "data.test=30", "federation.rounds=1",
        "federation.local_steps=1", "matrix.attack=[none]", "matrix.defense=[none, krum]",
    )  # fmt: skip
    monkeypatch.setattr("fedsec.load_scenario", lambda name, overrides: load_scenario(name, [*overrides, *small]))
    monkeypatch.chdir(tmp_path)
    exec(code.group(1), {})  # noqa: S102
    assert (tmp_path / "runs" / "quick" / "byzantine").is_dir()


def test_every_make_target_is_documented() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"\.PHONY: (.*)", makefile)
    assert phony is not None
    for target in phony.group(1).split():
        assert re.search(rf"^{target}:.*## .+", makefile, re.MULTILINE), target


def test_nothing_names_a_registry_or_a_path_of_one_machine() -> None:
    files = [p for p in ROOT.rglob("*") if p.is_file() and p.suffix in (".py", ".md", ".toml", ".txt", ".yaml", "")]
    skipped = {".git", ".venv", "runs", "build", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    for path in files:
        if skipped & set(path.relative_to(ROOT).parts) or path == Path(__file__):
            continue
        text = path.read_text(errors="replace")
        assert not re.search(r"--(extra-)?index-url|find-links|/home/\w+/|/root/", text), path
