"""Checks across fields. Each runs if the fields that it reads are valid, whatever is wrong elsewhere."""

from collections.abc import Collection, Iterator

from fedsec import registry
from fedsec.api.threat import Position
from fedsec.config.components import Entry, Finding, exists
from fedsec.config.problems import shorten, show
from fedsec.config.valid import Valid

MALICIOUS = "threat.malicious"
KNOWLEDGE = "threat.knowledge"


def cross_findings(valid: Valid, attacks: Collection[Entry], exempt: Collection[str]) -> Iterator[Finding]:
    """Everything that fits each on its own but not together.

    Args:
        valid: the scenario's valid values.
        attacks: its valid attacks.
        exempt: paths that are varied, so that what attacks ask of them is not checked here.
    """
    yield from _population(valid)
    yield from _protocol(valid)
    yield from _data(valid)
    yield from _threat(valid)
    yield from _attacks(valid, attacks, exempt)


def _population(valid: Valid) -> Iterator[Finding]:
    clients = valid.get("federation", "clients")
    if clients is None:
        return
    for path in (
        ("threat", "malicious"),
        ("threat", "declared_malicious"),
        ("federation", "clients_per_round"),
    ):
        value = valid.get(*path)
        if value is not None and value > clients:
            yield path, f"{show(value)} is more than federation.clients, which is {show(clients)}"
    train, minimum = valid.get("data", "train"), valid.get("data", "partition", "minimum")
    if train is not None and minimum is not None and train < clients * minimum:
        yield (
            ("data", "train"),
            f"{train} rows are too few: federation.clients {clients} times data.partition.minimum {minimum} "
            f"is {clients * minimum}",
        )


def _protocol(valid: Valid) -> Iterator[Finding]:
    if valid.get("federation", "update") != "gradient":
        return
    steps, optimizer = valid.get("federation", "local_steps"), valid.get("federation", "optimizer")
    if steps not in (None, 1):
        yield ("federation", "local_steps"), f"{steps} does not go with update: gradient, which takes 1 step"
    if optimizer not in (None, "sgd"):
        yield (
            ("federation", "optimizer"),
            f"{show(optimizer)} does not go with update: gradient, which takes 'sgd'",
        )


def _data(valid: Valid) -> Iterator[Finding]:
    name, path = valid.get("data", "name"), valid.get("data", "path")
    if valid.has("data", "name") and valid.has("data", "path"):
        if name is None and path is None:
            yield ("data",), "give `name` (run: fedsec list datasets) or `path`"
        elif name is not None and path is not None:
            yield ("data", "path"), "give either `name` or `path`, not both"
    if name is not None and name not in registry.datasets():
        yield (
            ("data", "name"),
            f"unknown data set {show(name)}. {registry.datasets().suggestion(shorten(name))}",
        )
    fault = None if path is None else _fault_of_path(path)
    if fault is not None:
        yield ("data", "path"), fault


def _fault_of_path(path: str) -> str | None:
    from fedsec.data.files import ENDINGS  # imports numpy, which most scenarios do not need to be checked

    found = exists(path) if path else None
    if found is None:
        return f"{show(path)} does not exist (relative paths start at the working directory)"
    if found.is_dir() or (found.is_file() and found.name.endswith(ENDINGS)):
        return None
    return f"{show(path)} cannot be read; allowed: a folder, or a file that ends in {', '.join(ENDINGS)}"


def _threat(valid: Valid) -> Iterator[Finding]:
    attack_round, rounds = valid.get("threat", "attack_round"), valid.get("federation", "rounds")
    if isinstance(attack_round, int) and rounds is not None and attack_round > rounds:
        yield (
            ("threat", "attack_round"),
            f"{attack_round} is after the last round; federation.rounds is {rounds}",
        )


def _attacks(valid: Valid, attacks: Collection[Entry], exempt: Collection[str]) -> Iterator[Finding]:
    malicious, granted = valid.get("threat", "malicious"), valid.get("threat", "knowledge")
    for path, stack in attacks:
        for component in stack:
            card = registry.attacks().get(component["name"])
            if MALICIOUS not in exempt and malicious == 0 and card.threat.position is Position.CLIENT:
                yield path, f"'{card.name}' attacks as a client; it needs threat.malicious of at least 1"
            if KNOWLEDGE not in exempt and granted is not None:
                lacking = sorted({item.value for item in card.threat.knowledge} - set(granted))
                if lacking:
                    yield path, f"'{card.name}' needs threat.knowledge to grant {', '.join(lacking)}"
