"""A federation before it runs: its parties and its protocol."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedsec.api import Canary, Knowledge, Language, Sample, Tokens, TrainingSettings
from fedsec.data.corpus import Example
from fedsec.data.tokens import Tokenised
from fedsec.federation.availability import AvailabilitySettings
from fedsec.federation.clients import Adversary
from fedsec.federation.plugins import Plugin, Stack
from fedsec.federation.process_pool import ProcessPool
from fedsec.federation.progress import Progress
from fedsec.federation.release import Known
from fedsec.federation.rounds import RoundStore, Watcher
from fedsec.federation.transcript import Vault
from fedsec.federation.writing import Asked
from fedsec.models.flat import FlatModel
from fedsec.seeds import SeedTree


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationSettings:
    """The protocol as the round loop needs it."""

    training: TrainingSettings
    rounds: int
    cohort: int
    """Clients in a round."""
    server_learning_rate: float
    """Factor of the server's step; under `update: gradient` it comes on top of the local learning rate."""
    server_optimizer: str = "average"
    weighting: str
    evaluate_every: int
    declared_malicious: int
    """f in a round of `cohort` clients."""
    observe: frozenset[int]
    """Rounds that attacks look at after training; the vault keeps the truth of these and of those that `watchers`
    see."""
    randomness: str = "seeded"
    """Where keys and masks come from: `seeded` or `secure`."""
    availability: AvailabilitySettings = field(default_factory=AvailabilitySettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaliciousServer:
    """A server that alters the model that it sends."""

    attack: Plugin
    knowledge: Mapping[Knowledge, Any] = field(default_factory=dict)
    question: Any = None
    """What the attack's goal asks about."""


@dataclass(slots=True)
class Federation:
    """A federation ready to run.

    Args:
        model: the resident model; its trainables at the start are the global model's.
        train, test: tokenised splits.
        examples: the training split's texts.
        tokenise: turns texts into what the splits are made of.
        tokenizer: gives padding and special tokens.
        rows: row numbers of the training split that each client holds.
        trusted: row numbers that the server holds.
        pinned: clients that are in every cohort.
        classes: names of the labels; empty without labels.
        stack: the defense stack.
        adversary: malicious clients and what they run, or None.
        server: what a malicious server runs, or None.
        watched: texts of a goal, whose predicted classes are noted at every evaluation.
        asked: what the model is asked to write before training and after it, or None.
        canaries: those that clients train on beside their texts, or that clients are.
        silent: clients that send zeros, as canaries that are withheld.
        watchers: attacks that look at rounds as they happen.
        vault: holds the ground truth of the rounds that attacks look at.
        store: where the rounds of `settings.observe` are kept.
        settings: the protocol.
        seeds: the seed tree.
        language: what defenses are granted of the language, or None.
        seen: gives samples as the model sees them, after truncation.
        processes: trains clients side by side; the result does not depend on their number.
        on_round: called after every round.
        on_notice: called before the first round.
    """

    model: FlatModel
    train: Tokenised
    test: Tokenised
    examples: Sequence[Example]
    tokenise: Callable[[Sequence[Example]], Tokenised]
    tokenizer: Any
    rows: Sequence[np.ndarray]
    stack: Stack
    adversary: Adversary | None
    settings: FederationSettings
    seeds: SeedTree
    server: MaliciousServer | None = None
    trusted: np.ndarray = field(default_factory=lambda: np.arange(0))
    pinned: frozenset[int] = frozenset()
    classes: tuple[str, ...] = ()
    watched: Mapping[str, Tokenised] = field(default_factory=dict)
    asked: Asked | None = None
    canaries: Sequence[Canary] = ()
    silent: frozenset[int] = frozenset()
    watchers: Sequence[Watcher] = ()
    vault: Vault = field(default_factory=Vault)
    store: RoundStore = field(default_factory=RoundStore)
    language: Language | None = None
    seen: Callable[[Sequence[Sample]], tuple[Sample, ...]] = tuple
    processes: ProcessPool = field(default_factory=ProcessPool)
    on_round: Callable[[Progress], None] = lambda _: None
    on_notice: Callable[[str], None] = lambda _: None
    """Called with what the user should know before training begins."""

    @property
    def trusted_samples(self) -> tuple[Sample, ...]:
        """Return the samples that the server holds."""
        held = (self.examples[row] for row in self.trusted)
        return tuple(Sample(one.text, one.label, one.prompt) for one in held)

    @property
    def known(self) -> Known:
        """Return what inference-time defenses know."""
        return Known(
            tokenizer=self.tokenizer,
            classes=self.classes,
            trusted=self.trusted_samples,
            encode=self._queries if self.test.learned_from is None else None,
            language=self.language,
        )

    def _queries(self, texts: Sequence[str]) -> tuple[Tokens, ...]:
        return tuple(map(tuple, self.tokenise([Example(text, 0) for text in texts]).ids))
