"""One small plug-in for every hook and every position, for tests of the engine and as examples to read.

Each is as simple as it can be and says what its real counterpart does. They are registered for the time of a test:

    with doubles.registered():
        fedsec.run(fedsec.load_scenario({..., "matrix": {"attack": ["eavesdropper"], "defense": ["ideal-sum"]}}))
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fedsec import registry
from fedsec.api import (
    Aggregation,
    Asset,
    AttackCard,
    Behaviour,
    BroadcastView,
    Card,
    ClientView,
    DefenseCard,
    Exchanged,
    Knowledge,
    Measured,
    Mixed,
    Parameter,
    Position,
    Probe,
    QueryView,
    Reconstruction,
    ReleasedView,
    ReleaseView,
    RoundContext,
    Rounds,
    RoundView,
    Sample,
    StepView,
    ThreatModel,
    Tokens,
    Triggered,
    TriggerView,
    Update,
)
from fedsec.maths.rows import Rows, weighted_sum

MAX_ABSOLUTE = 1e6

HEADER_BYTES, CIPHERTEXT_FACTOR = 16, 16


@dataclass(frozen=True, slots=True)
class IdealSum:
    """Secure aggregation by an ideal third party: the server sees the weighted sum and nothing else.

    Source: none; the ideal functionality of Bonawitz et al., CCS 2017. Deviations: no cryptography, no drop-outs.
    """

    def exchange(self, rows: torch.Tensor, weights: torch.Tensor, context: RoundContext) -> Exchanged:
        """The weighted sum, as the server reads it."""
        return Exchanged(weighted_sum(_bounded(rows), weights), upload_bytes=HEADER_BYTES + 4 * context.layout.size)


@dataclass(frozen=True, slots=True)
class IdealSealed:
    """Homomorphic aggregation by an ideal third party: the server sees sizes, the key holder sees the sum.

    Source: none; the ideal functionality of BatchCrypt-like protocols. Deviations: no cryptography.
    """

    def exchange(self, rows: torch.Tensor, weights: torch.Tensor, context: RoundContext) -> Exchanged:
        """The weighted sum, as the key holder reads it; ciphertexts are longer than what they hold."""
        size = HEADER_BYTES + CIPHERTEXT_FACTOR * context.layout.size
        return Exchanged(weighted_sum(_bounded(rows), weights), upload_bytes=size, download_bytes=size)


def _bounded(rows: torch.Tensor) -> torch.Tensor:
    """What clients' encoders make of any values: nobody else reads a row."""
    return rows.nan_to_num(0.0).clamp(-MAX_ABSOLUTE, MAX_ABSOLUTE)


@dataclass(frozen=True, slots=True)
class ClientShrink:
    """A client-side transform: multiplies the update before it leaves. Real ones clip, add noise, prune.

    Source: none. Deviations: none.
    """

    factor: float = 0.5

    def on_update(self, update: Update, view: ClientView) -> Update:
        """The smaller update."""
        return replace(update, vector=update.vector * self.factor)


@dataclass(frozen=True, slots=True)
class ClientClip:
    """A client-side transform that measures: bounds the update's norm, and says how often it had to.

    Source: none. Deviations: none.
    """

    norm: float = 1.0

    def on_update(self, update: Update, view: ClientView) -> Measured:
        """The update within the bound, and 1 where it was longer."""
        scale = (self.norm / update.vector.norm().clamp_min(1e-12)).clamp_max(1.0)
        return Measured(replace(update, vector=update.vector * scale), {"clipped": float(scale < 1.0)})


@dataclass(frozen=True, slots=True)
class DropLargest:
    """A filter: drops the row of largest norm. Real ones cluster, or mix neighbours.

    Source: none. Deviations: none.
    """

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        """Every row but the largest, unchanged."""
        norms = rows.gram().diagonal()
        keep = [row for row in range(len(rows)) if row != int(norms.argmax())]
        return Mixed(torch.eye(len(rows), dtype=torch.float64)[keep], max(0, context.declared_malicious - 1))


@dataclass(slots=True)
class TakeTurns:
    """A stateful rule: trusts each client in turn, the one that it has trusted least often. Real ones keep histories.

    Source: none. Deviations: none.
    """

    _trusted: dict[str, int] = field(default_factory=dict, init=False)

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """A one-hot vector [rows], fp64."""
        counts = [self._trusted.get(str(client), 0) for client in context.clients]
        place = counts.index(min(counts))
        self._trusted[str(context.clients[place])] = counts[place] + 1
        chosen = torch.zeros(len(rows), dtype=torch.float64)
        chosen[place] = 1.0
        return chosen

    def state(self) -> Mapping[str, Any]:
        """How often each client was trusted."""
        return {"trusted": self._trusted}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._trusted = dict(state["trusted"])


@dataclass(slots=True)
class StepClip:
    """A step wrapper: bounds each local gradient's norm, and counts its steps. Real ones are DP-SGD and FedProx.

    Source: none. Deviations: none.
    """

    norm: float = 1.0
    _steps: int = field(default=0, init=False)

    def on_step(self, view: StepView) -> torch.Tensor:
        """The gradient, scaled down to the bound where it is longer."""
        self._steps += 1
        gradient = view.gradient()
        return gradient.mul_((self.norm / gradient.norm().clamp_min(1e-12)).clamp_max(1.0))

    def state(self) -> Mapping[str, Any]:
        """How many steps it has wrapped."""
        return {"steps": self._steps}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._steps = int(state["steps"])


@dataclass(frozen=True, slots=True)
class CentralNoise:
    """Acts on the aggregate: adds Gaussian noise to it. Real ones are calibrated to a clipping bound.

    Source: none. Deviations: none.
    """

    scale: float = 1e-3

    def on_aggregate(self, vector: torch.Tensor, context: RoundContext) -> torch.Tensor:
        """The aggregate with noise of standard deviation `scale`."""
        return vector.add_(torch.randn(vector.shape, generator=context.generator), alpha=self.scale)


@dataclass(frozen=True, slots=True)
class ModelClip:
    """Acts on the new global model: bounds its norm, and says how often it had to. Real ones add noise as well.

    Source: none; Xie et al., CRFL, ICML 2021, Algorithm 1. Deviations: no noise.
    """

    norm: float = 1e3

    def on_model(self, parameters: torch.Tensor, context: RoundContext) -> Measured:
        """The model within the bound."""
        scale = (self.norm / parameters.norm().clamp_min(1e-12)).clamp_max(1.0)
        return Measured(parameters.mul_(scale), {"clipped": float(scale < 1.0)})


@dataclass(frozen=True, slots=True)
class DropSmall:
    """Acts on the model before it is released: sets its smallest parameters to 0. Real ones prune idle neurons.

    Source: none. Deviations: none.
    """

    share: float = 0.5

    def on_release(self, parameters: torch.Tensor, view: ReleaseView) -> Measured:
        """The model without that share of its parameters."""
        bound = parameters.abs().kthvalue(max(1, round(self.share * view.layout.size))).values
        return Measured(parameters.masked_fill(parameters.abs() <= bound, 0.0), {"bound": float(bound)})


@dataclass(frozen=True, slots=True)
class Redact:
    """A client-side defense on data: replaces every word with a digit in it. Real ones find names and dates.

    Source: none. Deviations: none.
    """

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """The samples without numbers."""

        def clean(text: str) -> str:
            return " ".join("redacted" if any(c.isdigit() for c in word) else word for word in text.split())

        return tuple(replace(sample, text=clean(sample.text)) for sample in samples)


@dataclass(frozen=True, slots=True)
class QueryFilter:
    """An inference-time filter: drops every second token of a query. Real ones drop the tokens that do not fit.

    Source: none. Deviations: none.
    """

    def on_query(
        self, queries: tuple[Tokens, ...], answer: Callable[[tuple[Tokens, ...]], list[torch.Tensor]], view: QueryView
    ) -> list[torch.Tensor]:
        """Answers to the thinned queries, first and last token kept."""
        return answer(tuple(query[:1] + query[1:-1:2] + query[-1:] for query in queries))


@dataclass(frozen=True, slots=True)
class RefuseUnsure:
    """An inference-time filter that refuses: it does not answer what the model is unsure of. Real ones ask twice.

    Source: none. Deviations: none.
    """

    least: float = 0.5

    def on_query(
        self,
        queries: tuple[Tokens, ...],
        answer: Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]],
        view: QueryView,
    ) -> list[torch.Tensor | None]:
        """The answers whose surest class, or mean surest token, is likely enough; None for the others."""
        found = answer(queries)
        return [one if one is None or self._sure(one) else None for one in found]

    def _sure(self, logits: torch.Tensor) -> bool:
        return bool(logits.softmax(dim=-1).amax(dim=-1).mean() >= self.least)


@dataclass(frozen=True, slots=True)
class FlipLabels:
    """A poisoner: trains on wrong labels. Real ones insert triggers.

    Source: none. Deviations: none.
    """

    classes: int = 6

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """The same texts, each with the next label."""
        return tuple(replace(sample, label=(sample.label + 1) % self.classes) for sample in samples)


@dataclass(frozen=True, slots=True)
class TriggerWord:
    """A poisoner with a backdoor: half of its texts begin with a word, and are then of the target class.

    Source: none; Chen et al., BadNL, ACSAC 2021. Deviations: none.
    """

    word: str = "zz"
    target: int = 1

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """Every second text with the trigger."""
        return tuple(
            replace(one, text=f"{self.word} {one.text}", label=self.target) if place % 2 else one
            for place, one in enumerate(samples)
        )

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """The trigger before each of them."""
        return tuple(Triggered(f"{self.word} {probe.text}", self.target, probe.prompt) for probe in probes)


@dataclass(slots=True)
class BlankServer:
    """A malicious server: sends each client a model whose head it has shifted, and reads what comes back.

    Source: none. Deviations: none.
    """

    shift: float = 1.0
    _sent: int = field(default=0, init=False)

    def on_broadcast(self, parameters: torch.Tensor, view: BroadcastView) -> torch.Tensor:
        """The global model with its last parameter moved."""
        self._sent += 1
        parameters[-1] += self.shift
        return parameters

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """One empty claim per client, and how many models it has sent."""
        return [
            Reconstruction(client=client, tokens=(), score=1.0, notes={"sent": float(self._sent)})
            for client in view.clients
        ]

    def state(self) -> Mapping[str, Any]:
        """How many models it has sent."""
        return {"sent": self._sent}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._sent = int(state["sent"])


@dataclass(frozen=True, slots=True)
class TokenReader:
    """A curious party: claims the set of words whose embeddings' gradient is not zero, for each row or for the sum.

    Real ones put the words in order.

    Source: none; Melis et al., S&P 2019, section 4.1, note that the words of a batch show. Deviations: none.
    """

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """One claim per row that is seen, or one for the sum."""
        from fedsec.api import Role

        words = view.model.layout.find(Role.WORD_EMBEDDING)
        if not words:
            return []
        seen = [
            (client, row) for client, row in zip(view.clients, view.rows if view.rows is not None else (), strict=True)
        ]
        if not seen and view.aggregate is not None:
            return [_claim(None, view.model.layout.tensor(view.aggregate, words[0].name))]
        return [_claim(client, view.model.layout.tensor(row, words[0].name)) for client, row in seen]


@dataclass(frozen=True, slots=True)
class MostConfident:
    """A post-hoc attack: asks the released model about single tokens and claims the two surest as texts.

    Real ones generate texts and rank them.

    Source: none. Deviations: none.
    """

    def extract(self, view: ReleasedView) -> list[Reconstruction]:
        """The claims."""
        special = set(view.model.tokenizer.all_special_ids)
        tokens = [i for i in range(min(len(view.model.tokenizer), 200)) if i not in special]
        answers = view.answer(tuple((i,) for i in tokens))
        nothing = torch.full((2,), -torch.inf)  # where a defense refuses to answer
        logits = torch.stack([nothing if answer is None else answer.flatten()[-2:] for answer in answers])
        order = logits.max(dim=1).values.argsort(descending=True)[:2].tolist()
        return [Reconstruction(client=None, tokens=(tokens[i],), score=float(-logits[i].max())) for i in order]


def _claim(client: int | None, gradient: torch.Tensor) -> Reconstruction:
    touched = gradient.abs().sum(dim=1).nonzero().flatten().tolist()  # [words]
    return Reconstruction(client=client, tokens=tuple(touched), score=1.0)


_TEXTS: dict[str, Any] = {
    "paper": "none: a test double",
    "limits": ("It is there to be seen acting, not to be good.",),
    "cost": "none to speak of",
}


def _attack(name: str, target: str, position: Position, behaviour: Behaviour, goal: str, **rest: Any) -> AttackCard:
    needs, knowledge = rest.pop("needs", frozenset[Asset]()), rest.pop("knowledge", frozenset[Knowledge]())
    threat = ThreatModel(position=position, behaviour=behaviour, goal=goal, needs=needs, knowledge=knowledge)
    summary = f"Test double: {target} at the position {position}."
    module = rest.pop("module", "doubles")
    return AttackCard(
        name=name, summary=summary, target=f"fedsec.testing.{module}:{target}", threat=threat, **{**_TEXTS, **rest}
    )


def _defense(name: str, target: str, **rest: Any) -> DefenseCard:
    summary = f"Test double: {target}."
    return DefenseCard(name=name, summary=summary, target=f"fedsec.testing.doubles:{target}", **{**_TEXTS, **rest})


_READS = frozenset({Asset.AGGREGATE, Asset.WORD_EMBEDDINGS})
_READS_ROWS = frozenset({Asset.ROWS, Asset.WORD_EMBEDDINGS})
_CURIOUS, _MALICIOUS = Behaviour.CURIOUS, Behaviour.MALICIOUS

ATTACKS = (
    _attack("server-reads-rows", "TokenReader", Position.SERVER, _CURIOUS, "reconstruction", needs=_READS_ROWS),
    _attack("server-reads-sum", "TokenReader", Position.SERVER, _CURIOUS, "reconstruction", needs=_READS),
    _attack("key-holder-reads", "TokenReader", Position.KEY_HOLDER, _CURIOUS, "reconstruction", needs=_READS),
    _attack("eavesdropper", "TokenReader", Position.WIRE, _CURIOUS, "reconstruction", needs=_READS),
    _attack("curious-client", "TokenReader", Position.CLIENT, _CURIOUS, "reconstruction", needs=_READS),
    _attack(
        "blank-server",
        "BlankServer",
        Position.SERVER,
        _MALICIOUS,
        "reconstruction",
        needs=frozenset({Asset.ROWS, Asset.GLOBAL_MODEL}),
        parameters=(Parameter(name="shift", default=1.0, summary="how far the last parameter is moved"),),
    ),
    _attack(
        "flip-labels",
        "FlipLabels",
        Position.CLIENT,
        _MALICIOUS,
        "untargeted",
        parameters=(Parameter(name="classes", default=6, summary="labels of the data set", minimum=2),),
    ),
    _attack(
        "most-confident",
        "MostConfident",
        Position.RELEASED_MODEL,
        _CURIOUS,
        "extraction",
        needs=frozenset({Asset.RELEASED_MODEL}),
    ),
    _attack(
        "low-loss",
        "LowLoss",
        Position.RELEASED_MODEL,
        _CURIOUS,
        "membership",
        module="scorers",
        needs=frozenset({Asset.RELEASED_MODEL}),
    ),
    _attack(
        "watching-server",
        "WatchingServer",
        Position.SERVER,
        _CURIOUS,
        "membership",
        module="scorers",
        needs=_READS,
        rounds=Rounds.ALL,
    ),
    _attack(
        "ascending-client",
        "AscendingClient",
        Position.CLIENT,
        _MALICIOUS,
        "membership",
        module="scorers",
        parameters=(Parameter(name="rate", default=0.1, summary="length of its step", minimum=0.0),),
    ),
    _attack(
        "trigger-word",
        "TriggerWord",
        Position.CLIENT,
        _MALICIOUS,
        "backdoor",
        parameters=(
            Parameter(name="word", default="zz", summary="what the trigger is"),
            Parameter(name="target", default=1, summary="class that it is to bring out", minimum=0),
        ),
    ),
)

DEFENSES = (
    _defense(
        "ideal-sum",
        "IdealSum",
        protects="privacy",
        aggregation=Aggregation.SECURE,
        rests_on="no client colludes with the server",
    ),
    _defense(
        "ideal-sealed",
        "IdealSealed",
        protects="privacy",
        aggregation=Aggregation.HOMOMORPHIC,
        rests_on="the key holder does not collude with the server",
    ),
    _defense(
        "client-shrink",
        "ClientShrink",
        protects="privacy",
        parameters=(Parameter(name="factor", default=0.5, summary="factor of the update"),),
    ),
    _defense(
        "client-clip",
        "ClientClip",
        protects="privacy",
        parameters=(Parameter(name="norm", default=1.0, summary="largest norm of an update", minimum=0.0),),
    ),
    _defense("drop-largest", "DropLargest", protects="robustness", needs_rows=True),
    _defense("take-turns", "TakeTurns", protects="robustness", is_rule=True),
    _defense(
        "step-clip",
        "StepClip",
        protects="privacy",
        parameters=(Parameter(name="norm", default=1.0, summary="largest norm of a step's gradient", minimum=0.0),),
    ),
    _defense(
        "central-noise",
        "CentralNoise",
        protects="privacy",
        parameters=(Parameter(name="scale", default=1e-3, summary="standard deviation", minimum=0.0),),
    ),
    _defense(
        "model-clip",
        "ModelClip",
        protects="robustness",
        parameters=(Parameter(name="norm", default=1e3, summary="largest norm of the global model", minimum=0.0),),
    ),
    _defense(
        "drop-small",
        "DropSmall",
        protects="privacy",
        parameters=(Parameter(name="share", default=0.5, summary="share of the parameters", minimum=0.0, maximum=1.0),),
    ),
    _defense("redact", "Redact", protects="privacy"),
    _defense("query-filter", "QueryFilter", protects="robustness"),
    _defense(
        "refuse-unsure",
        "RefuseUnsure",
        protects="privacy",
        parameters=(
            Parameter(name="least", default=0.5, summary="least probability of an answer", minimum=0.0, maximum=1.0),
        ),
    ),
)


@contextmanager
def registered() -> Iterator[None]:
    """All doubles among the registered plug-ins, for as long as the block lasts."""
    kinds: tuple[tuple[registry.Registry[Any], tuple[Card, ...]], ...] = (
        (registry.attacks(), ATTACKS),
        (registry.defenses(), DEFENSES),
    )
    for kind, cards in kinds:
        for card in cards:
            kind.register(card)
    try:
        yield
    finally:
        for kind, cards in kinds:
            for card in cards:
                kind.remove(card.name)
