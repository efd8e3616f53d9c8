"""All clients with their hooks: honest ones with the stack's client-side defenses, malicious ones with the attack's."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch

from fedsec.api import (
    ClientView,
    ColluderView,
    Granted,
    Knowledge,
    Language,
    Layout,
    PrivacyTerms,
    Rehearsal,
    Sample,
    TrainingSettings,
    implements,
)
from fedsec.api.hooks import CALIBRATE
from fedsec.federation.aggregation import Aggregator
from fedsec.federation.own_training import OwnTraining
from fedsec.federation.plugins import Plugin, Stack, checked, load_state_of, state_of
from fedsec.maths.rows import Rows
from fedsec.privacy.ledger import Ledger
from fedsec.seeds import SeedTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversary:
    """The malicious clients and their attack; they are ordinary clients with another list of hooks."""

    clients: frozenset[int]
    attack: Plugin
    obeys_client_defenses: bool = False
    """Whether their crafted updates still pass through client-side defenses."""
    grants_benign_updates: bool = False
    knowledge: dict[Knowledge, Any] = field(default_factory=dict)
    """Side knowledge that does not change from round to round."""
    first: int = 1
    """The first round in which they attack; before it they are honest."""
    last: int | None = None
    """The last round in which they attack; None for no end."""
    question: Any = None
    """What the attack's goal asks about."""

    def attacks(self, number: int) -> bool:
        """Return whether they attack in a round."""
        return self.first <= number and (self.last is None or number <= self.last)


@dataclass(frozen=True, slots=True)
class _Client:
    honest: list[tuple[str, Any]]
    """The client's hooks while it follows the protocol, each with the label that keys its randomness."""
    hostile: list[tuple[str, Any]] | None = None
    """The client's hooks while it attacks; None for an honest client."""

    @property
    def protections(self) -> list[Any]:
        """Return the client's honest plug-ins."""
        return [hook for _, hook in self.honest]

    @property
    def attacks(self) -> list[Any]:
        """Return the client's attack plug-ins; empty for an honest client."""
        honest = {id(hook) for hook in self.protections}
        return [hook for _, hook in self.hostile or () if id(hook) not in honest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every client may know or use of the federation."""

    layout: Layout
    training: TrainingSettings
    classes: tuple[str, ...]
    tokenizer: Any
    enrolled: Sequence[int]
    """Number of examples of each client."""
    own_training: OwnTraining
    seen: Callable[[Sequence[Sample]], tuple[Sample, ...]]
    """Gives samples as the model sees them, after truncation."""
    language: Language | None
    """What defenses are granted of the language."""
    aggregator: Aggregator
    """What colluders use to rehearse the server's rule, where they are granted the defense's settings."""


class Clients:
    """All clients' hooks, and the views that these are given.

    Args:
        stack: the defense stack.
        adversary: malicious clients, or None.
        surroundings: what they know.
        seeds: the seed tree.
    """

    def __init__(self, stack: Stack, adversary: Adversary | None, surroundings: Surroundings, seeds: SeedTree) -> None:
        self._adversary, self._around, self._seeds = adversary, surroundings, seeds
        self._clients = [self._equip(client, stack) for client in range(len(surroundings.enrolled))]
        self._blackboard: dict[str, Any] = {}
        self._number = 0
        self.granted = Granted(adversary.knowledge if adversary else {})
        """Return what colluders were granted, which records what they looked up."""

    @property
    def shares_benign_updates(self) -> bool:
        """Return whether colluders are given honest clients' updates."""
        return self._adversary is not None and self._adversary.grants_benign_updates

    @property
    def layout(self) -> Layout:
        """Return the layout of the flat vector."""
        return self._around.layout

    def hooks(self, client: int, method: str) -> list[tuple[str, Any]]:
        """Return the client's plug-ins that take part in a step, with their labels."""
        one = self._clients[client]
        hooks = one.hostile if one.hostile is not None and self._attacking else one.honest
        return [(label, hook) for label, hook in hooks if implements(hook, method)]

    def calibrate(self, ledger: Ledger, terms: Callable[[int], PrivacyTerms]) -> None:
        """Let every client's mechanisms choose their noise, and open their accounts in the ledger.

        Args:
            ledger: the federation's.
            terms: of a client.
        """
        for number, client in enumerate(self._clients):
            for label, hook in client.honest:
                if implements(hook, CALIBRATE):
                    ledger.open(number, label, terms(number), hook.calibrate(terms(number)))

    @property
    def cleaners(self) -> tuple[str, ...]:
        """Return labels of the stack's hooks that change what a client trains on."""
        honest = self._clients[0].honest if self._clients else []
        return tuple(label for label, hook in honest if implements(hook, "on_data"))

    def begin(self, number: int) -> None:
        """Begin a round; malicious clients do not attack in every one."""
        self._number = number

    @property
    def _attacking(self) -> bool:
        return self._adversary is not None and self._adversary.attacks(self._number)

    def colluders(self, cohort: Sequence[int]) -> tuple[int, ...]:
        """Return the clients of a cohort that attack in this round, in its order."""
        hostile = (client for client in cohort if self._clients[client].hostile is not None)
        return tuple(hostile) if self._attacking else ()

    def view(
        self,
        number: int,
        client: int,
        label: str,
        received: torch.Tensor,
        cohort: Sequence[int],
        own_rows: torch.Tensor | None = None,
    ) -> ClientView:
        """Return what one hook of a client sees in a round.

        Args:
            number: the round.
            client: whose hook it is.
            label: the hook's.
            received: the trainables that this client received [parameters].
            cohort: the round's clients.
            own_rows: the colluders' honest updates [colluders, parameters], once they are trained.
        """
        common: dict[str, Any] = {
            "client": client,
            "round": number,
            "global_parameters": received.clone(),
            "layout": self._around.layout,
            "training": self._around.training,
            "classes": self._around.classes,
            "tokenizer": self._around.tokenizer,
            "examples": self._around.enrolled[client],
            "train": self._around.own_training.train,
            "represent": self._around.own_training.represent,
            "seen": self._around.seen,
            "language": self._around.language,
            "generator": self._seeds.torch(label, round_number=number, client=client),
        }
        if client not in self.colluders((client,)):
            return ClientView(**common)
        return ColluderView(
            **common,
            colluders=self.colluders(cohort),
            own_rows=torch.empty(0, len(received)) if own_rows is None else own_rows.clone(),
            blackboard=self._blackboard,
            granted=self.granted,
            question=None if self._adversary is None else self._adversary.question,
            gradient=self._around.own_training.gradient,
            rehearse=None if own_rows is None else self._rehearsal(number, client, label, received, own_rows),
        )

    def _rehearsal(
        self, number: int, client: int, label: str, received: torch.Tensor, own_rows: torch.Tensor
    ) -> Callable[[Rows], Rehearsal] | None:
        if Knowledge.DEFENSE_SETTINGS not in self.granted:
            return None
        aggregator, purpose = self._around.aggregator, f"{label} rehearsal"

        def rehearse(rows: Rows) -> Rehearsal:
            self.granted.used.add(Knowledge.DEFENSE_SETTINGS)
            # The same draws for every candidate, so that candidates differ by themselves alone.
            generator = self._seeds.torch(purpose, round_number=number, client=client)
            return aggregator.rehearse(rows, number, received.clone(), generator, self._expected(own_rows))

        return rehearse

    def _expected(self, own_rows: torch.Tensor) -> torch.Tensor:
        """Return what colluders expect an honest update to be [parameters]: the mean of those that they know."""
        told = dict(self.granted.items()).get(Knowledge.BENIGN_UPDATES)
        known = own_rows if told is None or not len(told) else told
        return known.double().mean(dim=0).float()

    def state(self) -> dict[str, Any]:
        """Return the state of every client's plug-ins, and the blackboard."""
        return {
            "honest": _filled({str(i): state_of(c.protections) for i, c in enumerate(self._clients)}),
            "hostile": _filled({str(i): state_of(c.attacks) for i, c in enumerate(self._clients)}),
            "blackboard": self._blackboard,
            "used": sorted(self.granted.used),
        }

    def load_state(self, state: Mapping[str, Any], *, honest_only: bool = False) -> None:
        """Restore the state of every client's plug-ins.

        Args:
            state: from `state`.
            honest_only: whether the state is of honest rounds only: attacks then start without memory.
        """
        for index, client in enumerate(self._clients):
            load_state_of(client.protections, state["honest"].get(str(index), {}))
            if not honest_only:
                load_state_of(client.attacks, state["hostile"].get(str(index), {}))
        self._blackboard.clear()
        self._blackboard.update(state["blackboard"])
        self.granted.used = {Knowledge(kind) for kind in state["used"]}

    def memory_of_attack(self) -> dict[str, Any]:
        """Return the state of the first malicious client's attack; empty if there is none."""
        hostile = next((client.attacks for client in self._clients if client.hostile is not None), [])
        return deepcopy(state_of(hostile))

    def _equip(self, client: int, stack: Stack) -> _Client:
        adversary = self._adversary
        if adversary is None or client not in adversary.clients:
            return _Client(stack.for_client())
        crafting = (f"attack {adversary.attack.label}", checked(adversary.attack))
        protections = stack.for_client()
        return _Client(protections, [crafting, *(protections if adversary.obeys_client_defenses else [])])


def _filled(states: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {client: state for client, state in states.items() if state}
