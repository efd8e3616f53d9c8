"""The report, the command line and what they compare know goals and metrics by their cards alone."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fedsec
from fedsec import registry

ROOT = Path(fedsec.__file__).parent
SOURCES = sorted(path for room in ("comparison", "report", "cli") for path in (ROOT / room).glob("*.py"))
TEMPLATES = sorted((ROOT / "report").glob("*.j2"))
FAMILIES = {card.name.partition("/")[0] for card in registry.metrics()} - {"cost"}
"""First parts of metrics' names; costs are what short tables leave out."""
GOALS = [card.name for card in registry.goals()]


def _texts(source: str) -> Iterator[str]:
    """Every string of a module, parts of formatted ones as well, docstrings aside."""
    tree = ast.parse(source)
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in statements:
            yield node.value


def named(source: str, *, template: bool) -> list[str]:
    """Goals and metrics that a source names."""
    texts = [source] if template else list(_texts(source))
    goals = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, GOALS))})(?![\w-])")
    metrics = re.compile(rf"\b({'|'.join(map(re.escape, sorted(FAMILIES)))})/(?!\w+\.py)")
    return [found.group() for text in texts for kind in (goals, metrics) for found in kind.finditer(text)]


@pytest.mark.parametrize("path", [*SOURCES, *TEMPLATES], ids=lambda path: path.name)
def test_no_source_names_a_goal_or_a_metric(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert named(source, template=path.suffix == ".j2") == []
    assert [card.name for card in registry.metrics() if card.name in source] == []


def test_the_search_finds_what_it_is_for() -> None:
    assert len(SOURCES) > 20
    assert len(TEMPLATES) > 8
    assert {"reconstruction", "untargeted", "backdoor"} <= set(GOALS)
    assert {"leakage", "utility", "robustness"} <= FAMILIES
    assert named("x = {'backdoor': 1}", template=False) == ["backdoor"]
    assert named("x = f'utility/{name}'", template=False) == ["utility/"]
    assert named('{{ {"free-ride": "x"}.get(goal) }}', template=True) == ["free-ride"]
    assert named('"""About a backdoor."""', template=False) == []
