"""Hooks of mkdocs: pages of plug-ins are made from their cards, and those at the repository's top join the site.

`make docs` runs it. A link that leads to no page of the site, such as one to a source file, is left as its text.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from fedsec import registry

ROOT = Path(__file__).parent.parent
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changes.md",
    "scenarios/README.md": "scenarios.md",
    "attacks/README.md": "add-an-attack.md",
    "defenses/README.md": "add-a-defense.md",
}
"""Pages that do not lie in docs/, by their path in the repository: their path in the site."""
KINDS = {
    "attacks": registry.attacks,
    "defenses": registry.defenses,
    "goals": registry.goals,
    "metrics": registry.metrics,
}
LINK = re.compile(r"\[([^\[\]]*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what does not lie in docs/."""
    for path, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text(encoding="utf-8")))
    for path, text in catalogue().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where their pages lie in the site."""
    own = {site: path for path, site in OUTSIDE.items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    known = {f"docs/{file.src_uri}": file.src_uri for file in files} | OUTSIDE

    def led(found: re.Match[str]) -> str:
        text, target, place = found.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(own), target))
        site = known.get(path, known.get(f"{path}/README.md"))
        if site is None:
            return text
        return f"[{text}]({posixpath.relpath(site, posixpath.dirname(page.file.src_uri) or '.')}{place or ''})"

    parts = FENCED.split(markdown)
    return "".join(part if place % 2 else LINK.sub(led, part) for place, part in enumerate(parts))


def catalogue() -> dict[str, str]:
    """The pages of every card and an index of each kind, by their path in the site."""
    pages = {}
    for kind, cards in KINDS.items():
        rows = []
        for card in cards():
            pages[f"{kind}/{_slug(card.name)}.md"] = "\n".join(_card(card.describe(), kind))
            rows.append(f"| [{card.name}]({_slug(card.name)}.md) | {_cell(card.summary)} |")
        pages[f"{kind}/index.md"] = "\n".join([f"# {kind.capitalize()}\n", "| name | what |", "| --- | --- |", *rows])
    return pages


def _card(card: Mapping[str, Any], kind: str) -> Iterator[str]:
    """Everything that a card says, as lines."""
    yield f"# {card['name']}\n\n{escape(card['summary'], quote=False)}\n"
    facts = {name: value for name, value in card.items() if name not in ("name", "summary", "parameters", "limits")}
    rows = [f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in facts.items() if _said(value)]
    if rows:
        yield from ["| | |", "| --- | --- |", *rows, ""]
    if card.get("parameters"):
        yield "## Parameters\n\n| name | default | what | allowed | from |\n| --- | --- | --- | --- | --- |"
        for one in card["parameters"]:
            what = f"{one['summary']}{', ' if one['unit'] else ''}{one['unit']}"
            cells = (f"`{one['name']}`", f"`{one['default']}`", what, one["allowed"], one["provenance"])
            yield f"| {' | '.join(map(_cell, cells))} |"
    if card.get("limits"):
        yield "\n## Limits\n"
        yield from (f"- {escape(line, quote=False)}" for line in card["limits"])
    if kind in ("attacks", "defenses"):
        yield f"\n```sh\nfedsec show {card['name']}\n```"


def _said(value: object) -> bool:
    return value not in ("", None, [], {}, (), "none")


def _cell(value: object) -> str:
    """A value as a table's cell."""
    if isinstance(value, Mapping):
        value = "; ".join(f"{name}: {_cell(one)}" for name, one in value.items() if _said(one))
    elif isinstance(value, list | tuple):
        value = ", ".join(map(_cell, value))
    else:
        value = escape(str(value), quote=False)
    return str(value).replace("\\|", "|").replace("|", "\\|").replace("\n", " ")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
