"""The import rules of DESIGN section 1: data and imports flow one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("fedsec", "attacks", "defenses", "scenarios")
# What each part of the engine imports when it runs, from the lowest floor up; nothing else may be imported. Types alone
# (under TYPE_CHECKING) may name what lies above.
FLOORS = {
    "errors": set(),
    "seeds": set(),
    "api": set(),
    "maths": {"api"},
    "privacy": {"api"},
    "registry": {"api", "errors"},
    "config": {"api", "errors", "registry"},
    "data": {"api", "config", "errors", "registry"},
    "store": {"api", "config", "data", "errors", "registry"},
    "models": {"api", "data", "errors", "maths", "registry", "seeds", "store"},
    "wire": {"api"},
    "federation": {"api", "data", "errors", "maths", "models", "privacy", "seeds", "store", "wire"},
    "metrics": {"api", "data", "federation"},
    "goals": {"api", "errors", "metrics"},
    "plan": {"api", "config", "data", "errors", "models", "registry", "seeds", "store"},
    "cell": {
        "api", "config", "data", "errors", "federation", "maths", "metrics", "models", "plan", "registry", "seeds",
        "store",
    },
    "plugin_files": {"api", "config", "errors", "registry", "store"},
    "runner": {"api", "cell", "config", "errors", "federation", "plan", "plugin_files", "store"},
    "comparison": {"api", "errors", "metrics", "registry"},
    "report": {"api", "comparison", "errors", "metrics", "registry"},
    "gate": {"api", "comparison", "config", "errors", "metrics", "plan", "registry", "report", "store"},
    "result": {"comparison", "config", "errors", "report", "runner", "store"},
    "__init__": {"config", "plugin_files", "result"},
    "testing": {
        "api", "cell", "comparison", "config", "data", "errors", "federation", "gate", "goals", "maths", "metrics",
        "models", "plan", "plugin_files", "registry", "report", "result", "runner", "seeds", "store",
    },
    "cli": {
        "__version__", "api", "comparison", "config", "data", "errors", "federation", "gate", "load_scenario", "models",
        "plan", "plugin_files", "registry", "report", "result", "run", "runner", "store",
    },
    "__main__": {"cli"},
}  # fmt: skip
OF_ROOMS = {"api", "maths", "privacy"}


def _modules() -> list[tuple[str, Path]]:
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts), path)
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
    ]


def _imports(path: Path) -> list[tuple[str, int]]:
    """(absolute module, level) of each import that is carried out."""
    found: list[tuple[str, int]] = []
    tree = ast.parse(path.read_text())
    typed = {id(inner) for node in ast.walk(tree) if _is_for_types(node) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in typed:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, 0) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = [f"fedsec.{alias.name}" for alias in node.names] if node.module == "fedsec" else [node.module or ""]
            found += [(part, node.level) for part in parts]
    return found


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_imports_flow_one_way() -> None:
    wrong = []
    for name, path in _modules():
        room, *rest = name.split(".")
        for module, level in _imports(path):
            parts = module.split(".")
            if parts[0] != "fedsec" and not (room == "fedsec" and level):
                if room == "fedsec" and parts[0] in ROOMS:
                    wrong.append(f"{name} imports {module}")
                continue
            if room != "fedsec":
                if not level and parts[1] not in OF_ROOMS:
                    wrong.append(f"{name} imports {module}: a room sees {', '.join(sorted(OF_ROOMS))}")
            elif level:
                wrong.append(f"{name}: the engine imports absolutely")
            elif len(parts) > 1:
                floor = rest[0] if rest else "__init__"
                if parts[1] != floor and parts[1] not in FLOORS[floor]:
                    wrong.append(f"{name} imports {module}, and {floor} stands on {sorted(FLOORS[floor])}")
    assert wrong == []


def test_no_floor_stands_on_one_above_it() -> None:
    below: set[str] = {"__version__", "load_scenario", "run"}  # what `fedsec` itself offers
    for floor, on in FLOORS.items():
        assert on <= below, f"{floor} stands on {sorted(on - below)}, which is not below it"
        below.add(floor)


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
