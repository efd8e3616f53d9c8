"""Which methods a plug-in's class has, read from its source: importing it may take seconds, for torch."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path

from fedsec.api.cards import Card


def methods_of(card: Card) -> frozenset[str] | None:
    """The names of the methods of the class that a card names, inherited ones included; None if its source hides them.

    Args:
        card: a registered card.
    """
    module, _, attribute = card.target.partition(":")
    try:
        return frozenset(_methods(module, attribute, 0))
    except (_HiddenError, SyntaxError, ValueError, OSError, RecursionError):
        return None


def forget() -> None:
    """Read sources anew: a local plug-in file was loaded again."""
    _tree.cache_clear()


class _HiddenError(Exception):
    """The target is no class whose source can be read."""


_MOST_BASES = 20
_PLAIN = ("object", "Protocol", "Generic", "ABC")
"""Bases that bring no method of a plug-in's."""


def _methods(module: str, name: str, depth: int) -> Iterator[str]:
    if depth > _MOST_BASES:
        raise _HiddenError
    tree, package = _tree(module)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield from (part.name for part in node.body if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)))
            for base in node.bases:
                yield from _of_base(base, tree, module, package, depth)
            return
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield from _methods(_absolute(node, package), alias.name, depth + 1)
                    return
    raise _HiddenError


def _of_base(base: ast.expr, tree: ast.Module, module: str, package: str, depth: int) -> Iterator[str]:
    inner = base.value if isinstance(base, ast.Subscript) else base
    if not isinstance(inner, ast.Name):
        raise _HiddenError
    if inner.id not in _PLAIN:
        yield from _methods(module, inner.id, depth + 1)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    return resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""


@cache
def _tree(module: str) -> tuple[ast.Module, str]:
    """A module's source as a tree, and the package that relative imports start from."""
    try:
        spec = find_spec(module)  # imports the packages above it, and not the module itself
    except Exception as error:  # what a third party's package raises when imported
        raise _HiddenError from error
    if spec is None or spec.origin is None or not spec.has_location:
        raise _HiddenError
    source = getattr(spec.loader, "executed", None) or Path(spec.origin).read_bytes()
    return ast.parse(source), module if spec.submodule_search_locations else module.rpartition(".")[0]
