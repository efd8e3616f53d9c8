"""docs/reference.md is what the docstrings say, and docs/examples/ has a working plug-in for every hook."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fedsec import api
from fedsec.api import Card
from fedsec.api.hooks import METHODS, OBSERVE
from fedsec.cell.resources import Resources
from fedsec.config.load import load_scenario
from fedsec.plan.cells import NONE, expand
from fedsec.plugin_files import allow_plugins, disallow_plugins
from fedsec.testing import shared

DOCS = Path(__file__).parent.parent.parent / "docs"
EXAMPLE = DOCS / "examples" / "every_hook.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", DOCS / "generate_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cards() -> Iterator[tuple[Card, ...]]:
    yield allow_plugins(EXAMPLE)
    disallow_plugins(EXAMPLE)


def test_the_page_is_what_the_docstrings_say(generator: ModuleType) -> None:
    assert generator.PAGE.read_text() == generator.page(), "docs/reference.md is out of date. Run: make reference"


def test_the_page_has_everything_that_a_plugin_may_import(generator: ModuleType) -> None:
    headings = set(re.findall(r"^### `?(\w+)", generator.page(), re.MULTILINE))
    assert {name for name in api.__all__ if name not in headings} == {
        "Tokens",
        "SERVER",
        "AUTHORITY",
    }  # a type's other name, and numbers


def test_every_link_of_the_pages_leads_somewhere() -> None:
    for page in DOCS.glob("*.md"):
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), (page.name, target)
        own = {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in _headings(text)}
        for target in re.findall(r"\]\(#([^)]+)\)", text):
            assert target in own, (page.name, target)


def _headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)


def test_the_example_has_every_hook() -> None:
    methods = {node.name for node in ast.walk(ast.parse(EXAMPLE.read_text())) if isinstance(node, ast.FunctionDef)}
    assert set(METHODS) | {OBSERVE, "reconstruct", "extract", "score", "triggered", "state", "load_state"} <= methods


def test_every_plugin_of_the_example_runs(cards: tuple[Card, ...]) -> None:
    """Each attack without a defense, and each defense without an attack; what a plug-in raises goes up."""
    resources, seen = Resources(), set()
    for cell in expand(load_scenario(EXAMPLE.with_suffix(".yaml"), [])):
        names = {part.name for part in (cell.attack, *cell.defense)} - {NONE}
        if cell.attack.name == NONE or not cell.defense:
            assert shared.content(cell, resources)["cell"]["status"] == "ok", names
            seen |= names
    assert {card.name for card in cards if card.name.startswith("x-")} == seen
