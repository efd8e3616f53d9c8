"""One value of a scenario replaced from outside: by `--set federation.rounds=20`, or by a suite."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fedsec.config import yaml_tree
from fedsec.config.components import model_parameters
from fedsec.config.fields import all_paths, nearest
from fedsec.config.problems import Problem, TreePath, render
from fedsec.config.tree import Origin, Tree, with_value

_VARY = "matrix.vary."
_COMMAND_LINE = Tree({}, "--set")
_OF_A_SET = ("name", "revision", "config", "train_split", "test_split")
_INSTEAD = {
    "data.path": tuple(f"data.{key}" for key in _OF_A_SET),
    "data.name": ("data.path",),
    "threat.auxiliary.path": ("threat.auxiliary.name", "threat.auxiliary.revision"),
    "threat.auxiliary.name": ("threat.auxiliary.path",),
    "data.language_model.path": ("data.language_model.name", "data.language_model.revision"),
    "data.language_model.name": ("data.language_model.path",),
}
"""What a setting takes the place of: a file's own choice of data, which nobody means beside another."""


class Setting(NamedTuple):
    """A value for one path of a scenario."""

    dotted: str
    value: Any
    """Plain data."""
    origin: Origin
    """Where it was written."""


def read_overrides(overrides: Sequence[str]) -> tuple[list[Setting], list[Problem]]:
    """The settings that texts ask for, in their order, and what is wrong with the others.

    Args:
        overrides: each `PATH=VALUE`, the value in YAML.
    """
    settings: list[Setting] = []
    problems: list[Problem] = []
    for override in overrides:
        dotted, equals, text = override.partition("=")
        value, fault = None, None
        if not equals or not text.strip():
            fault = "give PATH=VALUE, such as federation.rounds=20"
        else:
            value, fault = yaml_tree.value(text)
        path = split_path(dotted.strip())
        if fault is not None:
            problems.append(Problem("--set", None, render(path), fault))
        else:
            settings.append(Setting(dotted.strip(), value, Origin(_COMMAND_LINE, path)))
    return settings, problems


def apply_settings(tree: Tree, settings: Sequence[Setting]) -> tuple[Tree, list[Problem]]:
    """The tree with all values set that can be set, in the order given, and what is wrong with the others.

    Data given by path take the place of the file's data by name, and the other way round.

    Args:
        tree: the scenario as read.
        settings: from one place, which all outrank what the tree holds.
    """
    problems: list[Problem] = []
    known = [*all_paths(), *(f"model.{name}" for name in model_parameters())]
    for dotted, value, origin in settings:
        fault = None
        if dotted not in known and not dotted.startswith(_VARY):
            fault = f"no such path.{nearest(dotted, known)}"
        else:
            try:
                tree = tree.replaced(split_path(dotted), value, origin)
            except TypeError as error:
                fault = str(error)
        if fault is not None:
            problems.append(origin.tree.problem(origin.path, fault))
    return _instead(tree, {split_path(setting.dotted) for setting in settings}), problems


def _instead(tree: Tree, new: Collection[TreePath]) -> Tree:
    """The tree without the settings that new ones take the place of.

    Args:
        tree: with the new settings.
        new: where they stand.
    """
    given = {".".join(map(str, path)) for path in new if _at(tree.data, path) is not None}
    gone = {other for name in given for other in _INSTEAD.get(name, ())}
    data = tree.data
    for name in sorted(gone):
        path = split_path(name)
        if path not in new and _at(data, path) is not None:
            section, key = path[:-1], path[-1]
            data = with_value(data, section, {own: value for own, value in _at(data, section).items() if own != key})
    return replace(tree, data=data)


def _at(data: Any, path: TreePath) -> Any:
    """The value at a path; None if there is none."""
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def split_path(dotted: str) -> tuple[str, ...]:
    """The keys of a dotted path."""
    # The keys of `vary` are dotted paths themselves.
    if dotted.startswith(_VARY):
        return ("matrix", "vary", dotted.removeprefix(_VARY))
    return tuple(dotted.split("."))
