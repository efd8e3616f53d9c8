"""Steps 4 and 5 of a round: updates leave the clients, are protected or forged, and arrive at the server's door."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fedsec.api import ClientView, ColluderView, Granted, Knowledge, Layout, TrainingSettings, Update, UpdateHook
from fedsec.federation.plugins import Plugin, Stack, checked
from fedsec.seeds import SeedTree
from fedsec.wire.receive import Message, Received, receive


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversary:
    """Malicious clients and what they run; they are ordinary clients with another list of hooks."""

    clients: frozenset[int]
    attack: Plugin
    obeys_client_defenses: bool = False
    """Whether what they forge still passes through client-side defenses."""
    grants_benign_updates: bool = False
    knowledge: dict[Knowledge, Any] = field(default_factory=dict)
    """Other side knowledge that does not change from round to round."""


@dataclass(frozen=True, slots=True)
class _Client:
    hooks: list[tuple[str, UpdateHook]]
    """With a label that keys each hook's randomness."""
    hostile: bool


class Sender:
    """Takes honest updates to the server, through every client's own hooks.

    Args:
        enrolled: examples that each client enrolled with.
        stack: the defense stack.
        adversary: malicious clients, or None.
        layout: of the flat vector.
        training: the protocol.
        seeds: the seed tree.
    """

    def __init__(
        self,
        enrolled: Sequence[int],
        stack: Stack,
        adversary: Adversary | None,
        layout: Layout,
        training: TrainingSettings,
        seeds: SeedTree,
    ) -> None:
        self._enrolled, self._adversary = enrolled, adversary
        self._layout, self._training, self._seeds = layout, training, seeds
        self._clients = [self._equip(client, stack) for client in range(len(enrolled))]
        self._blackboard: dict[str, Any] = {}
        self.granted = Granted(adversary.knowledge if adversary else {})
        """What colluders were granted, and which of it they looked up."""

    def send(self, number: int, cohort: Sequence[int], current: torch.Tensor, buffer: torch.Tensor) -> Received:
        """Everybody's update as the server receives it.

        Honest clients go first: what colluders may know of them is what they really send.

        Args:
            number: the round.
            cohort: its clients.
            current: the broadcast trainables [parameters].
            buffer: honest updates [cohort, parameters]; holds what was received afterwards.
        """
        sent: dict[int, Update] = {}
        rows = {client: row for row, client in enumerate(cohort)}
        colluders = tuple(client for client in cohort if self._clients[client].hostile)
        for client in cohort:
            if client not in colluders:
                honest = self._honest(client, buffer[rows[client]])
                sent[client] = self._through_hooks(
                    client, honest, lambda c, label: self._view(number, c, current, label)
                )
        own = buffer[[rows[client] for client in colluders]]  # a copy: [colluders, parameters]
        benign = self._benign(sent)
        for place, client in enumerate(colluders):
            self._grant(benign)

            def view(c: int, label: str) -> ClientView:
                return self._colluder_view(number, c, current, label, colluders, own.clone())

            sent[client] = self._through_hooks(client, self._honest(client, own[place].clone()), view)
        messages = [Message(client, _vector(sent[client]), _claim(sent[client])) for client in cohort]
        return receive(messages, self._layout.size, [self._enrolled[client] for client in cohort], buffer)

    def _equip(self, client: int, stack: Stack) -> _Client:
        adversary = self._adversary
        if adversary is None or client not in adversary.clients:
            return _Client(stack.for_client(), hostile=False)
        forging = (f"attack {adversary.attack.label}", checked(adversary.attack))
        return _Client([forging, *(stack.for_client() if adversary.obeys_client_defenses else [])], hostile=True)

    def _honest(self, client: int, vector: torch.Tensor) -> Update:
        # A copy where plug-ins handle it: its storage holds the other clients' rows as well.
        return Update(vector.clone() if self._clients[client].hooks else vector, self._enrolled[client])

    def _through_hooks(self, client: int, update: Update, view: Any) -> Update:
        for label, hook in self._clients[client].hooks:
            update = hook.on_update(update, view(client, label))
        return update

    def _benign(self, sent: dict[int, Update]) -> torch.Tensor | None:
        """What honest clients send [honest, parameters]; those that the server will refuse are left out."""
        if self._adversary is None or not self._adversary.grants_benign_updates or not sent:
            return None
        return torch.stack([update.vector for update in sent.values()])

    def _grant(self, benign: torch.Tensor | None) -> None:
        if benign is not None:
            self.granted.provide(Knowledge.BENIGN_UPDATES, benign.clone())

    def _view(self, number: int, client: int, current: torch.Tensor, label: str) -> ClientView:
        return ClientView(**self._common(number, client, current, label))

    def _colluder_view(
        self, number: int, client: int, current: torch.Tensor, label: str, colluders: tuple[int, ...], own: torch.Tensor
    ) -> ColluderView:
        return ColluderView(
            **self._common(number, client, current, label),
            colluders=colluders,
            own_rows=own,
            blackboard=self._blackboard,
            granted=self.granted,
        )

    def _common(self, number: int, client: int, current: torch.Tensor, label: str) -> dict[str, Any]:
        return {
            "client": client,
            "round": number,
            "global_parameters": current.clone(),
            "layout": self._layout,
            "training": self._training,
            "generator": self._seeds.torch(label, round_number=number, client=client),
        }


def _vector(update: object) -> Any:
    """What a client sends as its update; a hook may have returned anything, which the server's door will refuse."""
    return update.vector if isinstance(update, Update) else update


def _claim(update: object) -> Any:
    return update.examples if isinstance(update, Update) else None
