"""Whether data and scenario fit each other, as far as numbers of rows, classes and groups tell."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from fedsec.config.components import Finding
from fedsec.config.problems import show
from fedsec.config.valid import Valid
from fedsec.errors import FedsecError

if TYPE_CHECKING:
    from fedsec.data.classes import Classes
    from fedsec.data.corpus import Corpus

CAUSAL_LM = "causal-lm"
AUXILIARY_SOURCE = ("name", "path", "revision", "columns", "quoting")
"""What of `threat.auxiliary` says where it comes from and how it is read."""


class Facts(NamedTuple):
    """What is known of a corpus without its texts."""

    train: int
    """Training rows, those of too few words left out."""
    test: int
    labels: tuple[str, ...] | None
    """Names of the labels; empty for texts without labels, None if they are not known."""
    classes: "Classes | None" = None
    """Rows of each; None if they are not known."""
    groups: int = 0
    """Different groups of training rows; 0 if they are not known."""


def facts_of(corpus: "Corpus") -> Facts:
    """The facts of a loaded corpus."""
    from fedsec.data.classes import classes_of  # takes numpy

    groups = len({row.group for row in corpus.train} - {""})
    return Facts(len(corpus.train), len(corpus.test), corpus.labels, classes_of(corpus), groups)


def misfits(valid: Valid, facts: Facts) -> Iterator[Finding]:
    """What of a scenario its data cannot give.

    Args:
        valid: the scenario's valid values.
        facts: of the corpus that its section `data` names.
    """
    name, words = valid.get("data", "name") or valid.get("data", "path"), valid.get("data", "min_words") or 1
    least = f" that data.min_words {words} leaves" if words > 1 else ""
    train = valid.get("data", "train")
    for split, there in (("train", facts.train), ("test", facts.test)):
        wanted = valid.get("data", split)
        if wanted is not None and wanted > there:
            yield (
                ("data", split),
                f"{wanted} is more than the {there:,} {split} rows of {name}{least}; "
                f"give more rows, or --set data.{split}={there}",
            )
    asked = valid.get("evaluation", "generate")
    if asked is not None and asked > facts.test:
        yield ("evaluation", "generate"), f"{asked} is more than the {facts.test:,} test rows of {name}"
    yield from _labels(valid, facts, name, f"{name}{least}")
    if not valid.has("data", "train") or (train is not None and train > facts.train):
        return
    yield from _shares(valid, facts, name, facts.train if train is None else train)


def _labels(valid: Valid, facts: Facts, name: str, where: str) -> Iterator[Finding]:
    task, source = valid.get("model", "task"), ("data", "name" if valid.get("data", "name") else "path")
    if facts.labels is None:
        return
    if not facts.labels:
        if task not in (None, CAUSAL_LM):
            yield (
                source,
                f"{name} has no labels, which model.task {task} learns; take model.task: {CAUSAL_LM}, or say with "
                "data.columns.label which column holds them",
            )
        if valid.get("data", "partition", "kind") == "dirichlet":
            yield (
                ("data", "partition", "kind"),
                f"dirichlet shares out labels, and {name} has none; take iid, quantity-skew or by-column",
            )
    elif task not in (None, CAUSAL_LM) and facts.classes is not None:
        fault = _fault_of_classes(facts.classes, where)
        if fault is not None:
            yield ("data", "columns", "label"), fault


def _fault_of_classes(classes: "Classes", where: str) -> str | None:
    found = [name for name, rows in zip(classes.names, classes.train, strict=True) if rows]
    if len(found) == 1:  # a head learns to say it always, with no gradient and every answer right
        return (
            f"the {sum(classes.train):,} training rows of {where} have one class only, '{found[0]:.60}', and there is "
            "nothing to tell apart; give rows of two or more, say with data.columns.label which column holds them, or "
            f"take model.task: {CAUSAL_LM}"
        )
    try:
        classes.check(where)
    except FedsecError as error:
        return str(error)
    return None


def _shares(valid: Valid, facts: Facts, name: str, rows: int) -> Iterator[Finding]:
    """Whether everybody gets a share of the training rows.

    Args:
        valid: the scenario's valid values.
        facts: of the corpus.
        name: of the corpus.
        rows: training rows that the scenario uses.
    """
    candidates, start = valid.get("data", "candidates", "count") or 0, valid.get("model", "start", "rows")
    all_of_it = valid.get("data", "train") is None
    if candidates > rows and all_of_it:
        yield ("data", "candidates", "count"), f"{candidates} is more than the {rows:,} training rows of {name}"
        return
    if start is not None and start > facts.train - rows:
        yield (
            ("model", "start", "rows"),
            f"{start:,} is more than the {facts.train - rows:,} training rows of {name} that nobody else uses; lower "
            f"it, or {'set data.train' if all_of_it else 'lower data.train'}",
        )
    # Of candidates, half are withheld from everybody; the server holds none of them.
    withheld = candidates - candidates // 2 if valid.get("data", "candidates", "inclusion") == "half" else 0
    trusted, clients = valid.get("data", "trusted") or 0, valid.get("federation", "clients")
    if trusted >= rows - candidates and trusted:
        yield ("data", "trusted"), f"{trusted} leaves clients none of the {rows - candidates:,} training rows"
        return
    minimum = valid.get("data", "partition", "minimum")
    if clients is None or minimum is None:
        return
    dealt = rows - withheld - trusted
    if dealt < clients * minimum and (all_of_it or withheld):
        yield (
            ("federation", "clients"),
            f"{show(clients)} clients cannot have {minimum} training row{'s' * (minimum != 1)} each, since {name} has "
            f"{dealt:,} for them",
        )
    kind, column = valid.get("data", "partition", "kind"), valid.get("data", "partition", "column")
    if kind == "by-column" and 0 < facts.groups < clients:
        yield (
            ("data", "partition", "column"),
            f"{show(column)} has {facts.groups} different values in the training rows of {name}, too few for "
            f"{show(clients)} clients; lower federation.clients, or take another column",
        )
