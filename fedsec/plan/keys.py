"""What identifies a training and a cell's result: settings, sources, data and weights. Imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsec import registry
from fedsec.api import Card, Knowledge
from fedsec.config.paths import with_paths
from fedsec.config.schema import Scenario
from fedsec.models.inputs import model_hash
from fedsec.plan.cells import NONE, Cell
from fedsec.store.keys import data_hash, digest, weights_hash
from fedsec.store.sources import card_hash, scoring_hash, stands_outside, training_hash


def training_key(cell: Cell) -> str:
    """Return a key that is equal for cells with the same training.

    An attack that only reads does not change it, nor does a defense that acts on the trained model.
    """
    told = cell.told_in_training if cell.acts and Knowledge.DEFENSE_SETTINGS in cell.scenario.threat.knowledge else ()
    attack = [cell.attack.model_dump(), told] if cell.acts else None
    return digest([*_trained(cell), _threat(cell), attack, _planting(cell)])


def prefix_key(cell: Cell) -> str | None:
    """Return a key that is equal for cells with the same rounds before the first attacked one, or None."""
    honest = not (cell.alters_broadcast or cell.supplies or _planting(cell) is not None)
    if cell.scenario.threat.participation.first == 1 or not honest:
        return None
    read = inputs(cell.scenario)
    first = cell.scenario.threat.participation.first
    content = [*_trained(cell), _threat(cell, acts=False), first, read["data"], read["weights"], read.get("language")]
    return digest([content, "prefix", group_sources(cell, acts=False)])


def by_content(data: Mapping[str, Any]) -> dict[str, Any]:
    """A scenario's data with the content of every local file or folder in place of where it lies.

    Args:
        data: a scenario, or a part of it, in the YAML form or as the schema dumps it.
    """
    return with_paths(data, lambda path: f"{Path(path).name}:{data_hash(None, path)}")


def start_key(cell: Cell, trained: list[str]) -> str:
    """Return a key that is equal for cells with the same start from public rows, or the same supplied base model.

    Args:
        cell: the cell.
        trained: names of what is trained, which a defense may have changed.
    """
    read = inputs(cell.scenario)
    settings = by_content(cell.scenario.model_dump(mode="json", include={"model", "data", "federation"}))
    used = [card_hash(card) for card in _loaders(cell, auxiliary=False)]
    attack = None
    if cell.supplies and cell.card is not None:
        attack = cell.attack.model_dump()
        used.append(card_hash(cell.card))
    return digest([settings, cell.seed, trained, read["data"], read["weights"], training_hash(), used, attack])


def _trained(cell: Cell) -> list[Any]:
    settings = by_content(cell.scenario.model_dump(mode="json", include={"model", "data", "federation", "randomness"}))
    return [settings, [cell.told[place] for place in cell.in_training], cell.seed]


def _threat(cell: Cell, *, acts: bool | None = None) -> dict[str, Any]:
    """What of the threat changes the training."""
    threat = cell.scenario.threat
    if cell.acts if acts is None else acts:
        return threat.model_dump(mode="json", exclude={"attack_rounds", "attack_seconds", "colluding", "auxiliary"})
    # Who is pinned to every cohort is so whether attacked or not.
    fixed = {"fixed": True} if threat.participation.kind == "fixed" else {}
    return {**threat.model_dump(mode="json", include={"declared_malicious", "malicious"}), **fixed}


def _planting(cell: Cell) -> str | None:
    """Return the goal that adds texts to the clients' data, if the cell's goal does."""
    return cell.goal.name if cell.goal is not None and cell.goal.plants else None


def cell_key(cell: Cell) -> str:
    """Return the hash of everything that a cell's result depends on: settings, sources, data and weights."""
    read_from = {"model", "data", "federation", "randomness", "evaluation", "threat", "keep_text"}
    content = by_content(cell.scenario.model_dump(mode="json", include=read_from))
    del content["threat"]["attack_seconds"]  # what an attack that ended in time has read does not depend on it
    read = inputs(cell.scenario)
    goal = [card_hash(cell.goal)] if cell.goal is not None else []
    sources = [training_hash(), scoring_hash(), *goal, *(card_hash(card) for card in _cards(cell))]
    return digest([content, cell.settings, cell.attack.model_dump(), cell.told, cell.seed, [*read.values()], sources])


def group_key(cell: Cell) -> str:
    """Return the hash of everything that the cell's training depends on, sources, data and weights included."""
    read = inputs(cell.scenario)
    content = [training_key(cell), read["data"], read["weights"], read.get("language")]
    return digest([*content, group_sources(cell, acts=cell.acts)])


def group_sources(cell: Cell, *, acts: bool) -> list[str]:
    """Hashes of the sources that a training runs, those of the attack if it acts."""
    staged = cell.goal is not None and (acts or _planting(cell) is not None)
    goal = [card_hash(cell.goal)] if staged and cell.goal is not None else []
    return [training_hash(), *goal, *(card_hash(card) for card in _cards(cell, attack=acts, training=True))]


def inputs(scenario: Scenario) -> dict[str, str]:
    """Hashes of the data, the weights and the auxiliary text that a scenario reads."""
    weights = model_hash(scenario.model.name, scenario.model.params)
    read = {"data": data_hash(scenario.data.name, scenario.data.path, scenario.data.revision), "weights": weights}
    given = scenario.threat.auxiliary
    if given.given:
        ready = weights_hash(given.model) if given.model else ""
        read["auxiliary"] = digest([data_hash(given.name, given.path, given.revision), ready])
    spoken = scenario.data.language_model
    if spoken.given:
        model = model_hash(spoken.model, {}) if spoken.model else ""
        read["language"] = digest([data_hash(spoken.name, spoken.path, spoken.revision), model])
    return read


def shares(cell: Cell) -> str:
    """Equal for cells that use the same texts and base model."""
    return digest([cell.scenario.model_dump(mode="json", include={"model", "data"}), cell.seed])


def _cards(cell: Cell, *, attack: bool = True, training: bool = False) -> list[Card]:
    """Cards of the plug-ins that a cell, or its training, uses and that the engine's own hashes do not cover."""
    places = cell.in_training if training else range(len(cell.defense))
    found: list[Card] = [registry.defenses().get(cell.defense[place].name) for place in places]
    if cell.attack.name != NONE and attack:
        found.append(registry.attacks().get(cell.attack.name))
    return found + _loaders(cell, auxiliary=not training)


def _loaders(cell: Cell, *, auxiliary: bool) -> list[Card]:
    """Cards of third parties' models and data sets."""
    kinds: list[tuple[registry.Registry[Any], str | None]] = [
        (registry.models(), cell.scenario.model.name),
        (registry.datasets(), cell.scenario.data.name),
        (registry.datasets(), cell.scenario.threat.auxiliary.name if auxiliary else None),
        (registry.datasets(), cell.scenario.data.language_model.name),
        (registry.models(), cell.scenario.data.language_model.model),
    ]
    loaders = [kind.get(name) for kind, name in kinds if name is not None and name in kind]
    return [card for card in loaders if stands_outside(card)]
