"""Small federations that end in seconds, for contract tests.

Their texts are data sets of their own (`fedsec.testing.texts`), which are registered for the time of a test:

    with canned.registered():
        fedsec.run(canned.byzantine("sign-flip"), tmp_path)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fedsec import registry
from fedsec.api import Asks, AttackCard, Behaviour, GoalCard, Position, Rounds
from fedsec.api.hooks import OBSERVE
from fedsec.config.load import load_single
from fedsec.config.schema import Scenario
from fedsec.plan.cells import NONE
from fedsec.testing.texts import registered

__all__ = [
    "CANDIDATES", "Federated", "about_candidates", "audit", "backdoor", "byzantine", "extraction", "fitting",
    "membership", "reconstruction", "registered",
]  # fmt: skip
CANDIDATES = "data.candidates"
"""The setting that a goal requires which asks who is a member."""
CANARIES = "data.canaries"
"""The setting that a goal requires which plants canaries."""
SEALED = "ideal-sealed"
"""The double that gives a key holder something to hold."""
SHORT = ("federation.rounds=3", "federation.local_steps=2")
"""Where only conduct matters: enough rounds to forget something in between."""
_TWO_ROUNDS = ("federation.rounds=2",)
_PUBLIC = ("data.train=240", "model.start={rows: 120, steps: 30, batch_size: 16}")
"""Rows that a supplier publishes."""
Build = Callable[..., Scenario]
"""From the attack, the defense, what is granted, and, by that name, overrides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Federated:
    """A federation that shows what attacks of one kind can do."""

    build: Build
    needs: tuple[str, ...] = ()
    """Settings of it that this attack needs."""
    short: tuple[str, ...] = ()
    """Overrides where only conduct matters."""
    beside: str = NONE
    """A defense without which the attack does not apply."""

    def scenario(self, attack: Any, defense: Any, granted: tuple[str, ...], overrides: Sequence[str]) -> Scenario:
        """The federation with that attack and that defense."""
        return self.build(attack, defense, granted, overrides=(*self.needs, *overrides))

    def examined(self, attack: Any, granted: tuple[str, ...], overrides: Sequence[str]) -> Scenario:
        """A scenario to watch the attack in."""
        return self.build(attack, self.beside, granted, overrides=(*self.short, *self.needs, *overrides))


def about_candidates(goal: GoalCard) -> bool:
    """Whether a goal asks who of the pool is a member."""
    return CANDIDATES in goal.requires


def fitting(card: AttackCard) -> Federated:
    """The federation in which attacks of that goal and position show what they can.

    Args:
        card: a registered attack.
    """
    threat, goal = card.threat, registry.goals().get(card.threat.goal)
    beside = SEALED if threat.position == Position.KEY_HOLDER else NONE
    malicious = threat.behaviour == Behaviour.MALICIOUS
    if about_candidates(goal):
        return Federated(build=membership, needs=_for_members(card), short=SHORT, beside=beside)
    if CANARIES in goal.requires:
        whole = threat.position in (Position.CLIENT, Position.RELEASED_MODEL)  # whole clients, which others look for
        needs = ("federation.clients=64", "data.canaries={count: 60, of: clients}") if whole else ()
        return Federated(build=audit, needs=(*_for_members(card), *needs), short=_TWO_ROUNDS, beside=beside)
    if goal.asks == Asks.BEFORE:
        supplied = _PUBLIC if threat.position == Position.SUPPLIER else ()
        return Federated(build=backdoor, needs=(*_for_task(card), *supplied), short=SHORT)
    if goal.asks == Asks.NEVER:
        return Federated(build=byzantine, short=SHORT)
    if threat.position == Position.RELEASED_MODEL:
        return Federated(build=extraction, short=SHORT)
    wire = ("federation.tls=false",) if threat.position == Position.WIRE else ()
    again = _TWO_ROUNDS if malicious or _remembers(card) else ()
    malicious_clients = ("threat.malicious=1",) if (threat.position, malicious) == (Position.CLIENT, True) else ()
    every = ("threat.attack_rounds=all",) if card.rounds == Rounds.ALL else ()
    return Federated(
        build=reconstruction,
        needs=(*wire, *malicious_clients, *every),
        short=("federation.batch_size=2", *again),
        beside=beside,
    )


def _for_members(card: AttackCard) -> tuple[str, ...]:
    """What an attack on membership needs of its federation: its task, its rounds, malicious clients, an open wire."""
    needs = [*_for_task(card)]
    if (card.threat.position, card.threat.behaviour) == (Position.CLIENT, Behaviour.MALICIOUS):
        needs += ["threat.malicious=1"]
    if card.rounds == Rounds.ALL or _remembers(card):
        needs += ["threat.attack_rounds=all"]
    return (*needs, *(["federation.tls=false"] if card.threat.position == Position.WIRE else ()))


def _for_task(card: AttackCard) -> tuple[str, ...]:
    """A small decoder, where the attack is on nothing else."""
    if not card.tasks or "sequence-classification" in card.tasks:
        return ()
    model = f"model={{name: tiny-gpt2, task: {card.tasks[0]}, layers: 1, vocabulary: 600, dropout: false}}"
    return (model, "data.max_tokens=48")


def _remembers(card: AttackCard) -> bool:
    """Whether an attack looks at rounds as they happen."""
    return callable(getattr(registry.load_target(card), OBSERVE, None))


def reconstruction(
    attack: Any,
    defense: Any = "none",
    knowledge: tuple[str, ...] = (),
    batch_size: int = 1,
    overrides: Sequence[str] = (),
) -> Scenario:
    """Four clients send the gradient of one batch each, through a small random encoder.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
        batch_size: notes in an update.
        overrides: other settings, each `PATH=VALUE`.
    """
    content = {
        "schema": 1,
        "name": "canned/reconstruction",
        "summary": "Does the attack read texts?",
        "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "dropout": False},
        "data": {"name": "canned-notes", "max_tokens": 16},
        "federation": {
            "clients": 4,
            "rounds": 1,
            "batch_size": batch_size,
            "optimizer": "sgd",
            "learning_rate": 0.1,
            "update": "gradient",
        },
        "threat": {"knowledge": list(knowledge), "attack_rounds": 1, **_public(knowledge)},
        "matrix": {"attack": [attack], "defense": [defense]},
    }
    return load_single(content, overrides)


def byzantine(
    attack: Any, defense: Any = "none", knowledge: tuple[str, ...] = (), overrides: Sequence[str] = ()
) -> Scenario:
    """Seven clients, one of them malicious, teach a small encoder to tell three words apart.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
        overrides: other settings, each `PATH=VALUE`.
    """
    content = {
        "schema": 1,
        "name": "canned/byzantine",
        "summary": "Does the attack ruin the model?",
        "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "layers": 1, "dropout": False},
        "data": {"name": "canned-words", "max_tokens": 16},
        "federation": {
            "clients": 7,
            "rounds": 4,
            "local_steps": 3,
            "batch_size": 8,
            "optimizer": "adamw",
            "learning_rate": 5e-3,
            "evaluate_every": 4,
        },
        "threat": {"malicious": 1, "knowledge": list(knowledge)},
        "matrix": {"attack": [attack], "defense": [defense]},
    }
    return load_single(content, overrides)


def extraction(
    attack: Any, defense: Any = "none", knowledge: tuple[str, ...] = (), overrides: Sequence[str] = ()
) -> Scenario:
    """Two clients teach a small decoder a dozen complaints by heart, and release it.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
        overrides: other settings, each `PATH=VALUE`.
    """
    content = {
        "schema": 1,
        "name": "canned/extraction",
        "summary": "Does the attack get training texts out of the released model?",
        "model": {
            "name": "tiny-llama",
            "task": "causal-lm",
            "tuning": {"kind": "full"},
            "layers": 1,
            "vocabulary": 600,
            "dropout": False,
        },
        "data": {"name": "canned-words", "train": 12, "test": 12, "max_tokens": 24},
        "federation": {
            "clients": 2,
            "rounds": 6,
            "local_steps": 10,
            "batch_size": 6,
            "optimizer": "adamw",
            "learning_rate": 3e-3,
            "evaluate_every": 6,
        },
        "threat": {"knowledge": list(knowledge), **_public(knowledge)},
        "matrix": {"attack": [attack], "defense": [defense]},
    }
    return load_single(content, overrides)


def membership(
    attack: Any, defense: Any = "none", knowledge: tuple[str, ...] = (), overrides: Sequence[str] = ()
) -> Scenario:
    """Four clients learn records by heart that nothing can be learned from; half of the candidates are withheld.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
        overrides: other settings, each `PATH=VALUE`.
    """
    content = {
        "schema": 1,
        "name": "canned/membership",
        "summary": "Does the attack tell whose records were trained on?",
        "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "layers": 1, "dropout": False},
        "data": {
            "name": "canned-records",
            "train": 120,
            "test": 24,
            "max_tokens": 24,
            "candidates": {"count": 80, "inclusion": "half"},
        },
        "federation": {
            "clients": 4,
            "rounds": 6,
            "local_steps": 6,
            "batch_size": 8,
            "optimizer": "adamw",
            "learning_rate": 5e-3,
            "evaluate_every": 6,
        },
        "threat": {"knowledge": list(knowledge), **_public(knowledge)},
        "matrix": {"attack": [attack], "defense": [defense]},
    }
    return load_single(content, overrides)


def audit(
    attack: Any, defense: Any = "none", knowledge: tuple[str, ...] = (), overrides: Sequence[str] = ()
) -> Scenario:
    """Four clients send gradients of batches of chance, with 200 canaries of which a coin withholds each.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
        overrides: other settings, each `PATH=VALUE`.
    """
    content = {
        "schema": 1,
        "name": "canned/audit",
        "summary": "Does the attack tell which canaries were trained on?",
        "model": {"name": "tiny-bert", "tuning": {"kind": "head"}, "layers": 1, "dropout": False},
        "data": {
            "name": "canned-words",
            "train": 120,
            "test": 24,
            "max_tokens": 16,
            "canaries": {"count": 200, "norm": 1.0},
        },
        "federation": {
            "clients": 4,
            "rounds": 8,
            "batch_size": 15,
            "sampling": "poisson",
            "optimizer": "sgd",
            "learning_rate": 0.5,
            "update": "gradient",
            "evaluate_every": 8,
        },
        "threat": {"knowledge": list(knowledge), "attack_rounds": "all", **_public(knowledge)},
        "matrix": {"attack": [attack], "defense": [defense]},
    }
    return load_single(content, overrides)


def backdoor(
    attack: Any, defense: Any = "none", knowledge: tuple[str, ...] = (), overrides: Sequence[str] = ()
) -> Scenario:
    """Seven clients, three of them malicious, teach a small encoder to tell six words apart.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
        overrides: other settings, each `PATH=VALUE`.
    """
    return byzantine(attack, defense, knowledge, overrides=("threat.malicious=3", *overrides))


def _public(knowledge: tuple[str, ...]) -> dict[str, Any]:
    """The text that a scenario names where `auxiliary-text` is granted."""
    return {"auxiliary": {"name": "canned-public", "training_steps": 20}} if "auxiliary-text" in knowledge else {}
