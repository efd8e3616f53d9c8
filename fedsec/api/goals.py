"""Goals: what an adversary wants, what an attack is asked for it, and how far it got.

A goal is a card, which reports and the command line read, and a class, which the engine calls for every cell in this
order: `stage` before training, `ask` after it (or `prior` where a defense blocks the attack), and `score`. Nothing else
in fedsec knows a goal by name. A new goal stands beside an attack that pursues it and a card for each of its metrics;
tests/plugin_example/ has such a goal.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from fedsec.api.evidence import Canary, Candidate, Evidence
from fedsec.api.metrics import MetricValue
from fedsec.api.views import Sample, TriggerView

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A cell and its controls of one seed, as they are in the cell files."""

    cell: Mapping[str, Any]
    control: Mapping[str, Any] | None
    """The cell of the same defense, seed and settings without an attack."""
    plain: Mapping[str, Any] | None
    """The cell of the same seed and settings without an attack and without a defense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a goal is given before training."""

    train: Sequence[Sample]
    """The training samples."""
    rows: "Sequence[np.ndarray]"
    """Indices into `train` of the samples that each client holds."""
    test: Sequence[Sample]
    classes: tuple[str, ...]
    """Names of the labels."""
    candidates: tuple[Candidate, ...]
    """The candidates, in an order that is independent of membership; empty without `data.candidates`."""
    canaries: tuple[Canary, ...] = ()
    """Canaries that a goal may plant; empty without `data.canaries`."""
    attack: Any
    """A fresh instance of the attack, to be asked before training; None if the goal asks nothing then."""
    view: TriggerView | None
    """The view that this instance is given."""
    tokenise: Callable[[Sequence[Sample]], list[list[int]]]
    """Gives token ids as the model gets them, special tokens included, truncated to `data.max_tokens`."""
    whole: Callable[[Sequence[Sample]], list[list[int]]]
    """Gives the same token ids without truncation."""
    label: str
    """The label of the attack, for messages."""
    generator: "np.random.Generator"
    task: str = "sequence-classification"
    """What the model learns: `sequence-classification` or `causal-lm`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What a goal prepares for the training."""

    planted: Mapping[int, tuple[Sample, ...]] = field(default_factory=dict)
    """Samples that are added to a client's data, by client."""
    canaries: tuple[Canary, ...] = ()
    """Those of `Stage.canaries` that clients train on."""
    withheld: tuple[Canary, ...] = ()
    """The others; a client that is a canary sends zeros then."""
    watched: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    """Texts that the global model classifies at every evaluation, and the released model at the end, by a name of the
    goal's own."""
    question: Any = None
    """What the attack is asked about. It may see this from the start, so it must not hold the truth."""
    kept: Any = None
    """What `score` needs later."""


@dataclass(frozen=True, slots=True)
class Watched:
    """The model's answers on the texts that a goal watches."""

    curve: tuple[tuple[int, tuple[int, ...]], ...]
    """(round, predicted class of each text, see `final`) of the global model at every evaluation."""
    final: tuple[int | None, ...]
    """Predicted class of each text by the released model, behind its inference-time defenses; None where they
    refused. Of a causal language model, in place of a class, 1 if it writes the whole text greedily after its prompt,
    else 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The ground truth, which goals and metrics alone see."""

    secrets: Mapping[int, Mapping[int, Any]]
    """The training texts behind the attacked updates, by round and client: `tokens`, `lengths`, `labels`, `rows`,
    `planted`, `originals`, each with an entry per text."""
    held: tuple[tuple[int, ...], ...]
    """Content tokens of every training text that a client holds."""
    unheld: tuple[tuple[int, ...], ...]
    """Content tokens of texts of the same kind that no client trained on."""
    candidates: tuple[Candidate, ...]
    members: tuple[bool, ...]
    """Whether each candidate is held by a client."""
    candidate_rows: tuple[int, ...] = ()
    """The number of each candidate's training row, as in the `rows` of the secrets."""
    by_coin: bool = False
    """Whether each candidate is a member by an independent coin of its own, as `data.candidates.inclusion: coin`."""
    promised: Mapping[str, Any] | None = None
    """The guarantee of differential privacy of the cell's ledger, as in the scorecard; None where there is none, or
    none against the attack's position."""
    holders: tuple[int | None, ...] = ()
    """The client that holds each candidate; None for one that is withheld."""
    clients: tuple[int, ...] = ()
    """`Evidence.clients`: what the columns of an answer about each client stand for."""
    rounds: Sequence[Any]
    """Summaries of all rounds."""
    malicious: frozenset[int]
    acted: Callable[[int], bool]
    """Gives whether the adversary acted in a round; round 0 is that of a malicious supplier."""
    labels: tuple[int, ...]
    """Labels of the test samples."""
    predicted: tuple[int | None, ...]
    """Predicted class of each test sample by the released model; None where an answer was refused. Empty for causal
    language models."""
    curve: tuple[tuple[int, tuple[int, ...]], ...]
    """(round, predicted class of each test sample) of the global model; only where a goal watches texts."""
    watched: Mapping[str, Watched]
    guarded: bool = False
    """Whether an inference-time defense stands before the released model."""
    question: Any
    kept: Any
    """`Staged.kept`."""
    tokenizer: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The result of an attack."""

    metrics: Mapping[str, MetricValue]
    texts: Sequence[Mapping[str, Any]] | None = None
    """Original and recovered texts; stored only if the scenario keeps texts."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """JSON for the cell's file, which `compare` reads; it must not hold clients' texts."""


class Goal(Protocol):
    """The class of a goal; there is one instance per cell.

    Random numbers come from `generator("a purpose")`, a numpy generator; `generator("torch:a purpose")` is a torch one.
    """

    def stage(self, stage: Stage) -> Staged:
        """Return what is planted, watched and asked about; called before training, for every attack of the goal."""
        ...

    def ask(self, attack: Any, evidence: Evidence) -> Any:
        """Return the attack's answer.

        Raises:
            WrongAnswerError: of fedsec.errors (ValueError does as well): the answer has a wrong shape, a NaN or a
                missing text. The cell's error then names the plug-in.
        """
        ...

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> Any:
        """Return the answer of an adversary with the same knowledge and no evidence; a blocked attack has this answer.

        Args:
            evidence: the attack's, of which only granted knowledge is used.
            truth: gives the number of answers.
            generator: gives a random generator for a purpose.
        """
        ...

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """Return the metrics, each with the prior's value as `baseline`; `answer` is None if nothing was asked."""
        ...
