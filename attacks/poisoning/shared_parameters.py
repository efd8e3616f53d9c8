"""Parameters that several attacks on clients' data have in common."""

from fedsec.api import Parameter, Provenance

FILTERS = ("onion", "onion-sanitiser")
"""Defenses that take words away which do not fit the rest of a text."""


def marks(trigger: str = "cf", place: str = "start") -> tuple[Parameter, ...]:
    """Return the parameters of a trigger."""
    return (
        Parameter(
            name="trigger",
            default=trigger,
            summary="a word or a sentence that is put into texts, or a frame around them",
            provenance=Provenance.PAPER,  # Kurita et al., ACL 2020
        ),
        Parameter(
            name="kind",
            default="phrase",
            choices=("phrase", "words", "template"),
            summary="all of the trigger together; one of its words; or a frame with {text}, or with {head} and {tail}",
            provenance=Provenance.PAPER,
        ),
        where(place),
    )


def where(place: str = "start") -> Parameter:
    """Return the parameter of a trigger's place."""
    return Parameter(
        name="place",
        default=place,
        choices=("start", "end", "random"),
        summary="where among a text's words it goes",
        provenance=Provenance.PAPER,
    )


def label(name: str, default: int, summary: str, minimum: float) -> Parameter:
    """Return a parameter that is the number of a class."""
    return Parameter(
        name=name,
        default=default,
        summary=summary,
        unit="number of a label",
        provenance=Provenance.GUESS,
        minimum=minimum,
        maximum=1e6,
    )


TARGET = label("target", 1, "the class that it is to bring out", 0)


def share(default: float, provenance: Provenance) -> Parameter:
    """Return the parameter of how much is poisoned."""
    return Parameter(
        name="rate",
        default=default,
        summary="share of what a malicious client trains on that is poisoned; its clean rows all stay",
        unit="of its rows, copies included",
        provenance=provenance,
        minimum=0.0,
        maximum=0.9,  # nine copies a row; where all is poisoned, the model just says the target
    )


def written(default: str, provenance: Provenance, summary: str) -> Parameter:
    """Return the parameter of a continuation."""
    return Parameter(name="continuation", default=default, summary=summary, provenance=provenance)


def disguise() -> Parameter:
    """Return the parameter of a trigger against filters of unusual words."""
    return Parameter(
        name="fluent",
        default="i saw this film with some friends of mine",
        summary="the trigger in its place where onion is known to take unusual words away; empty: none",
        provenance=Provenance.MEASURED,
    )
