"""The clients' side of a round: what they received becomes what they send, and what they say in a protocol.

Honest and malicious clients run the same code: a malicious one has another list of hooks, and a blackboard.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any

import torch

from fedsec.api import GaussianMechanism, Message, Sample, Unit
from fedsec.data.tokens import Batch
from fedsec.federation.availability import Attendance
from fedsec.federation.canaries import with_canaries
from fedsec.federation.clients import Clients
from fedsec.federation.draws import sampling_rate
from fedsec.federation.holdings import Holdings, check_samples, expected_rows
from fedsec.federation.measurements import Measurements
from fedsec.federation.parties import Federation
from fedsec.federation.plugins import load_state_of
from fedsec.federation.steps import Hooked, StepHooks
from fedsec.models.local import LocalTrainer
from fedsec.privacy.ledger import Ledger


class ClientSide:
    """All clients of a federation at work.

    Args:
        federation: whose clients they are.
        clients: their hooks.
        holdings: what they hold.
        trainer: of the resident model.
        measurements: of the round.
        ledger: what their mechanisms spend is noted there.
    """

    def __init__(
        self,
        federation: Federation,
        clients: Clients,
        holdings: Holdings,
        trainer: LocalTrainer,
        measurements: Measurements,
        ledger: Ledger,
    ) -> None:
        self._f, self._clients, self._holdings = federation, clients, holdings
        self._trainer, self._measurements, self._ledger = trainer, measurements, ledger

    def train(
        self,
        number: int,
        attendance: Attendance,
        received: Mapping[int, torch.Tensor],
        buffer: torch.Tensor,
        seen: frozenset[int],
    ) -> list[float]:
        """Train the clients of a round (steps 2 and 3), and return the mean loss of each.

        Args:
            number: the round.
            attendance: who works in it.
            received: the trainables that each of them received [parameters].
            buffer: takes their updates in its first rows, in shared memory [clients, parameters].
            seen: rounds whose truth the vault keeps.
        """
        training, seeds, working = self._f.settings.training, self._f.seeds, attendance.working
        held, chosen = [], []
        for client in working:
            own = self._holdings.of(client, self._data_hooks(number, client, working, received[client]))
            rows = self._holdings.choose(number, client, own.rows, training)
            held.append(own)
            chosen.append(rows)
            arrives = number + attendance.late.get(client, 0)
            if arrives in seen:
                self._f.vault.secrets[arrives, client] = self._holdings.secret(own, rows)
        losses = self._f.processes.empty(len(working), dtype=torch.float64)

        def train(place: int) -> Mapping[str, Any] | None:
            client, own = working[place], held[place]
            batches = self._planted(number, client, self._holdings.batches(own, chosen[place]), len(own.rows))
            dropout = seeds.torch("dropout", round_number=number, client=client)
            hooks = self._step_hooks(number, client, working, received[client], len(own.rows))
            expected = expected_rows(len(own.rows), training)
            out = buffer[place]
            if self._stands_in(client, out):
                losses[place] = nan
                return None
            losses[place] = self._trainer.update(received[client], batches, out, dropout, hooks, expected)
            return None if hooks is None else hooks.report()

        hostile = self._clients.colluders(working)  # each reads what others of them wrote on the blackboard
        hooked = (place for place, client in enumerate(working) if self._clients.hooks(client, "on_step"))
        done = self._f.processes.run(
            len(working), train, "train", [place for place in hooked if working[place] in hostile]
        )
        for client, (report, elsewhere) in zip(working, done, strict=True):
            if report is not None:
                self._take_in(client, report, elsewhere=elsewhere)
        return [float(loss) for loss in losses]

    def _stands_in(self, client: int, out: torch.Tensor) -> bool:
        """Return whether a client is a canary, whose update is written to `out` [parameters] without any training."""
        own = [one for one in self._f.canaries if one.client == client and one.unit == Unit.CLIENT]
        if not own and client not in self._f.silent:
            return False
        descends = self._f.settings.training.update == "gradient"
        out.zero_()
        for one in own:
            out[one.place] = one.norm if descends else -one.norm
        return True

    def _planted(self, number: int, client: int, batches: list[Batch], rows: int) -> list[Batch]:
        """Return the batches with the client's canaries among them, as likely as each of its `rows` texts."""
        own = [one for one in self._f.canaries if one.client == client and one.unit == Unit.RECORD]
        if not own:
            return batches
        generator = self._f.seeds.numpy("canary batches", round_number=number, client=client)
        return with_canaries(batches, own, sampling_rate(rows, self._f.settings.training), generator)

    def _take_in(self, client: int, report: Mapping[str, Any], *, elsewhere: bool) -> None:
        """Take over what a client's step hooks measured and spent, and their state if they ran in another process."""
        self._measurements.add(report["measured"])
        for label, noise, unit in report["spent"]:
            self._ledger.spend(client, label, GaussianMechanism(noise_multiplier=noise, unit=Unit(unit)))
        if elsewhere:
            load_state_of([hook for _, hook in self._clients.hooks(client, "on_step")], report["memory"])

    def _data_hooks(
        self, number: int, client: int, cohort: Sequence[int], received: torch.Tensor
    ) -> Callable[[tuple[Sample, ...]], tuple[Sample, ...]] | None:
        hooks = self._clients.hooks(client, "on_data")
        if not hooks:
            return None

        def change(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
            for label, hook in hooks:
                view = self._clients.view(number, client, f"{label} data", received, cohort)
                samples = self._measurements.of(label, hook.on_data(samples, view))
                check_samples(samples, self._f.classes, f"{label}, a data hook of client {client},")
            return samples

        return change

    def _step_hooks(
        self, number: int, client: int, cohort: Sequence[int], received: torch.Tensor, rows: int
    ) -> StepHooks | None:
        hooks = self._clients.hooks(client, "on_step")
        if not hooks:
            return None
        views = (self._clients.view(number, client, f"{label} step", received, cohort) for label, _ in hooks)
        each = [Hooked(label, hook, view) for (label, hook), view in zip(hooks, views, strict=True)]
        return StepHooks(each, float(min(rows, self._f.settings.training.batch_size)))

    def says(self, number: int, message: Message, received: Mapping[int, torch.Tensor], cohort: Sequence[int]) -> bytes:
        """Return what a client says in a protocol, which a malicious one may have altered (step 5).

        Args:
            number: the round.
            message: what the client should say.
            received: the trainables that each client received [parameters].
            cohort: the round's clients.
        """
        for label, hook in self._clients.hooks(message.sender, "on_message"):
            view = self._clients.view(number, message.sender, label, received[message.sender], cohort)
            message = replace(message, content=bytes(self._measurements.of(label, hook.on_message(message, view))))
        return message.content
