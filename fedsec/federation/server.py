"""The server's side of a round: it samples clients, sends them the model, and says its part in a protocol.

What it does with their updates is in `delivery` (what arrives), `aggregation` (steps 6 and 7) and `server_optimizer`.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch

from fedsec.api import BroadcastView, Granted, Message, implements
from fedsec.federation.draws import cohort_of
from fedsec.federation.measurements import Measurements
from fedsec.federation.parties import Federation
from fedsec.federation.plugins import checked, load_state_of, state_of


class ServerSide:
    """The server of a federation, honest or malicious.

    Args:
        federation: whose server it is.
        measurements: of the round.
    """

    def __init__(self, federation: Federation, measurements: Measurements) -> None:
        self._f, self._measurements = federation, measurements
        self._server: Any = checked(federation.server.attack) if federation.server else None
        self.granted = Granted(federation.server.knowledge if federation.server else {})
        """What a malicious server was granted, which records what it looked up."""

    def sample(self, number: int) -> list[int]:
        """Return the clients of a round."""
        settings, pinned = self._f.settings, self._f.pinned
        return cohort_of(
            number,
            self._f.seeds,
            clients=len(self._f.rows),
            size=settings.cohort,
            pinned=pinned,
            sampling=settings.training.sampling,
        )

    def broadcast(
        self, number: int, working: Sequence[int], cohort: tuple[int, ...], current: torch.Tensor
    ) -> dict[int, torch.Tensor]:
        """Return the trainables that each client receives [parameters]; one tensor for all of an honest server's.

        Args:
            number: the round.
            working: the clients that train in it.
            cohort: all of its clients.
            current: the global trainables [parameters].
        """
        if self._server is None or not implements(self._server, "on_broadcast"):
            return dict.fromkeys(working, current)
        return {client: self._altered(number, client, cohort, current) for client in working}

    def _altered(self, number: int, client: int, cohort: tuple[int, ...], current: torch.Tensor) -> torch.Tensor:
        f = self._f
        assert f.server is not None  # noqa: S101 - the caller looked
        view = self._view(number, client, cohort)
        sent = self._measurements.of(f.server.attack.label, self._server.on_broadcast(current.clone(), view))
        fits = isinstance(sent, torch.Tensor) and sent.dtype == torch.float32 and sent.shape == current.shape
        if not fits or not bool(sent.isfinite().all()):
            raise ValueError(f"{f.server.attack.label} must broadcast finite fp32 parameters of the model's length")
        return sent.detach().clone()  # type: ignore[no-any-return]

    def _view(self, number: int, client: int, cohort: tuple[int, ...], purpose: str = "") -> BroadcastView:
        f = self._f
        assert f.server is not None  # noqa: S101 - the caller looked
        return BroadcastView(
            client=client,
            cohort=cohort,
            round=number,
            layout=f.model.layout,
            training=f.settings.training,
            classes=f.classes,
            tokenizer=f.tokenizer,
            question=f.server.question,
            granted=self.granted,
            generator=f.seeds.torch(f"attack {f.server.attack.label}{purpose}", round_number=number, client=client),
        )

    def says(self, number: int, message: Message, cohort: tuple[int, ...]) -> bytes:
        """Return what the server says in a protocol, which a malicious one may have altered (step 5).

        Args:
            number: the round.
            message: what it should say.
            cohort: the round's clients.
        """
        if self._server is None or not implements(self._server, "on_message") or message.receiver < 0:
            return message.content
        assert self._f.server is not None  # noqa: S101 - it has a plug-in
        view = self._view(number, message.receiver, cohort, f" {message.stage}")
        said = self._measurements.of(self._f.server.attack.label, self._server.on_message(message, view))
        return bytes(said)

    def state(self) -> dict[str, Any]:
        """Return the state of a malicious server's attack."""
        return {} if self._server is None else deepcopy(state_of([self._server]))

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a malicious server's attack."""
        load_state_of([self._server] if self._server is not None else [], state)
