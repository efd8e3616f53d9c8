"""The documentation site: a page for every card, and links that lead into the site. `make docs` builds all of it."""

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml

from fedsec import registry

ROOT = Path(__file__).parent.parent.parent
pytest.importorskip("mkdocs", reason="needs fedsec's extra `docs`")


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_card_has_a_page_and_a_line_in_its_index(site: ModuleType) -> None:
    pages = site.catalogue()
    cards = [
        card for kind in (registry.attacks, registry.defenses, registry.goals, registry.metrics) for card in kind()
    ]
    assert len(pages) == len(cards) + 4, "no two names share a page"
    titles = {text.splitlines()[0] for text in pages.values()}
    assert {f"# {card.name}" for card in cards} <= titles
    for path, text in pages.items():
        folder = path.split("/")[0]
        assert path.endswith("index.md") or f"]({path.removeprefix(f'{folder}/')})" in pages[f"{folder}/index.md"]
        assert "<" not in text.replace("&lt;", "")
    krum = pages["defenses/krum.md"]
    assert all(limit in krum for limit in registry.defenses().get("krum").limits)
    assert all(f"| `{one.name}` |" in krum for one in registry.defenses().get("krum").parameters)


def test_links_lead_into_the_site_or_are_none(site: ModuleType) -> None:
    def led(path: str, text: str) -> str:
        files: Any = [SimpleNamespace(src_uri=name) for name in ("gate.md", "index.md", "examples/a/README.md")]
        return str(site.on_page_markdown(text, SimpleNamespace(file=SimpleNamespace(src_uri=path)), None, files))

    assert led("index.md", "[gate](docs/gate.md#rules)") == "[gate](gate.md#rules)"
    assert (
        led("gate.md", "[up](../README.md), [code](../fedsec/cli/), [x](#rules)") == "[up](index.md), code, [x](#rules)"
    )
    assert led("gate.md", "[one](examples/a/)") == "[one](examples/a/README.md)"
    assert led("add-an-attack.md", "[gate](../docs/gate.md)") == "[gate](gate.md)"
    assert led("gate.md", "```python\nmethods[name](x)\n```\n") == "```python\nmethods[name](x)\n```\n"
    assert led("gate.md", "[away](https://example.org)") == "[away](https://example.org)"


def test_every_page_of_docs_is_in_the_navigation() -> None:
    def pages(part: Any) -> set[str]:
        if isinstance(part, str):
            return {part}
        return set().union(*(pages(one) for one in (part.values() if isinstance(part, dict) else part)))

    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    left_out = {"aggregation-differences.md", "clinic-notes.md"}  # linked from the pages that they belong to
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - left_out <= listed
