"""Checks across fields. Each runs if the fields that it reads are valid, whatever is wrong elsewhere."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from fedsec import registry
from fedsec.api.cards import AttackCard, DatasetCard
from fedsec.api.goal_cards import Asks
from fedsec.api.hooks import METHODS, OBSERVE, acting
from fedsec.api.threat import Behaviour, Knowledge, Position, ThreatModel
from fedsec.config.components import Entry, Finding, exists
from fedsec.config.endings import ENDINGS, TEXT_ENDINGS, UNQUOTED
from fedsec.config.knowledge import PROVIDED
from fedsec.config.methods import methods_of
from fedsec.config.problems import TreePath, shorten, show
from fedsec.config.valid import Valid

MALICIOUS = "threat.malicious"
KNOWLEDGE = "threat.knowledge"
AUXILIARY = ("threat.auxiliary", "threat.auxiliary.name", "threat.auxiliary.path")
_DATA, _AUXILIARY, _LANGUAGE = ("data",), ("threat", "auxiliary"), ("data", "language_model")


def cross_findings(valid: Valid, attacks: Collection[Entry], exempt: Collection[str]) -> Iterator[Finding]:
    """Everything that fits each on its own but not together.

    Args:
        valid: the scenario's valid values.
        attacks: its valid attacks.
        exempt: paths that are varied, so that what attacks ask of them is not checked here.
    """
    yield from _model(valid)
    yield from _population(valid)
    yield from _protocol(valid)
    yield from _data(valid)
    yield from _written(valid)
    yield from _candidates(valid)
    yield from _threat(valid)
    yield from _auxiliary(valid, exempt)
    yield from _language_model(valid)
    yield from _attacks(valid, attacks, exempt)


def _model(valid: Valid) -> Iterator[Finding]:
    yield from _positions(valid)
    name, task = valid.get("model", "name"), valid.get("model", "task")
    if name is None or task is None or name not in registry.models():
        return
    tasks = registry.models().get(name).tasks
    if task not in tasks:
        yield ("model", "task"), f"{show(task)} is nothing that '{name}' learns; allowed: {', '.join(tasks)}"


def _positions(valid: Valid) -> Iterator[Finding]:
    """Texts longer than a model folder's positions, as far as its config.json says; loading the model says the rest."""
    name, longest = valid.get("model", "name"), valid.get("data", "max_tokens")
    if name is None or longest is None or name in registry.models():
        return
    try:
        config = json.loads((Path(name) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no folder; what else is wrong with it shows when it is loaded
        return
    told = [config.get(key) for key in ("max_position_embeddings", "n_positions")] if isinstance(config, dict) else []
    positions = next((number for number in told if type(number) is int and number > 0), None)
    if positions is not None and longest > positions:
        yield ("data", "max_tokens"), f"{longest} is more than the {positions} positions of model {show(name)}"


def _population(valid: Valid) -> Iterator[Finding]:
    clients = valid.get("federation", "clients")
    if clients is None:
        return
    for path in (
        ("threat", "malicious"),
        ("threat", "declared_malicious"),
        ("threat", "colluding"),
        ("federation", "clients_per_round"),
    ):
        value = valid.get(*path)
        if value is not None and value > clients:
            yield path, f"{show(value)} is more than federation.clients, which is {show(clients)}"
    train, minimum = valid.get("data", "train"), valid.get("data", "partition", "minimum")
    trusted = valid.get("data", "trusted") or 0
    if train is not None and minimum is not None and train < clients * minimum + trusted:
        beside = f" and data.trusted {trusted}" if trusted else ""
        yield (
            ("data", "train"),
            f"{train} rows are too few: federation.clients {clients} times data.partition.minimum {minimum}{beside} "
            f"is {clients * minimum + trusted}",
        )


def _candidates(valid: Valid) -> Iterator[Finding]:
    count, train = valid.get("data", "candidates", "count"), valid.get("data", "train")
    if count is not None and train is not None and count > train:
        yield (
            ("data", "candidates", "count"),
            f"{count} is more than data.train, which is {train}: candidates are drawn from the training rows",
        )
    card = _card(valid.get("data", "name"))
    if count is not None and card is not None and card.templated:
        yield (
            ("data", "candidates"),
            f"'{card.name}' is made from templates, so that members and others resemble each other; take a set of real "
            "texts (run: fedsec list datasets)",
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
    yield from _texts(valid, _DATA, name, path)
    yield from _partition_column(valid, name, path)
    if _is_unlabelled(valid, name, path):
        yield from _without_labels(valid, name, path)


def _written(valid: Valid) -> Iterator[Finding]:
    """What only a model that writes can do."""
    classifies = valid.get("model", "task") == "sequence-classification"
    for path in (("data", "chat"), ("evaluation", "generate")):
        value = valid.get(*path)
        if classifies and value:
            yield path, f"{show(value)} is for model.task: causal-lm, and this is sequence-classification"
    rows, test = valid.get("evaluation", "generate"), valid.get("data", "test")
    if rows is not None and test is not None and rows > test:
        yield ("evaluation", "generate"), f"{rows} is more than data.test, which is {test}"


def _auxiliary(valid: Valid, exempt: Collection[str]) -> Iterator[Finding]:
    """The text that is granted as `auxiliary-text`."""
    if not (valid.has(*_AUXILIARY, "name") and valid.has(*_AUXILIARY, "path")):
        return
    name, path = (valid.get(*_AUXILIARY, key) for key in ("name", "path"))
    if name is None and path is None:
        granted = Knowledge.AUXILIARY_TEXT in (valid.get("threat", "knowledge") or ())
        if set(AUXILIARY).intersection(exempt):
            return
        if granted and KNOWLEDGE not in exempt:
            yield (
                _AUXILIARY,
                "is missing; threat.knowledge grants auxiliary-text: say which public text, such as {name: wikipedia, "
                "rows: 500} (run: fedsec list datasets) or {path: texts.txt}, or take it out of threat.knowledge",
            )
        elif any(valid.get(*_AUXILIARY, key) is not None for key in ("rows", "revision", "model")):
            yield _AUXILIARY, "give the `name` of a data set (run: fedsec list datasets) or a `path`"
        return
    if name is not None and path is not None:
        yield (*_AUXILIARY, "path"), "give either `name` or `path`, not both"
    yield from _texts(valid, _AUXILIARY, name, path)
    model = valid.get(*_AUXILIARY, "model")
    found = None if model is None else exists(model)
    if model is not None and "/" not in model and (found is None or not found.is_dir()):
        yield (
            (*_AUXILIARY, "model"),
            f"{show(model)} is neither a local folder nor a hub id (owner/name); leave it out to have a small model "
            "trained on the auxiliary text",
        )


def _language_model(valid: Valid) -> Iterator[Finding]:
    """The text and the model that defenses are granted."""
    if not (valid.has(*_LANGUAGE, "name") and valid.has(*_LANGUAGE, "path")):
        return
    name, path, model = (valid.get(*_LANGUAGE, key) for key in ("name", "path", "model"))
    if name is None and path is None:
        if any(valid.get(*_LANGUAGE, key) is not None for key in ("rows", "revision", "model")):
            yield _LANGUAGE, "give the `name` of a data set (run: fedsec list datasets) or a `path`"
        return
    if name is not None and path is not None:
        yield (*_LANGUAGE, "path"), "give either `name` or `path`, not both"
    yield from _texts(valid, _LANGUAGE, name, path)
    found = None if model is None else exists(model)
    known = model is None or "/" in model or model in registry.models()
    if not known and (found is None or not found.is_dir()):
        yield (
            (*_LANGUAGE, "model"),
            f"{show(model)} is no registered model, no local folder and no hub id (owner/name); leave it out to have a "
            "small model trained on the text",
        )
    elif model in registry.models() and "causal-lm" not in registry.models().get(model).tasks:
        yield (*_LANGUAGE, "model"), f"{show(model)} writes no text; take a model with the task causal-lm"


def _texts(valid: Valid, at: tuple[str, ...], name: str | None, path: str | None) -> Iterator[Finding]:
    """What a section that names texts says of their place, commit and columns."""
    yield from _source(valid, at, name, path)
    fault = None if path is None else _fault_of_path(path)
    if fault is not None:
        yield (*at, "path"), fault
    if valid.get(*at, "quoting") not in (None, "auto") and path is not None and path.endswith(UNQUOTED):
        yield (*at, "quoting"), f"is for csv and tsv files, and {show(path)} is none"
    what, _ = _without_columns(name, path)
    for key in ("text", "label", "prompt") if what else ():
        if valid.get(*at, "columns", key) is not None:
            yield (*at, "columns", key), f"{what} has no columns to choose"


def _source(valid: Valid, at: tuple[str, ...], name: str | None, path: str | None) -> Iterator[Finding]:
    """Where texts come from, and which commit of them."""
    card = _card(name)
    repository = name is not None and card is None and _is_hub_id(name)
    if name is not None and card is None and not repository:
        hint = registry.datasets().suggestion(shorten(name))
        no_id = ", and no hub id (owner/name)" if "/" in name else ""
        yield (*at, "name"), f"unknown data set {show(name)}{no_id}. {hint}"
        return
    if repository and valid.has(*at, "revision") and valid.get(*at, "revision") is None:
        yield (
            (*at, "revision"),
            f"is missing; {show(name)} on the hub needs the full hash (40 hex digits) of a commit, since a branch or "
            "tag can change under a finished run",
        )
    if name is None and path is None:
        return
    what = show(path) if name is None else show(name)
    if valid.get(*at, "revision") is not None and not repository and (card is None or card.hub is None):
        yield (*at, "revision"), f"{what} is not on the hub; a revision is for data that are"
    for key in ("config", "test_split", "train_split") if at == _DATA else ():
        if valid.get(*at, key) not in (None, "train") and not repository:
            yield (*at, key), f"is for a data set of the hub, owner/name, and {what} is none"


def _card(name: str | None) -> DatasetCard | None:
    return registry.datasets().get(name) if name is not None and name in registry.datasets() else None


def _is_hub_id(name: str) -> bool:
    fits = re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name, re.ASCII) is not None
    return fits and len(name) <= 96 and "--" not in name and ".." not in name and not name.endswith((".", "-", ".git"))


def _without_columns(name: str | None, path: str | None) -> tuple[str, str]:
    """Texts without columns to choose from, in words, and what their groups are; empty if they have some."""
    card = _card(name)
    if path is not None and path.endswith(TEXT_ENDINGS):
        return "a txt file", ""
    return (f"the data set '{card.name}'", card.group) if card is not None and card.columns is None else ("", "")


def _partition_column(valid: Valid, name: str | None, path: str | None) -> Iterator[Finding]:
    """The column to deal rows by."""
    column, kind = valid.get("data", "partition", "column"), valid.get("data", "partition", "kind")
    by_column = kind == "by-column" and valid.has("data", "partition", "column")
    if by_column and column is None:
        yield ("data", "partition", "column"), "is missing; kind: by-column needs the column that rows are dealt by"
    what, group = _without_columns(name, path)
    if what and by_column and column is not None and column != group:
        allowed = f"allowed: {group}" if group else "take iid or quantity-skew"
        yield ("data", "partition", "column"), f"{what} has no column {show(column)}; {allowed}"


def _is_unlabelled(valid: Valid, name: str | None, path: str | None) -> bool:
    """Whether it is certain, before anything is read, that the texts have no labels."""
    if not valid.has("data", "columns", "label") or valid.get("data", "columns", "label") is not None:
        return False
    if path is not None:
        return name is None and path.endswith(TEXT_ENDINGS)
    card = _card(name)
    return card is not None and not card.labels and (card.columns is None or card.columns.label is None)


def _without_labels(valid: Valid, name: str | None, path: str | None) -> Iterator[Finding]:
    """What cannot be done with texts that have no labels."""
    what = show(path) if name is None else show(name)
    if valid.get("model", "task") == "sequence-classification":
        key = "path" if name is None else "name"
        yield ("data", key), f"{what} has no labels; model.task: sequence-classification needs them, causal-lm does not"
    if valid.get("data", "partition", "kind") == "dirichlet":
        yield (
            ("data", "partition", "kind"),
            f"dirichlet shares out labels, and {what} has none; take iid, quantity-skew or by-column",
        )


def _fault_of_path(path: str) -> str | None:
    found = exists(path) if path else None
    if found is None:
        starts = "relative paths start at the scenario file's folder, those of --set at the working directory"
        return f"{show(path)} does not exist ({starts})"
    if found.is_dir() or (found.is_file() and found.name.endswith(ENDINGS)):
        return None
    return f"{show(path)} cannot be read; allowed: a folder, or a file that ends in {', '.join(ENDINGS)}"


def _threat(valid: Valid) -> Iterator[Finding]:
    chosen, rounds = valid.get("threat", "attack_rounds"), valid.get("federation", "rounds")
    for place, one in enumerate(chosen) if isinstance(chosen, list) else ((None, chosen),):
        if isinstance(one, int) and rounds is not None and one > rounds:
            path: TreePath = ("threat", "attack_rounds", *(() if place is None else (place,)))
            yield path, f"{one} is after the last round; federation.rounds is {rounds}"
    if chosen == []:
        yield ("threat", "attack_rounds"), "names no round; give one, several, last or all"
    first, last = valid.get("threat", "participation", "first"), valid.get("threat", "participation", "last")
    if first is not None and rounds is not None and first > rounds:
        yield ("threat", "participation", "first"), f"{first} is after the last round; federation.rounds is {rounds}"
    elif first is not None and last is not None and last < first:
        yield ("threat", "participation", "last"), f"{last} is before threat.participation.first, which is {first}"
    malicious, cohort = valid.get("threat", "malicious"), valid.get("federation", "clients_per_round")
    if valid.get("threat", "participation", "kind") == "fixed" and malicious and cohort and malicious > cohort:
        yield (
            ("threat", "participation", "kind"),
            f"fixed puts all {malicious} malicious clients into a round of {cohort}; lower threat.malicious, or raise "
            "federation.clients_per_round",
        )


def _attacks(valid: Valid, attacks: Collection[Entry], exempt: Collection[str]) -> Iterator[Finding]:
    malicious, granted = valid.get("threat", "malicious"), valid.get("threat", "knowledge")
    if KNOWLEDGE not in exempt:
        yield from _knowledge(valid, attacks)
    for path, stack in attacks:
        for component in stack:
            card = registry.attacks().get(component.name)
            if MALICIOUS not in exempt and malicious == 0 and _forges(card.threat):
                yield path, f"'{card.name}' attacks as a client; it needs threat.malicious of at least 1"
            if KNOWLEDGE not in exempt and granted is not None:
                lacking = sorted({item.value for item in card.threat.knowledge} - set(granted))
                if lacking:
                    yield path, f"'{card.name}' needs threat.knowledge to grant {', '.join(lacking)}"
            yield from _goal(valid, path, card, exempt)


def _knowledge(valid: Valid, attacks: Collection[Entry]) -> Iterator[Finding]:
    """Side knowledge that is granted and that no attack of the scenario can be handed where it stands."""
    threats = [registry.attacks().get(part.name).threat for _, stack in attacks for part in stack]
    handed = {kind for threat in threats for kind in PROVIDED.get((threat.position, threat.behaviour), ())}
    for place, kind in enumerate(valid.get("threat", "knowledge") or ()):
        if threats and kind not in handed:
            places = sorted({f"a {one.behaviour} {one.position}" for one in threats})
            known = ", ".join(sorted(one.value for one in handed)) or "nothing"
            yield (
                ("threat", "knowledge", place),
                f"{show(kind)} is handed to none of this scenario's attackers ({', '.join(places)}); allowed: {known}",
            )


def _goal(valid: Valid, path: TreePath, card: AttackCard, exempt: Collection[str]) -> Iterator[Finding]:
    """Whether an attack has what its goal asks, and the scenario what its goal needs."""
    if card.threat.goal not in registry.goals():
        yield (
            path,
            f"'{card.name}' has the goal {show(card.threat.goal)}, which is not registered. "
            + (registry.goals().suggestion(card.threat.goal)),
        )
        return
    goal = registry.goals().get(card.threat.goal)
    for setting in goal.requires:
        at = tuple(setting.split("."))
        varied = any(one == setting or one.startswith(f"{setting}.") for one in exempt)
        if not varied and valid.has(*at) and valid.get(*at) is None:
            yield at, f"is missing; '{card.name}' has the goal {goal.name}, which needs it"
    methods = methods_of(card)
    if methods is None:  # the run will say
        return
    watches = goal.asks == Asks.AFTER and not goal.by_round and card.threat.behaviour == Behaviour.CURIOUS
    watches = watches and card.threat.position != Position.RELEASED_MODEL
    asked = (goal.method, *([OBSERVE] if watches else ())) if goal.method else ()
    fitting = (*acting(card.threat), *asked)
    every = {*METHODS, OBSERVE, *(one.method for one in registry.goals() if one.method)}
    place = f"a {card.threat.behaviour} {card.threat.position} whose goal is {goal.name}"
    odd = sorted(methods & every - set(fitting))
    if odd:
        names = " and ".join(f"{name}()" for name in odd)
        may = ", ".join(fitting) or "nothing"
        yield path, f"'{card.name}' has {names}, which {place} is never asked; it may be asked: {may}"
    if goal.method and goal.method not in methods:
        yield path, f"'{card.name}' has no {goal.method}(), which the goal {goal.name} asks"


def _forges(threat: ThreatModel) -> bool:
    return (threat.position, threat.behaviour) == (Position.CLIENT, Behaviour.MALICIOUS)
