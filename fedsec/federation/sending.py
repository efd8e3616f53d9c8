"""Step 4 of a round: updates leave the clients, protected or crafted, as messages to the server."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from fedsec.api import Encoding, Knowledge, Layout, Update
from fedsec.federation.clients import Clients
from fedsec.federation.measurements import Measurements
from fedsec.wire.codec import HEADER_BYTES, decode, encode
from fedsec.wire.receive import Message, fault


class Sender:
    """Passes local updates through each client's hooks.

    Args:
        enrolled: examples that each client enrolled with.
        clients: the hooks of all clients.
        measurements: of the round.
    """

    def __init__(self, enrolled: Sequence[int], clients: Clients, measurements: Measurements) -> None:
        self._enrolled, self._clients, self._measurements = enrolled, clients, measurements

    def send(
        self, number: int, cohort: Sequence[int], received: Mapping[int, torch.Tensor], buffer: torch.Tensor
    ) -> list[Message]:
        """Return all messages, in the cohort's order.

        Honest clients go first: what colluders may know of them is what they really send.

        Args:
            number: the round.
            cohort: its clients.
            received: the trainables that each of them received [parameters].
            buffer: honest updates [cohort, parameters].
        """
        clients = self._clients
        rows = {client: row for row, client in enumerate(cohort)}
        colluders = clients.colluders(cohort)
        sent: dict[int, Any] = {}
        for client in cohort:
            if client not in colluders:
                sent[client] = self._leave(number, client, received, cohort, buffer[rows[client]], None)
        own = buffer[[rows[client] for client in colluders]] if colluders else None  # a copy: [colluders, parameters]
        benign = self._benign(sent, buffer.shape[1]) if colluders and clients.shares_benign_updates else None
        for place, client in enumerate(colluders):
            if benign is not None:
                clients.granted.provide(Knowledge.BENIGN_UPDATES, benign.clone())
            assert own is not None  # noqa: S101 - there are colluders
            sent[client] = self._leave(number, client, received, cohort, own[place], own)
        return [self._message(client, sent[client]) for client in cohort]

    def _leave(
        self,
        number: int,
        client: int,
        received: Mapping[int, torch.Tensor],
        cohort: Sequence[int],
        vector: torch.Tensor,
        own: torch.Tensor | None,
    ) -> Any:
        hooks = self._clients.hooks(client, "on_update")
        # A copy where plug-ins handle it: its storage holds the other clients' rows as well.
        update = Update(vector.clone() if hooks else vector, self._enrolled[client])
        for label, hook in hooks:
            view = self._clients.view(number, client, label, received[client], cohort, own)
            update = self._measurements.of(label, hook.on_update(update, view))
        if hooks and isinstance(update, Update) and fault(update.vector, len(vector)) is None:
            kept = vector if own is None else torch.empty_like(vector)  # the other colluders see what is in `own`
            return replace(update, vector=kept.copy_(update.vector.detach()))  # a hook may write to its tensor later
        return update

    def _message(self, client: int, update: Any) -> Message:
        """Encode what a client sends; the server gets what it decodes from that."""
        if not isinstance(update, Update):
            return Message(client, update, None)  # a hook may have returned anything, which the server then refuses
        layout, encoding = self._clients.layout, update.encoding
        plain = not isinstance(encoding, Encoding) or encoding == Encoding()
        if plain or fault(update.vector, layout.size) is not None:
            return Message(client, update.vector, update.examples)
        content, decoded = _written(update.vector, encoding, layout)
        if decoded is None:
            return Message(client, update.vector, update.examples)
        update.vector.copy_(decoded)
        return Message(client, update.vector, update.examples, HEADER_BYTES + len(content))

    def _benign(self, sent: Mapping[int, Any], parameters: int) -> torch.Tensor:
        """Return what honest clients send [honest, parameters], without updates that the server will refuse."""
        vectors = [_vector(update) for update in sent.values()]
        usable = [vector for vector in vectors if fault(vector, parameters) is None]
        return torch.stack(usable) if usable else torch.empty(0, parameters)


def _written(vector: torch.Tensor, encoding: Encoding, layout: Layout) -> tuple[bytes, torch.Tensor | None]:
    """Return an update's bytes and what the server makes of them; None where they are plain fp32.

    A malicious client's encoding may hold anything in place of bits and steps, by which nothing can be written.
    """
    try:
        content = encode(vector, encoding, layout)
        return (b"", None) if content is None else (content, decode(content, encoding, layout))
    except (TypeError, ValueError, OverflowError):
        return b"", None


def _vector(update: object) -> Any:
    """Return a client's message; a hook may have returned anything, which the server then refuses."""
    return update.vector if isinstance(update, Update) else update
