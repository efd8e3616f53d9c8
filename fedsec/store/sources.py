"""Content hashes of the code that a cell runs: of its training, of its score, and of each plug-in with its card."""

import ast
import hashlib
import importlib.util
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from fedsec.api import Card
from fedsec.store.keys import digest

_TRAINING = (
    "api", "cell/pool.py", "cell/resources.py", "cell/staging.py", "cell/start.py", "cell/supply.py",
    "cell/training.py", "config/knowledge.py", "config/population.py", "config/schema.py", "data", "federation",
    "maths", "models", "plan/cells.py", "plan/visibility.py", "privacy", "seeds.py", "wire",
)  # fmt: skip
"""Engine sources that a training runs, beside its plug-ins."""
_QUIET = ("federation/progress.py",)
"""Those of them that only report progress."""
_SCORING = "fedsec.cell.score"
"""Engine sources that score a cell, with everything that they import."""
_FOLLOWED = ("attacks", "defenses", "scenarios", "goals", "metrics", "cell")
"""Parts of fedsec that are hashed for the plug-in that imports them; the rest is the engine's own."""
_LIBRARIES = (
    "torch", "transformers", "peft", "numpy", "scipy", "opacus", "tokenizers", "rouge-score", "regex", "scikit-learn",
)  # fmt: skip
# What a card says to people only; no result depends on it.
_WORDS = (
    "summary", "paper", "deviations", "limits", "cost", "unit", "provenance", "licence", "wants", "headline", "beside",
    "compare",
)  # fmt: skip


@cache
def training_hash() -> str:
    """Return the hash of every engine source that a training runs, and of the library versions."""
    root, sources = Path(__file__).parent.parent, {}
    for part in _TRAINING:
        place = root / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if path.is_file() and path.relative_to(root).as_posix() not in _QUIET:
                sources[path.relative_to(root).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digest([sources, {name: version(name) for name in _LIBRARIES}])


def scoring_hash() -> str:
    """Return the hash of what scores every cell; a goal's own sources are hashed with its card."""
    return plugin_hash(_SCORING)


def card_hash(card: Card) -> str:
    """Return the hash of a card's content, without its prose, of its functions, and of its plug-in."""
    return digest([_stated(card), plugin_hash(card.target)])


def stands_outside(card: Card) -> bool:
    """Return whether a card is a third party's, which the engine's hash does not cover."""
    return not card.target.startswith("fedsec.")


@cache
def plugin_hash(target: str) -> str:
    """Return the hash of a plug-in's module and every module of its own package that it imports, directly or not.

    A module that cannot be found counts as absent: loading it says what is wrong.

    Args:
        target: `module:attribute`, as on a card.
    """
    seen: dict[str, str] = {}
    start = target.partition(":")[0]
    waiting = [start]
    while waiting:
        name = waiting.pop()
        spec = _spec(name)
        if name in seen or spec is None or spec.origin is None or not spec.has_location:
            continue
        source = getattr(spec.loader, "executed", None) or Path(spec.origin).read_bytes()
        seen[name] = hashlib.sha256(source).hexdigest()
        package = name if spec.submodule_search_locations else name.rpartition(".")[0]
        for module, names in _imports(source, package) if spec.origin.endswith(".py") else ():
            if not _follows(module, start):
                continue
            waiting.append(module)
            if _is_package(module):  # what is imported from it may be modules
                waiting += [f"{module}.{part}" for part in names]
    return digest(seen)


def forget() -> None:
    """Forget hashes of sources, since a local plug-in file was loaded again."""
    plugin_hash.cache_clear()
    _function.cache_clear()


def _follows(module: str, start: str) -> bool:
    """Return whether a module belongs to the plug-in at `start`: its own package, or a built-in plug-in."""
    parts = module.split(".")
    if parts[0] == "fedsec":
        return len(parts) > 1 and parts[1] in _FOLLOWED
    return parts[0] == start.partition(".")[0]


def _imports(source: bytes, package: str) -> Iterator[tuple[str, list[str]]]:
    """Return each module that a source imports, and what it takes from there; none where Python cannot read it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                base = [*package.split(".")[: len(package.split(".")) - node.level + 1], *base]
            yield ".".join(base), [alias.name for alias in node.names]


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)  # imports the packages above it, and not the module itself
    except Exception:  # what a third party's package raises when imported
        return None


def _is_package(name: str) -> bool:
    spec = _spec(name)
    return spec is not None and spec.submodule_search_locations is not None


def _stated(value: Any) -> Any:
    """Return a card's content as JSON: functions by their sources, sets in order, without prose."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _stated(getattr(value, f.name)) for f in fields(value) if f.name not in _WORDS}
    if isinstance(value, Mapping):
        return {str(key): _stated(part) for key, part in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(part) for part in value)
    if isinstance(value, (list, tuple)):
        return [_stated(part) for part in value]
    return _callable(value) if callable(value) else value


def _callable(value: Any) -> Any:
    if isinstance(value, partial):
        return [_callable(value.func), _stated(value.args), _stated(value.keywords)]
    if isinstance(value, FunctionType):
        return _function(value)
    return plugin_hash(getattr(value, "__module__", None) or type(value).__module__)


@cache
def _function(function: FunctionType) -> dict[str, Any]:
    """Return a function's source and whatever it uses of its own module; other cards beside it do not count."""
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [(function.__qualname__, function)]
    while waiting:
        name, value = waiting.pop()
        if name in found:
            continue
        module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
        if isinstance(value, FunctionType) and module == function.__module__:
            found[name] = _source(value)
            waiting += _uses(value)
        elif isinstance(module, str):
            found[name] = plugin_hash(module) if _follows(module, function.__module__) else module
        else:
            found[name] = _constant(value)
    return found


def _constant(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return ""


def _source(function: FunctionType) -> str:
    try:
        return inspect.getsource(function)
    except OSError:  # made without a file
        code = function.__code__
        return repr([code.co_code, code.co_names, [c for c in code.co_consts if not isinstance(c, CodeType)]])


def _uses(function: FunctionType) -> list[tuple[str, Any]]:
    """Return what a function refers to in its module and around it, by name."""
    codes, names = [function.__code__], set[str]()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    around = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    outer = [(name, cell.cell_contents) for name, cell in around]
    return outer + [(name, function.__globals__[name]) for name in sorted(names) if name in function.__globals__]
