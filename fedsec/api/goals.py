"""Goals: what an adversary wants, what an attack is asked for it, and how far it got.

A goal is a card, which reports and the command line read, and a class, which the engine calls in this order: `stage`
before training, `ask` after it (or `prior` where a defense blocks the attack), and `score`. Nothing but a goal's own
file, its card and its metrics knows that goal.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from fedsec.api.metrics import MetricValue
from fedsec.api.views import Candidate, Evidence, Sample, TriggerView

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A cell beside its controls, of one seed; cell files as they lie on disk."""

    cell: Mapping[str, Any]
    control: Mapping[str, Any] | None
    """The same defense, seed and settings without an attack."""
    plain: Mapping[str, Any] | None
    """Neither an attack nor a defense, the same seed and settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a goal has to work with before training."""

    train: Sequence[Sample]
    """The training rows."""
    rows: "Sequence[np.ndarray]"
    """Row numbers of `train` that each client holds."""
    test: Sequence[Sample]
    classes: tuple[str, ...]
    """Names of the labels."""
    candidates: tuple[Candidate, ...]
    """The pool, in an order that says nothing of membership; empty without `data.candidates`."""
    attack: Any
    """A fresh instance to be asked before training; None if the goal asks nothing then."""
    view: TriggerView | None
    """What it is handed."""
    tokenise: Callable[[Sequence[Sample]], list[list[int]]]
    """Token ids as the model gets them, special tokens included, cut to `data.max_tokens`."""
    whole: Callable[[Sequence[Sample]], list[list[int]]]
    """The same, uncut."""
    label: str
    """The attack's, for messages."""
    generator: "np.random.Generator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What a goal wants of the training."""

    planted: Mapping[int, tuple[Sample, ...]] = field(default_factory=dict)
    """Samples that a client holds beside its own."""
    watched: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    """Texts that the global model is asked about at every evaluation, and the released one at the end."""
    question: Any = None
    """What the attack is asked about, which it may see from the start; never the truth."""
    kept: Any = None
    """What `score` needs of it."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What the model made of the texts that a goal watches."""

    curve: tuple[tuple[int, tuple[int, ...]], ...]
    """(round, predicted class of each text) of the global model at every evaluation."""
    final: tuple[int | None, ...]
    """Of the released model, through the defenses that guard it; None where they refused to answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What happened, as only goals and metrics see it."""

    secrets: Mapping[int, Mapping[int, Any]]
    """The truth by round and client, of the updates that the attack is after: `tokens`, `lengths`, `labels`, `rows`,
    `planted`, `originals`, each with an entry per text."""
    held: tuple[tuple[int, ...], ...]
    """Content tokens of every training text that a client holds."""
    unheld: tuple[tuple[int, ...], ...]
    """Content tokens of texts of the same kind that nobody trained on."""
    candidates: tuple[Candidate, ...]
    members: tuple[bool, ...]
    """Whether each candidate is held by a client."""
    rounds: Sequence[Any]
    """Summaries of all rounds."""
    malicious: frozenset[int]
    acted: Callable[[int], bool]
    """Whether malicious clients acted in a round."""
    labels: tuple[int, ...]
    """Of the test rows."""
    predicted: tuple[int | None, ...]
    """The released model's class of each test row; None where it was refused. Empty for causal language models."""
    curve: tuple[tuple[int, tuple[int, ...]], ...]
    """(round, predicted class of each test row) of the global model; only where a goal watches texts."""
    watched: Mapping[str, Watched]
    question: Any
    kept: Any
    """What the goal put into `Staged`."""
    tokenizer: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What came of an attack."""

    metrics: Mapping[str, MetricValue]
    texts: Sequence[Mapping[str, Any]] | None = None
    """Original and recovered texts; written down only if the scenario keeps texts."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """JSON for the cell's file, which `compare` reads; no text of a client's."""


class Goal(Protocol):
    """What the engine calls; every method is called on one instance per cell."""

    def stage(self, stage: Stage) -> Staged:
        """What is planted, watched and asked about; called before training, for acting and reading attacks alike."""
        ...

    def ask(self, attack: Any, evidence: Evidence) -> Any:
        """The attack's answer, checked: `fedsec.errors.WrongAnswerError` says what is wrong with it."""
        ...

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> Any:
        """What somebody answers that has the same knowledge and no evidence; it is a blocked attack's answer.

        Args:
            evidence: the attack's, of which only what was granted is looked at.
            truth: says how many answers there are.
            generator: a purpose in, a numpy generator out; `torch:PURPOSE` gives a torch generator.
        """
        ...

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """The metrics, with the prior's value beside each as `baseline`; `answer` is None if nothing was asked."""
        ...
