"""`--set federation.rounds=20`: one value of a scenario replaced from outside."""

from collections.abc import Sequence

from fedsec.config import yaml_tree
from fedsec.config.components import model_parameters
from fedsec.config.fields import all_paths, nearest
from fedsec.config.problems import Problem, render
from fedsec.config.tree import Tree

_VARY = "matrix.vary."


def apply_overrides(tree: Tree, overrides: Sequence[str]) -> tuple[Tree, list[Problem]]:
    """The tree with all values set that can be set, in the order given, and what is wrong with the others.

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
    return tree, problems


def _split(dotted: str) -> tuple[str, ...]:
    # The keys of `vary` are dotted paths themselves.
    if dotted.startswith(_VARY):
        return ("matrix", "vary", dotted.removeprefix(_VARY))
    return tuple(dotted.split("."))
