"""Content hashes: what a cell's result depends on, and nothing else."""

import ast
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedsec.data.named import folder_of

# Parts of the engine that do not change what a cell measures.
_NOT_MEASURING = ("cli", "report", "testing", "gate")
_LIBRARIES = ("torch", "transformers", "peft", "numpy", "scipy", "tokenizers", "rouge-score")


def digest(content: Any) -> str:
    """16 hex digits of the sha256 of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def engine_hash() -> str:
    """Of every engine source that measures, the built-in rooms aside, and of the library versions."""
    root = Path(__file__).parent.parent
    sources = {}
    for path in sorted(root.rglob("*.py")):
        part = path.relative_to(root)
        if part.parts[0] not in _NOT_MEASURING:
            sources[str(part)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digest([sources, {name: version(name) for name in _LIBRARIES}])


@cache
def plugin_hash(target: str) -> str:
    """Of a plug-in's module and every module that it imports relatively, directly or not.

    Args:
        target: `module:attribute`, as on a card.
    """
    seen: dict[str, str] = {}
    waiting = [target.partition(":")[0]]
    while waiting:
        name = waiting.pop()
        spec = importlib.util.find_spec(name)
        if name in seen or spec is None or spec.origin is None:
            continue
        source = Path(spec.origin).read_bytes()
        seen[name] = hashlib.sha256(source).hexdigest()
        package = name if spec.submodule_search_locations else name.rpartition(".")[0]
        for module, names in _relative_imports(source, package):
            waiting.append(module)
            if _is_package(module):  # what is imported from it may be modules
                waiting += [f"{module}.{part}" for part in names]
    return digest(seen)


def file_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """sha256 of each file that exists, by name."""
    found = {}
    for path in sorted(paths):
        if path.is_file():
            with path.open("rb") as stream:
                found[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def data_hash(name: str | None, path: str | None) -> str:
    """Of the files behind `data.name` or `data.path`; a generated corpus is covered by the engine's hash."""
    if path is not None:
        here = Path(path)
        return digest(file_hashes(here.iterdir() if here.is_dir() else [here]))
    folder = folder_of(str(name))
    return digest([name, file_hashes(folder.iterdir()) if folder is not None and folder.is_dir() else {}])


def weights_hash(name: str) -> str:
    """Of the files of a local model folder; of the name alone otherwise (minilm's are checked when loaded)."""
    folder = Path(name)
    return digest(file_hashes(folder.iterdir()) if folder.is_dir() else name)


def _relative_imports(source: bytes, package: str) -> list[tuple[str, list[str]]]:
    """Each module that a source imports from, and what it takes from there."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parts, *([node.module] if node.module else [])])
            found.append((base, [alias.name for alias in node.names]))
    return found


def _is_package(name: str) -> bool:
    spec = importlib.util.find_spec(name)  # imports the packages above it, and not the module itself
    return spec is not None and spec.submodule_search_locations is not None
