"""A look at the data and the model's folder that a scenario names, before anything runs. Imports no torch."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from fedsec import registry
from fedsec.config.components import Finding, exists
from fedsec.config.schema import Data
from fedsec.config.valid import Valid
from fedsec.errors import FedsecError, MissingDataError
from fedsec.models.folder import classes_of, fault_of
from fedsec.plan.fit import AUXILIARY_SOURCE, CAUSAL_LM, Facts, facts_of, misfits

MOST_ROWS = 100_000
"""Rows of a file that are looked at; one with more tells nothing of their number."""
_DATA, _AUXILIARY = ("data",), ("threat", "auxiliary")
_SOURCE = ("name", "path", "revision", "config", "train_split", "test_split", "columns", "quoting")


class Looked(NamedTuple):
    """What a look at one set of texts found."""

    facts: Facts | None
    """None if it could not be read well enough to tell."""
    faults: tuple[tuple[str, str], ...]
    """Each with its setting below the section that names the texts; empty for the set itself."""
    note: str | None = None
    """What was not looked at, and why."""


class DataLook:
    """Looks at the texts and the folders that scenarios name, at each once.

    Called with the valid values of a scenario, it gives what is wrong with what they name.
    """

    def __init__(self) -> None:
        self._notes: dict[str, None] = {}
        self._unseen: dict[str, None] = {}
        self._classes: dict[str, None] = {}
        self._looked: dict[str, Looked] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever runs these scenarios should know and is no fault: what is passed over or was not looked at."""
        return (*self._notes, *self._unseen)

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Of these notes, what is passed over; of what was not looked at, a run says itself whether it is there."""
        return tuple(self._notes)

    @property
    def classes(self) -> tuple[str, ...]:
        """How many rows of which classes are learnt, and what is doubtful of that."""
        return tuple(self._classes)

    def __call__(self, valid: Valid) -> Iterator[Finding]:
        """The faults, each with the path of its setting."""
        facts, faults = self._texts(valid, _DATA)
        yield from faults
        yield from self._folder(valid, ("model", "name"), facts)
        if facts is not None:
            yield from misfits(valid, facts)
        if facts is not None and facts.classes is not None and valid.get("model", "task") != CAUSAL_LM:
            lines = (f"data: {facts.classes.in_words()}", facts.classes.doubt())
            self._classes |= dict.fromkeys(line for line in lines if line is not None)
        yield from self._auxiliary(valid, facts)

    def _auxiliary(self, valid: Valid, held: Facts | None) -> Iterator[Finding]:
        granted = "auxiliary-text" in (valid.get("threat", "knowledge") or ())
        if not granted or not (valid.get(*_AUXILIARY, "name") or valid.get(*_AUXILIARY, "path")):
            return
        yield from self._folder(valid, (*_AUXILIARY, "model"), None)
        facts, faults = self._texts(valid, _AUXILIARY)
        yield from faults
        if facts is None:
            return
        wanted, name = valid.get(*_AUXILIARY, "rows"), valid.get(*_AUXILIARY, "name") or valid.get(*_AUXILIARY, "path")
        if wanted is not None and wanted > facts.train:
            yield (*_AUXILIARY, "rows"), f"{wanted} is more than the {facts.train:,} training rows of {name}"
        same = all(valid.get(*_DATA, key) == valid.get(*_AUXILIARY, key) for key in ("name", "path", "revision"))
        if same and held is not None and _all_dealt(valid, held):
            yield (
                (*_AUXILIARY, "name" if valid.get(*_AUXILIARY, "name") else "path"),
                f"nothing is left of {name} for attacks: clients hold all of its {facts.train:,} training rows; lower "
                "data.train, or give another set",
            )

    def _texts(self, valid: Valid, at: tuple[str, ...]) -> tuple[Facts | None, list[Finding]]:
        """What is known of the texts that a section names, and what is wrong with them."""
        data = _section(valid, at)
        if data is None:
            return None, []
        key = json.dumps([at, data.model_dump(mode="json")])
        if key not in self._looked:
            self._looked[key] = _look(data, ".".join(at))
        found = self._looked[key]
        if found.note is not None:
            (self._unseen if found.facts is None else self._notes)[found.note] = None
        source = "name" if data.name is not None else "path"
        return found.facts, [((*at, *(setting or source).split(".")), message) for setting, message in found.faults]

    def _folder(self, valid: Valid, at: tuple[str, ...], facts: Facts | None) -> Iterator[Finding]:
        """What a model's folder lacks."""
        name = valid.get(*at)
        folder = exists(name) if isinstance(name, str) and name not in registry.models() else None
        if folder is None or not folder.is_dir():
            return
        fault, head = fault_of(folder), classes_of(folder)
        if fault is not None:
            yield at, fault
        classes = len(facts.labels) if facts is not None and facts.labels else None
        learns = valid.get("model", "task") not in (None, CAUSAL_LM)
        if learns and None not in (head, classes) and head != classes:
            note = f"model {name}: its head tells {head} classes apart, and the data have {classes}: it gets a new one"
            self._notes[note] = None


def _all_dealt(valid: Valid, facts: Facts) -> bool:
    """Whether clients and the server hold every training row."""
    train = valid.get("data", "train")
    whole = train == facts.train or (train is None and valid.has("data", "train"))
    return whole and valid.has("data", "candidates") and valid.get("data", "candidates") is None


def _section(valid: Valid, at: tuple[str, ...]) -> Data | None:
    """What a section says of its texts; None if it names none, or if that is not valid as a whole."""
    keys = _SOURCE if at == _DATA else AUXILIARY_SOURCE
    if not all(valid.has(*at, key) for key in keys):
        return None
    given: dict[str, Any] = {key: valid.get(*at, key) for key in keys if key != "columns"}
    if given["name"] is None and given["path"] is None:
        return None
    given["columns"] = {key: valid.get(*at, "columns", key) for key in ("text", "label", "prompt")}
    if at == _DATA:
        given["min_words"] = valid.get("data", "min_words") or 1
        if valid.get("data", "partition", "kind") == "by-column" and valid.get("data", "partition", "column"):
            given["partition"] = {"kind": "by-column", "column": valid.get("data", "partition", "column")}
    return Data.model_validate(given)


def _look(data: Data, section: str) -> Looked:
    card = registry.datasets().get(data.name) if data.name and data.name in registry.datasets() else None
    if card is not None and card.columns is None and data.min_words == 1 and data.partition.kind == "iid":
        if card.rows is None:
            return Looked(None, (), f"{section}: {card.name} was not looked at, since it would have to be generated")
        return Looked(Facts(*card.rows, card.labels), ())
    # Files take numpy, and the hub's data more.
    from fedsec.data.named import is_here, load_corpus, passed_over
    from fedsec.data.reading import Faults, Reading

    faults = Faults()
    try:
        corpus = load_corpus(data, Reading(faults, most=MOST_ROWS + 1, offline=True, section=section))
    except FedsecError as error:
        if isinstance(error, MissingDataError) and not is_here(data):
            return Looked(None, (), f"{section}: {data.name} was not looked at: {error}")
        return Looked(None, (*faults, ("", str(error))))
    broken = {setting for setting, _ in faults}
    if not broken & {"columns", "columns.text"}:
        try:
            corpus = corpus.of_words(data.min_words)
        except FedsecError as error:
            faults("min_words", str(error))
    rows = len(corpus.train), len(corpus.test)
    if max(rows) > MOST_ROWS or sum(rows) == MOST_ROWS + 1:
        name = data.name or data.path
        note = f"{section}: of {name} only the first {MOST_ROWS:,} rows were looked at, and not how many there are"
        return Looked(None, tuple(faults), note)
    facts = facts_of(corpus)
    if "columns.label" in broken:
        facts = facts._replace(labels=None, classes=None)
    if "partition.column" in broken:
        facts = facts._replace(groups=0)
    # Rows that could not be told apart were not counted.
    unknown = broken & {"", "quoting", "columns", "min_words"}
    return Looked(None if unknown else facts, tuple(faults), passed_over(data))
