"""Plug-ins that break the contract, each in one way, and the cards to register them with."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from fedsec import registry
from fedsec.api import (
    Asset,
    AttackCard,
    Behaviour,
    Candidate,
    Card,
    ClientView,
    DatasetCard,
    DefenseCard,
    Evidence,
    Measured,
    Mixed,
    ModelCard,
    Parameter,
    Position,
    Probe,
    Reconstruction,
    ReleasedView,
    RoundContext,
    RoundView,
    Sample,
    StepView,
    ThreatModel,
    Triggered,
    TriggerView,
    Update,
)
from fedsec.data.corpus import Corpus, Example
from fedsec.maths.rows import Rows
from fedsec.models import tiny_bert
from fedsec.models.base import BaseModel
from fedsec.seeds import SeedTree

TEXTS: dict[str, Any] = {
    "summary": "Breaks the contract.",
    "paper": "none: a test",
    "limits": ("It is bad.",),
    "cost": "none",
}


@contextmanager
def registered(*cards: Card) -> Iterator[None]:
    """The cards among the registered ones."""
    kinds: dict[type[Card], registry.Registry[Any]] = {
        AttackCard: registry.attacks(),
        DefenseCard: registry.defenses(),
        ModelCard: registry.models(),
        DatasetCard: registry.datasets(),
    }
    for card in cards:
        kinds[type(card)].register(card)
    try:
        yield
    finally:
        for card in cards:
            kinds[type(card)].remove(card.name)


def attack(name: str, position: Position, behaviour: Behaviour, **rest: Any) -> AttackCard:
    """The card of an attack of this module, `bad-` and its class."""
    needs = {
        Position.SERVER: frozenset({Asset.ROWS}),
        Position.RELEASED_MODEL: frozenset({Asset.RELEASED_MODEL}),
    }.get(position, frozenset())
    usual = {Position.CLIENT: "untargeted", Position.RELEASED_MODEL: "extraction"}.get(position, "reconstruction")
    threat = ThreatModel(position=position, behaviour=behaviour, goal=rest.pop("goal", usual), needs=needs)
    content = {**TEXTS, "name": f"bad-{name.lower()}", "target": f"{__name__}:{name}", "threat": threat, **rest}
    return AttackCard(**content)


def reader(name: str, **rest: Any) -> AttackCard:
    """A curious server's."""
    return attack(name, Position.SERVER, Behaviour.CURIOUS, **rest)


def forger(name: str, **rest: Any) -> AttackCard:
    """A malicious client's."""
    return attack(name, Position.CLIENT, Behaviour.MALICIOUS, **rest)


def scorer(name: str, **rest: Any) -> AttackCard:
    """That of somebody who has the released model and tells members from others."""
    return attack(name, Position.RELEASED_MODEL, Behaviour.CURIOUS, goal="membership", **rest)


def watcher(name: str, **rest: Any) -> AttackCard:
    """That of a curious server that looks at rounds as they happen and tells members from others."""
    return attack(name, Position.SERVER, Behaviour.CURIOUS, goal="membership", **rest)


def poisoner(name: str, **rest: Any) -> AttackCard:
    """A malicious client's that plants a backdoor."""
    return forger(name, goal="backdoor", **rest)


def defense(name: str, **rest: Any) -> DefenseCard:
    """The card of a defense of this module."""
    content = {
        **TEXTS, "name": f"bad-{name.lower()}", "target": f"{__name__}:{name}", "protects": "robustness", **rest
    }  # fmt: skip
    return DefenseCard(**content)


def _frames_up(name: str) -> Any:
    """The nearest local variable of that name in the callers: how a plug-in would cheat."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_locals.get(name) is not None:
            return frame.f_locals[name]
        frame = frame.f_back  # type: ignore[assignment]
    return None


@dataclass(frozen=True)
class PeeksAtSecrets:
    """Source: none. Deviations: none."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        truth = _frames_up("secrets")
        return [
            Reconstruction(client=client, tokens=tokens, score=0.0)
            for client in view.clients
            for tokens in truth[view.round][client].tokens
        ]


@dataclass(frozen=True)
class PeeksLater(PeeksAtSecrets):
    """Source: none. Deviations: none."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        return PeeksAtSecrets.reconstruct(self, view) if view.round > 1 else []


@dataclass(frozen=True)
class PeeksAtTexts:
    """Source: none. Deviations: none."""

    def extract(self, view: ReleasedView) -> list[Reconstruction]:
        texts = _frames_up("trained").held
        return [Reconstruction(client=None, tokens=texts[0], score=0.0)]


Candidates = tuple[Candidate, ...]


@dataclass(frozen=True)
class PeeksAtMembers:
    """Source: none. Deviations: none."""

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        return torch.from_numpy(_frames_up("trained").materials.pool.members.astype(float))


@dataclass(frozen=True)
class ThrowsTheCoinAgain:
    """Sees nothing that it should not, and knows the seed. Source: none. Deviations: none."""

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        order = SeedTree(0).numpy("inclusion").permutation(len(candidates))
        members = np.isin(np.arange(len(candidates)), order[: len(candidates) // 2])
        return torch.from_numpy(members.astype(float))


@dataclass(frozen=True)
class ScoresByOrder:
    """Source: none. Deviations: none."""

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        return torch.arange(len(candidates), dtype=torch.float64)


@dataclass(frozen=True)
class ScoresNan:
    """Source: none. Deviations: none."""

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        return torch.full((len(candidates),), torch.nan, dtype=torch.float64)


@dataclass(frozen=True)
class ScoresInHalf:
    """Source: none. Deviations: none."""

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        return torch.zeros(len(candidates))


@dataclass(frozen=True)
class ScoresOneLess:
    """Source: none. Deviations: none."""

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        return torch.zeros(len(candidates) - 1, dtype=torch.float64)


@dataclass(frozen=True)
class ChangesReleased:
    """Source: none. Deviations: none."""

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        assert evidence.released is not None
        next(evidence.released().model.module.parameters()).data.zero_()
        return torch.zeros(len(candidates), dtype=torch.float64)


@dataclass
class ObservesWithoutState:
    """Source: none. Deviations: none."""

    def observe(self, view: RoundView) -> None:
        pass

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        return torch.zeros(len(candidates), dtype=torch.float64)


@dataclass
class ObservesAndForgets(ObservesWithoutState):
    """Source: none. Deviations: none."""

    _seen: int = field(default=0, init=False)

    def observe(self, view: RoundView) -> None:
        self._seen += 1

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        return torch.full((len(candidates),), float(self._seen), dtype=torch.float64)

    def state(self) -> Mapping[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        pass


@dataclass
class ObservesTheTruth(ObservesWithoutState):
    """Source: none. Deviations: none."""

    _truth: float = field(default=0.0, init=False)

    def observe(self, view: RoundView) -> None:
        own = _frames_up("secrets")
        own = own[view.round] if isinstance(next(iter(own.values())), dict) else own
        self._truth += float(next(iter(own.values())).tokens[0][0])

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        return torch.full((len(candidates),), self._truth, dtype=torch.float64)

    def state(self) -> Mapping[str, Any]:
        return {"truth": self._truth}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._truth = float(state["truth"])


@dataclass(frozen=True)
class PlantsNothing:
    """Source: none. Deviations: none."""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        return samples

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        return tuple(Triggered(f"zz {probe.text}", 1) for probe in probes)


@dataclass(frozen=True)
class TriggersOneLess(PlantsNothing):
    """Source: none. Deviations: none."""

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        return PlantsNothing.triggered(self, probes[1:], view)


@dataclass(frozen=True)
class TargetsNobody(PlantsNothing):
    """Source: none. Deviations: none."""

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        return tuple(Triggered(probe.text, 99) for probe in probes)


@dataclass(frozen=True)
class PoisonsOutOfRange:
    """Source: none. Deviations: none."""

    label: int = 99

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        return tuple(replace(one, label=self.label) for one in samples)


@dataclass(frozen=True)
class PoisonsBelow(PoisonsOutOfRange):
    """Source: none. Deviations: none."""

    label: int = -1


@dataclass(frozen=True)
class PoisonsNoText:
    """Source: none. Deviations: none."""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        return tuple(replace(one, text=None) for one in samples)  # type: ignore[arg-type]


@dataclass(frozen=True)
class SendsAndExtracts:
    """Source: none. Deviations: none."""

    def on_update(self, update: Update, view: ClientView) -> Update:
        return update

    def extract(self, view: ReleasedView) -> list[Reconstruction]:
        return []


@dataclass(frozen=True)
class MeasuresNan:
    """Source: none. Deviations: none."""

    def on_update(self, update: Update, view: ClientView) -> Measured:
        return Measured(update, {"clipped": float("nan")})


@dataclass(frozen=True)
class ScoresWithoutActing:
    """Source: none. Deviations: none."""

    def score(self, candidates: Candidates, evidence: Evidence) -> torch.Tensor:
        return torch.zeros(len(candidates), dtype=torch.float64)


@dataclass(frozen=True)
class ChangesRows:
    """Source: none. Deviations: none."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        assert view.rows is not None
        view.rows[0, 0] += 1.0
        return []


@dataclass(frozen=True)
class ChangesModel:
    """Source: none. Deviations: none."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        next(view.model.module.parameters()).data[0, 0] += 1.0
        return []


@dataclass(frozen=True)
class LeavesTrainingOn:
    """Source: none. Deviations: none."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        view.model.module.train()
        return []


@dataclass(frozen=True)
class DrawsGlobally:
    """Source: none. Deviations: none."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        return [Reconstruction(client=0, tokens=(int(torch.randint(5, 9, ())),), score=0.0)]


@dataclass(frozen=True)
class DrawsUnseeded:
    """Source: none. Deviations: none."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        return [Reconstruction(client=0, tokens=(int(np.random.default_rng().integers(10**9)),), score=0.0)]


@dataclass(frozen=True)
class SaysNothing:
    """Source: none. Deviations: none."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        return []


@dataclass(frozen=True)
class SendsHonestly:
    """Source: none. Deviations: none."""

    def on_update(self, update: Update, view: ClientView) -> Update:
        return update


@dataclass(frozen=True)
class ChangesUpdate:
    """Source: none. Deviations: none."""

    def on_update(self, update: Update, view: ClientView) -> Update:
        update.vector.neg_()
        return update


@dataclass(frozen=True)
class ChangesView:
    """Source: none. Deviations: none."""

    def on_update(self, update: Update, view: ClientView) -> Update:
        view.global_parameters.zero_()
        return update


@dataclass
class Forgets:
    """Sends every second update negated, and does not say which comes next. Source: none. Deviations: none."""

    _count: int = field(default=0, init=False)

    def on_update(self, update: Update, view: ClientView) -> Update:
        self._count += 1
        return replace(update, vector=update.vector * (-10.0 if self._count % 2 else 1.0))


@dataclass
class RemembersObjects(Forgets):
    """Source: none. Deviations: none."""

    def state(self) -> Mapping[str, Any]:
        return {"count": self}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._count = state["count"]._count


@dataclass
class CannotLoad(Forgets):
    """Source: none. Deviations: none."""

    def state(self) -> Mapping[str, Any]:
        return {"count": self._count}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._count = state["number"]


@dataclass
class ForgetsAsServer:
    """A malicious server that turns its model up round by round. Source: none. Deviations: none."""

    _count: int = field(default=0, init=False)

    def on_broadcast(self, parameters: torch.Tensor, view: Any) -> torch.Tensor:
        self._count += 1
        return parameters.mul_(1.0 + self._count)

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        return [Reconstruction(client=0, tokens=(5,), score=0.0, notes={"count": float(self._count)})]


@dataclass(frozen=True)
class Parametrised:
    """Source: none. Deviations: none."""

    scale: float = 10.0

    def on_update(self, update: Update, view: ClientView) -> Update:
        return replace(update, vector=update.vector * -self.scale)


@dataclass(frozen=True)
class Undocumented:
    """It says nothing of where it comes from."""

    def on_update(self, update: Update, view: ClientView) -> Update:
        return update


@dataclass(frozen=True)
class ChangesMatrix:
    """Source: none. Deviations: none."""

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        rows._sources[0][0] *= 2.0
        return Mixed(torch.eye(len(rows), dtype=torch.float64), context.declared_malicious)


@dataclass(frozen=True)
class ChangesStep:
    """Source: none. Deviations: none."""

    def on_step(self, view: StepView) -> torch.Tensor:
        view.parameters[0] += 1.0
        return view.gradient()


@dataclass(frozen=True)
class KeepsAll:
    """Source: none. Deviations: none."""

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        return Mixed(torch.eye(len(rows), dtype=torch.float64), context.declared_malicious)


@dataclass(frozen=True)
class FirstRow:
    """Source: none. Deviations: none."""

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        return torch.eye(len(rows), dtype=torch.float64)[0]


@dataclass
class ForgetsAsRule:
    """Trusts each client in turn, and does not say whose turn it is. Source: none. Deviations: none."""

    _turn: int = field(default=0, init=False)

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        self._turn += 1
        return torch.eye(len(rows), dtype=torch.float64)[self._turn % len(rows)]


@dataclass(frozen=True)
class NoHook:
    """Source: none. Deviations: none."""


def fixed_model(*, labels: int, generator: torch.Generator) -> BaseModel:
    """A model that does not look at its generator."""
    return tiny_bert.load(labels=labels, generator=SeedTree(7).torch("fixed"), width=16, layers=1)


def global_model(*, labels: int, generator: torch.Generator) -> BaseModel:
    """A model that draws from the global generator."""
    torch.rand(1)
    return tiny_bert.load(labels=labels, generator=generator, width=16, layers=1)


def unlike_itself(card: DatasetCard) -> Corpus:
    """Other texts each time."""
    number = int(np.random.default_rng().integers(10**9))
    return Corpus((Example(f"text {number}"), Example("b")), (Example("c"),), card.labels)


def odd_labels(card: DatasetCard) -> Corpus:
    """A label without a name."""
    return Corpus((Example("a"), Example("b", 5)), (Example("c"),), card.labels)


Check = Callable[..., None]
SCALE = Parameter(name="scale", default=10.0, summary="factor", minimum=0.0)
LABEL = Parameter(name="label", default=99, summary="what texts are said to be")
