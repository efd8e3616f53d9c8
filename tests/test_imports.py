"""The import rules of DESIGN section 1: data and imports flow one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("fedsec", "attacks", "defenses", "scenarios")
# What each part of the engine may import from the engine; `*` is everything but the command line.
ALLOWED = {
    "api": {"api", "maths"},
    "maths": {"api", "maths"},
    "seeds": {"seeds"},
    "errors": {"errors"},
    "registry": {"api", "errors", "registry"},
    "cli": {"*", "cli"},
}


def _modules() -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts), path)
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
    ]


def _imports(path: Path) -> list[tuple[str, int]]:
    """(absolute module, level) of each import."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", node.level))
    return found


@pytest.mark.parametrize(("name", "path"), _modules(), ids=[name for name, _ in _modules()])
def test_imports_flow_one_way(name: str, path: Path) -> None:
    room, *rest = name.split(".")
    for module, level in _imports(path):
        parts = module.split(".")
        if room == "fedsec":
            assert level == 0, f"{name}: the engine imports absolutely"
            assert parts[:2] not in (
                ["fedsec", "attacks"],
                ["fedsec", "defenses"],
                ["fedsec", "scenarios"],
            ), f"{name} imports {module}: rooms are reached through the registry"
            assert parts[0] not in ("attacks", "defenses", "scenarios"), f"{name} imports {module}"
            if parts[0] == "fedsec" and len(parts) > 1:
                allowed = ALLOWED.get(rest[0] if rest else "", {"*"})
                assert parts[1] in allowed or ("*" in allowed and parts[1] != "cli"), f"{name} imports {module}"
        elif parts[0] == "fedsec" and level == 0:
            assert parts[1] in ("api", "maths"), f"{name} imports {module}: a room sees fedsec.api and fedsec.maths"


@pytest.mark.parametrize("room", ["attacks", "defenses", "scenarios"])
def test_rooms_refuse_their_bare_name(room: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"import it as 'fedsec.{room}'" in done.stderr


@pytest.mark.parametrize("module", ["fedsec", "fedsec.api", "fedsec.cli.main", "fedsec.registry", "fedsec.config.load"])
def test_light_modules_do_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_packages_lie_where_the_design_says() -> None:
    code = "import fedsec.attacks, fedsec.defenses, fedsec.scenarios"
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")
