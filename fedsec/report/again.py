"""The command that runs a run again, finishes it, or runs one of its cells: every setting lies in its folder."""

import json
import os
from collections.abc import Mapping
from typing import Any

from fedsec import registry


def again(record: Mapping[str, Any], run: str = "", file: str = "scenario.resolved.yaml") -> list[str]:
    """The words of that command; its cells count as done, and what is missing runs.

    Args:
        record: record.json: the scenario's name, the plug-in files that were allowed, threads.
        run: the run's folder as seen from where the command is typed; empty for that folder itself.
        file: what to run of that folder.
    """
    above = ".." + "/.." * len(str(record.get("scenario") or "").split("/"))
    words = ["fedsec", "run", _from(run, file), "--out", _from(run, above)]
    for plugin in record.get("plugins") or ():
        words += ["--allow-plugins", _from(run, str(plugin))]
    threads = record.get("threads") or 1
    return words if threads == 1 else [*words, "--threads", str(threads)]


def cell_again(record: Mapping[str, Any], cell: Mapping[str, Any]) -> list[str]:
    """The words that run one cell and its controls by themselves, typed in the run's folder.

    Args:
        record: record.json.
        cell: a cell of the scorecard.
    """
    attack = _component(registry.attacks(), cell["attack"].partition("(")[0], cell["attack_params"])
    stack = [_component(registry.defenses(), part["name"], part["params"]) for part in cell["defense_stack"]]
    settings: Any = {path: [value] for path, value in cell["settings"].items()}
    chosen = {"attack": [attack], "defense": [stack or "none"], "seed": [cell["seed"]]}
    chosen |= {"vary": settings} if settings else {}
    names = [member["scenario"] for member in record.get("members") or ()]
    place = names.index(cell["scenario"]) + 1 if cell.get("scenario") in names else 0
    words = again(record, file=f"scenario-{place}.resolved.yaml") if place else again(record)
    for name, value in chosen.items():
        words += ["--set", f"matrix.{name}={json.dumps(value, ensure_ascii=False)}"]
    return words


def _component(cards: registry.Registry[Any], name: str, params: Mapping[str, Any]) -> Any:
    """A method as a scenario names it, with the parameters that are not its defaults."""
    card = cards.get(name) if name in cards else None
    known = {} if card is None else {one.name: one.default for one in card.parameters}
    changed = {key: value for key, value in params.items() if key not in known or known[key] != value}
    return {"name": name, **changed} if changed else name


def _from(run: str, path: str) -> str:
    return os.path.normpath(os.path.join(run, path))  # noqa: PTH118  (pathlib keeps `..`)
