"""The scenarios that come with fedsec. Imports none of the code that checks them, so that listing is quick."""

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable

from fedsec.config import yaml_tree
from fedsec.errors import FedsecError


def shipped() -> list[tuple[str, str]]:
    """Name and summary of every scenario that comes with fedsec, by name."""
    found = []
    for name, file in shipped_files().items():
        summary = yaml_tree.head(file.read_text(encoding="utf-8"), ("summary",)).get("summary", "")
        found.append((name, summary))
    return sorted(found)


def shipped_text(name: str) -> str:
    """The YAML of a shipped scenario; KeyError if there is none of that name."""
    return shipped_files()[name].read_text(encoding="utf-8")


def shipped_files() -> dict[str, Traversable]:
    """The file of every scenario that comes with fedsec, by name."""
    try:
        return dict(_walk(resources.files("fedsec.scenarios"), ""))
    except ImportError as error:
        raise FedsecError(f"the shipped scenarios cannot be found ({error}). Run: pip install -e .") from error


def _walk(folder: Traversable, above: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{above}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            yield above + entry.name.removesuffix(".yaml"), entry
