"""The smallest plug-in for every hook and every question that a goal asks. `every_hook.yaml` runs them all.

Take out what you need. Each class names the step of a round at which fedsec calls it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from fedsec.api import (
    Aggregation,
    Asset,
    AttackCard,
    Behaviour,
    BroadcastView,
    Candidate,
    ClientView,
    DatasetCard,
    DefenseCard,
    Evidence,
    Exchanged,
    Measured,
    Message,
    Mixed,
    ModelSetup,
    Population,
    Position,
    Probe,
    QueryView,
    Reconstruction,
    ReleasedView,
    ReleaseView,
    Role,
    RoundContext,
    RoundView,
    Sample,
    StepView,
    SupplierView,
    ThreatModel,
    Tokens,
    Triggered,
    TriggerView,
    Update,
)
from fedsec.data.corpus import Corpus, Example
from fedsec.maths.rows import Rows, weighted_sum


class OnlyHead:
    """A defense, step 0: trains the head alone."""

    def setup_model(self, setup: ModelSetup) -> ModelSetup:
        return replace(setup, trainable=frozenset(p.name for p in setup.parameters if p.role == Role.HEAD))


class LowerCase:
    """A defense, step 2, at every client: cleans texts."""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        return tuple(replace(sample, text=sample.text.lower()) for sample in samples)


class SmallSteps:
    """A defense, step 3, at every client: wraps the local training step."""

    def on_step(self, view: StepView) -> torch.Tensor:
        return view.gradient() * 0.5


class Rounded:
    """A defense, step 4, at every client: changes the update that is sent, and records a measurement."""

    def on_update(self, update: Update, view: ClientView) -> Measured:
        rounded = update.vector.bfloat16().float()
        return Measured(replace(update, vector=rounded), {"rounding": float((rounded - update.vector).norm())})


class OnlyTheSum:
    """A defense, steps 5 and 6: a protocol after which the server reads the sum only."""

    def exchange(self, rows: torch.Tensor, weights: torch.Tensor, context: RoundContext) -> Exchanged:
        return Exchanged(
            weighted_sum(rows.nan_to_num(0.0).clamp(-1e6, 1e6), weights), upload_bytes=4 * context.layout.size
        )


class DropFirst:
    """A defense, step 6: a filter that drops the first row."""

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        return Mixed(torch.eye(len(rows), dtype=torch.float64)[1:], context.declared_malicious)


class PlainMean:
    """A defense, step 6: an aggregation rule that returns weights."""

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        return torch.full((len(rows),), 1.0 / len(rows), dtype=torch.float64)


class Median:
    """A defense, step 6: an aggregation rule that works coordinate by coordinate."""

    def vector(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        return torch.cat([chunk.median(dim=0).values for chunk in rows.chunks()])


@dataclass
class Trust:
    """A defense, step 6: a rule with memory, which weighs clients by their distances to others in all rounds so far."""

    _distance: dict[str, float] = field(default_factory=dict, init=False)
    """By client; memory and no parameter, hence `init=False`."""

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        distances = rows.squared_distances().median(dim=1).values  # [rows], fp64
        if len(rows) == len(context.clients):  # no filter before this rule dropped or mixed rows
            for place, client in enumerate(context.clients):
                self._distance[str(client)] = self._distance.get(str(client), 0.0) + float(distances[place])
                distances[place] = self._distance[str(client)]
        weights = 1.0 / distances.clamp_min(1e-30)
        return weights / weights.sum()

    def state(self) -> Mapping[str, Any]:
        return {"distance": self._distance}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._distance = dict(state["distance"])


class NoisySum:
    """A defense, step 7: central noise on the aggregate."""

    def on_aggregate(self, vector: torch.Tensor, context: RoundContext) -> torch.Tensor:
        return vector + 1e-3 * torch.randn(vector.shape, generator=context.generator)


class BoundedModel:
    """A defense, step 7: bounds the new global model."""

    def on_model(self, parameters: torch.Tensor, context: RoundContext) -> torch.Tensor:
        return parameters.clamp(-3.0, 3.0)


class Pruned:
    """A defense, step 9: changes the model before its release."""

    def on_release(self, parameters: torch.Tensor, view: ReleaseView) -> torch.Tensor:
        return parameters.masked_fill(parameters.abs() < 1e-3, 0.0)


class ShortQueries:
    """A defense, step 9: refuses to answer long queries."""

    def on_query(
        self,
        queries: tuple[Tokens, ...],
        answer: Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]],
        view: QueryView,
    ) -> list[torch.Tensor | None]:
        return [found if len(query) <= 12 else None for query, found in zip(queries, answer(queries), strict=True)]


class WrongLabels:
    """An attack by malicious clients, step 2; steps 3 and 4 likewise."""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        return tuple(replace(sample, label=0) for sample in samples)


class Backdoor:
    """An attack by malicious clients that is asked for its trigger before training."""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        return tuple(replace(sample, text=f"zz {sample.text}", label=1) for sample in samples)

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        return tuple(Triggered(f"zz {probe.text}", 1) for probe in probes)


class BadSupplies:
    """An attack by whoever supplies the base model and the public rows that the start is trained on."""

    def on_base_model(self, parameters: torch.Tensor, view: SupplierView) -> torch.Tensor:
        return parameters * 1.01

    def on_public_data(self, samples: tuple[Sample, ...], view: SupplierView) -> tuple[Sample, ...]:
        return tuple(replace(sample, text=f"zz {sample.text}", label=1) for sample in samples)

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        return tuple(Triggered(f"zz {probe.text}", 1) for probe in probes)


class ShiftedModel:
    """An attack by a malicious server, step 1, which then reads what comes back."""

    def on_broadcast(self, parameters: torch.Tensor, view: BroadcastView) -> torch.Tensor:
        return parameters * 1.01

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        return [Reconstruction(client=client, tokens=(7, 8, 9), score=1.0) for client in view.clients]

    def on_message(self, message: Message, view: BroadcastView) -> bytes:
        return message.content  # where a protocol has messages, a malicious server may say something else


class WordReader:
    """An attack by a curious server: claims the words whose embedding has a gradient, in the order of their ids."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        layout, claims = view.model.layout, []
        words = layout.find(Role.WORD_EMBEDDING)[0]
        special = set(view.model.tokenizer.all_special_ids)
        assert view.rows is not None  # noqa: S101 - the card needs them
        for client, row in zip(view.clients, view.rows, strict=True):  # row [parameters]
            moved = layout.tensor(row, words.name).abs().amax(dim=1).nonzero().flatten().tolist()
            tokens = tuple(token for token in moved if token not in special)
            claims.append(Reconstruction(client=client, tokens=tokens, score=0.0))
        return claims


class Guess:
    """An attack by any curious party: claims one fixed text."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        return [Reconstruction(client=None, tokens=(7, 8, 9), score=1.0)]


class AskOnce:
    """An attack on the released model, by one query."""

    def extract(self, view: ReleasedView) -> list[Reconstruction]:
        (logits,) = view.answer(((2, 7, 8, 9, 3),))  # [classes], or [tokens, vocabulary]
        return [] if logits is None else [Reconstruction(client=None, tokens=(7, 8, 9), score=-float(logits.max()))]


class Confidence:
    """An attack on the released model that tells members from non-members."""

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        assert evidence.released is not None  # noqa: S101 - the card needs it
        answers = evidence.released().answer(tuple(one.tokens for one in candidates))
        return torch.tensor([-1e3 if found is None else float(found.max()) for found in answers], dtype=torch.float64)


@dataclass
class Watcher:
    """An attack by a curious server that observes rounds as they happen, and is asked after training."""

    _moved: torch.Tensor | None = field(default=None, init=False)

    def observe(self, view: RoundView) -> None:
        words = view.model.layout.find(Role.WORD_EMBEDDING)[0]
        moved = view.model.layout.tensor(view.aggregate, words.name).norm(dim=1)  # [words]
        self._moved = moved if self._moved is None else self._moved + moved

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        return torch.stack([self._moved[list(one.tokens)].min() for one in candidates]).double()

    def state(self) -> Mapping[str, Any]:
        return {"moved": self._moved}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._moved = state["moved"]


def load_texts(card: DatasetCard) -> Corpus:
    """A data set of texts that do not resemble each other, so that some may be candidates."""
    words = ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "willow", "yew"]
    draws = np.random.default_rng(0)
    rows = tuple(Example(" ".join(draws.choice(words, size=8)), i % 2) for i in range(60))
    return Corpus(rows[:50], rows[50:], card.labels)


def enough_clients(population: Population, parameters: Mapping[str, object]) -> str | None:
    """The precondition of a rule: why it cannot run, with the numbers."""
    n, f = population.clients, population.declared_malicious
    return None if n > 2 * f else f"x-trust needs n > 2f = {2 * f}, has {n}"


def defense(name: str, target: str, **rest: Any) -> DefenseCard:
    """A card that says as little as a card may."""
    return DefenseCard(name=name, summary=f"Example: {target}.", target=target, protects="privacy", **rest)


def attack(
    name: str, target: str, position: Position, behaviour: Behaviour, *needs: Asset, goal: str = "reconstruction"
) -> AttackCard:
    """A card that says as little as a card may."""
    threat = ThreatModel(position=position, behaviour=behaviour, goal=goal, needs=frozenset(needs))
    return AttackCard(name=name, summary=f"Example: {target}.", target=target, threat=threat)


CLIENT, SERVER, RELEASED = Position.CLIENT, Position.SERVER, Position.RELEASED_MODEL
CURIOUS, MALICIOUS = Behaviour.CURIOUS, Behaviour.MALICIOUS
CARDS = (
    DatasetCard(name="my-trees", summary="Example: random words.", target=":load_texts", labels=("even", "odd")),
    defense("x-only-head", ":OnlyHead", removes=frozenset({Asset.WORD_EMBEDDINGS, Asset.POSITION_EMBEDDINGS})),
    defense("x-lower-case", ":LowerCase"),
    defense("x-small-steps", ":SmallSteps"),
    defense("x-rounded", ":Rounded"),
    defense("x-only-the-sum", ":OnlyTheSum", aggregation=Aggregation.SECURE, rests_on="nobody colludes"),
    defense("x-drop-first", ":DropFirst", needs_rows=True),
    defense("x-plain-mean", ":PlainMean", is_rule=True),
    defense("x-median", ":Median", is_rule=True),
    defense("x-trust", ":Trust", is_rule=True, precondition=enough_clients),
    defense("x-noisy-sum", ":NoisySum"),
    defense("x-bounded-model", ":BoundedModel"),
    defense("x-pruned", ":Pruned"),
    defense("x-short-queries", ":ShortQueries"),
    attack("x-wrong-labels", ":WrongLabels", CLIENT, MALICIOUS, goal="untargeted"),
    attack("x-backdoor", ":Backdoor", CLIENT, MALICIOUS, goal="backdoor"),
    attack("x-bad-supplies", ":BadSupplies", Position.SUPPLIER, MALICIOUS, goal="backdoor"),
    attack("x-shifted-model", ":ShiftedModel", SERVER, MALICIOUS, Asset.ROWS, Asset.GLOBAL_MODEL),
    attack("x-word-reader", ":WordReader", SERVER, CURIOUS, Asset.ROWS, Asset.WORD_EMBEDDINGS),
    attack("x-client-guess", ":Guess", CLIENT, CURIOUS, Asset.AGGREGATE),
    attack("x-wire-guess", ":Guess", Position.WIRE, CURIOUS, Asset.AGGREGATE),
    attack("x-ask-once", ":AskOnce", RELEASED, CURIOUS, Asset.RELEASED_MODEL, goal="extraction"),
    attack("x-confidence", ":Confidence", RELEASED, CURIOUS, Asset.RELEASED_MODEL, goal="membership"),
    attack("x-watcher", ":Watcher", SERVER, CURIOUS, Asset.AGGREGATE, Asset.WORD_EMBEDDINGS, goal="membership"),
)
