"""Scenarios and suites from a file, by a shipped name, or from plain data in Python."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedsec.config import yaml_tree
from fedsec.config.check import check, checked
from fedsec.config.components import exists
from fedsec.config.dump import dump
from fedsec.config.fields import nearest
from fedsec.config.overrides import apply_settings, read_overrides
from fedsec.config.paths import starting_at
from fedsec.config.problems import ConfigError, Problem, show
from fedsec.config.schema import Scenario
from fedsec.config.shipped import shipped, shipped_files
from fedsec.config.suite import ENDINGS, Suite, is_suite, suite_of
from fedsec.config.tree import Tree, from_data
from fedsec.config.valid import Look, no_look
from fedsec.config.vary import put, varied_paths
from fedsec.errors import FedsecError, UnknownNameError


def load_scenario(
    what: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), look: Look = no_look
) -> Scenario | Suite:
    """A checked scenario in normal form, or a checked suite of such scenarios.

    Args:
        what: a .yaml or .yml file, the name of a shipped scenario or suite, or a mapping in the YAML form. Relative
            paths in a file start at its folder, those in a mapping at the working directory.
        overrides: values to replace, each `PATH=VALUE`; relative paths in them start at the working directory. In a
            suite every scenario gets them, apart from the suite's own name, summary, scenarios, defense and seed.
        look: looks at what the scenarios name, such as their data; nothing is looked at if absent.

    Raises:
        ConfigError: faults in the scenario, or in any of a suite, all of them.
        FedsecError: there is no such file or name, or the file cannot be read.
    """
    problems: list[Problem] = []
    if isinstance(what, Mapping):
        tree: Tree | None = from_data(what, "<mapping>")
        folder = ""
    else:
        tree, problems, folder = _tree(what)
    if tree is None:
        raise ConfigError(problems)
    settings, faults = read_overrides(overrides)
    if is_suite(tree.data):
        loaded: Scenario | Suite | None
        loaded, found = suite_of(tree, folder, _member, settings, look)
    else:
        tree, unset = apply_settings(tree, settings)
        loaded, found = check(tree, look)
        faults += unset
    problems += [*faults, *found]
    if loaded is None or problems:
        raise ConfigError(problems)
    return loaded


def load_single(what: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), look: Look = no_look) -> Scenario:
    """A checked scenario, as `load_scenario` gives it; FedsecError if it is a suite."""
    loaded = load_scenario(what, overrides, look)
    if isinstance(loaded, Suite):
        names = ", ".join(member.name for member in loaded.members)
        raise FedsecError(f"{loaded.name} is a suite; give one of its scenarios: {names}")
    return loaded


def substitute(scenario: Scenario, settings: Mapping[str, Any]) -> Scenario:
    """The scenario with other values at dotted paths, checked again; these paths leave its `vary`.

    Args:
        scenario: a checked scenario.
        settings: values by path, such as one combination of `matrix.vary`. A model that is put in comes with
            its own defaults.

    Raises:
        ConfigError: the values do not fit, alone or together.
    """
    known = varied_paths()
    unknown = [path for path in settings if path not in known]
    if unknown:
        problems = (Problem("substitute", None, path, f"no such path.{nearest(path, known)}") for path in unknown)
        raise ConfigError(problems)
    given = from_data(settings, "substitute").data
    # All of the settings count as varied: malicious 0 is a legitimate value of a sweep over attackers.
    return checked(put(dump(scenario), given), "substitute", [*given, *scenario.matrix.vary])


def _member(what: str) -> tuple[Tree | None, list[Problem]]:
    """A scenario of a suite as read."""
    tree, problems, _ = _tree(what)
    return tree, problems


def _tree(what: str | Path) -> tuple[Tree | None, list[Problem], str]:
    """What could be read of a file or a shipped scenario, all faults, and the folder that its paths start at.

    The paths of a scenario then are as they are from the working directory; a suite's scenarios are still to be read.
    """
    source, text, folder = _text(what)
    tree, problems = yaml_tree.read(text, source)
    if tree is not None and folder and not is_suite(tree.data):
        tree = replace(tree, data=starting_at(tree.data, folder))
    return tree, problems, folder


def _text(what: str | Path) -> tuple[str, str, str]:
    """What problems call the scenario, its text, and the folder that its paths start at; a shipped one has none."""
    name = str(what)
    if isinstance(what, str) and not name.endswith(ENDINGS):
        files = shipped_files()  # looked up in a listing: no name becomes a path
        if name in files:
            return f"{name}.yaml", yaml_tree.decode(files[name].read_bytes(), f"{name}.yaml"), ""
        if exists(name) is None:
            raise _unknown_name(name)
    return name, yaml_tree.decode(_read(Path(what)), name), os.path.dirname(name)  # noqa: PTH120  ("" stays "")


def source_of(what: str | Path) -> Path | None:
    """The file that a scenario or suite is read from; None where it is no ordinary file.

    Args:
        what: as `load_scenario` takes it.
    """
    if isinstance(what, str) and not what.endswith(ENDINGS):
        found = shipped_files().get(what)
        return found if isinstance(found, Path) else None
    return Path(what)


def _unknown_name(name: str) -> UnknownNameError:
    near = nearest(name, [known for known, _ in shipped()])
    return UnknownNameError(
        f"no scenario {show(name)}: neither a shipped one (run: fedsec list scenarios) nor a file.{near}"
    )


def _read(path: Path) -> bytes:
    shown = show(str(path))
    try:
        if path.is_dir():
            raise FedsecError(f"{shown} is a folder; give a scenario file in it (.yaml or .yml)")
        if not path.exists():
            raise FedsecError(f"the scenario file {shown} does not exist. Shipped ones: fedsec list scenarios")
        if path.suffix not in ENDINGS:
            raise FedsecError(f"{shown} is no scenario file; its name must end in .yaml or .yml")
        if not path.is_file():  # opening a pipe would wait for ever
            raise FedsecError(f"{shown} is no ordinary file")
        with path.open("rb") as stream:
            return stream.read(yaml_tree.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise FedsecError(f"the scenario file {shown} cannot be read: {error}") from error
