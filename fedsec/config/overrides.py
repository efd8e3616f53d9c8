"""`--set federation.rounds=20`: one value of a scenario replaced from outside."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fedsec.config import yaml_tree
from fedsec.config.components import model_parameters
from fedsec.config.fields import all_paths, nearest
from fedsec.config.problems import Problem, TreePath, render
from fedsec.config.tree import Tree, with_value

_VARY = "matrix.vary."
_OF_A_SET = ("name", "revision", "config", "train_split", "test_split")
_INSTEAD = {
    "data.path": tuple(f"data.{key}" for key in _OF_A_SET),
    "data.name": ("data.path",),
    "threat.auxiliary.path": ("threat.auxiliary.name", "threat.auxiliary.revision"),
    "threat.auxiliary.name": ("threat.auxiliary.path",),
}
"""What a setting takes the place of: a file's own choice of data, which nobody means beside another."""


def apply_overrides(tree: Tree, overrides: Sequence[str]) -> tuple[Tree, list[Problem]]:
    """The tree with all values set that can be set, in the order given, and what is wrong with the others.

    Data given by path take the place of the file's data by name, and the other way round.

    Args:
        tree: the scenario as read.
        overrides: each `PATH=VALUE`, the value in YAML.
    """
    problems: list[Problem] = []
    known = [*all_paths(), *(f"model.{name}" for name in model_parameters())]
    for override in overrides:
        dotted, equals, text = override.partition("=")
        path = _split(dotted.strip())
        fault, value = None, None
        if not equals or not text.strip():
            fault = "give PATH=VALUE, such as federation.rounds=20"
        elif dotted.strip() not in known and not dotted.startswith(_VARY):
            fault = f"no such path.{nearest(dotted, known)}"
        else:
            value, fault = yaml_tree.value(text)
        if fault is None:
            try:
                tree = tree.replaced(path, value)
            except TypeError as error:
                fault = str(error)
        if fault is not None:
            problems.append(Problem("--set", None, render(path), fault))
    return _instead(tree), problems


def _instead(tree: Tree) -> Tree:
    """The tree without the settings of its file that those of `--set` take the place of."""
    given = {".".join(map(str, path)) for path in tree.overridden if _at(tree.data, path) is not None}
    gone = {other for name in given for other in _INSTEAD.get(name, ())}
    data = tree.data
    for name in sorted(gone):
        path = _split(name)
        if path not in tree.overridden and _at(data, path) is not None:
            section, key = path[:-1], path[-1]
            data = with_value(data, section, {own: value for own, value in _at(data, section).items() if own != key})
    return replace(tree, data=data)


def _at(data: Any, path: TreePath) -> Any:
    """The value at a path; None if there is none."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _split(dotted: str) -> tuple[str, ...]:
    # The keys of `vary` are dotted paths themselves.
    if dotted.startswith(_VARY):
        return ("matrix", "vary", dotted.removeprefix(_VARY))
    return tuple(dotted.split("."))
