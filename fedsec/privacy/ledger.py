"""The ledger of a job: what each client's mechanisms spent of privacy, over all rounds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, sqrt
from typing import Any

from fedsec.api import Calibrated, GaussianMechanism, PrivacyTerms, Unit
from fedsec.privacy.accounting import Spent
from fedsec.privacy.guarantee import Guarantee, guarantee_of

DROWNED = 1.0
"""Ratio from which on the noise in a round's mean drowns it: no clipped gradient could exceed it."""

_NO_NOISE = "no noise was added (a noise multiplier of 0)"


@dataclass(slots=True)
class _Account:
    """One mechanism of one client."""

    terms: PrivacyTerms
    calibrated: Calibrated
    steps: dict[float, int] = field(default_factory=dict)
    """Number of steps taken, by noise multiplier."""


class Ledger:
    """The accounts of every client; empty where no mechanism runs.

    Args:
        sampling: how batches are drawn, `poisson` or `fixed`.
        void: what of the scenario voids every guarantee; whole sentences without a full stop.
        assumes: what every guarantee rests on.
    """

    def __init__(self, sampling: str, *, void: Sequence[str] = (), assumes: Sequence[str] = ()) -> None:
        self._sampling, self._void, self._assumes = sampling, list(void), list(assumes)
        self._accounts: dict[tuple[int, str], _Account] = {}

    def open(self, client: int, label: str, terms: PrivacyTerms, calibrated: Calibrated) -> None:
        """Open the account of a client's mechanism, once its noise is chosen.

        Args:
            client: whose records it protects.
            label: the mechanism's, unique in the client's stack.
            terms: how often it is going to run.
            calibrated: what it settled on.

        Raises:
            ValueError: noise or delta are no numbers of their range.
        """
        _check(label, calibrated.mechanism)
        if not 0 < calibrated.delta < 1:
            raise ValueError(f"{label}: delta is above 0 and below 1, not {calibrated.delta!r}")
        self._accounts[client, label] = _Account(terms, calibrated)

    def spend(self, client: int, label: str, mechanism: GaussianMechanism) -> None:
        """Record one step of a client's mechanism.

        Raises:
            ValueError: the mechanism opened no account, or changed its unit.
        """
        _check(label, mechanism)
        account = self._accounts.get((client, label))
        if account is None:
            raise ValueError(f"{label} reports what it spent, and did not say before training what it would spend")
        if mechanism.unit != account.calibrated.mechanism.unit:
            said = account.calibrated.mechanism.unit
            raise ValueError(f"{label} hides a {mechanism.unit}; before training it said a {said}")
        noise = mechanism.noise_multiplier
        account.steps[noise] = account.steps.get(noise, 0) + 1

    def guarantee(self, covered: Collection[int]) -> Guarantee | None:
        """Return the guarantee of the job, or why there is none; None where no mechanism ran.

        Args:
            covered: clients whose mechanisms bind them: those that are not malicious.
        """
        own = {key: account for key, account in self._accounts.items() if key[0] in covered}
        if not own:
            return None
        units = {account.calibrated.mechanism.unit for account in own.values()}
        void = self.reasons(covered)
        if not void and any(noise == 0 for account in own.values() for noise in account.steps):
            void.append(_NO_NOISE)
        histories: dict[int, list[Spent]] = {}
        for (client, _), account in own.items():
            rate = account.terms.sampling_rate
            histories.setdefault(client, []).extend(
                Spent(noise, rate, steps) for noise, steps in sorted(account.steps.items())
            )
        return guarantee_of(
            histories,
            unit=min(units),
            delta=max(account.calibrated.delta for account in own.values()),
            sampling=self._sampling,
            assumes=self._assumes,
            void=void,
        )

    def reasons(self, covered: Collection[int]) -> list[str]:
        """Return why there can be no guarantee, as far as known before training; empty where no mechanism runs.

        Args:
            covered: clients whose mechanisms bind them.
        """
        own = [account for key, account in self._accounts.items() if key[0] in covered]
        if not own:
            return []
        void = list(self._void)
        if len({account.calibrated.mechanism.unit for account in own}) > 1:
            void.append("mechanisms that hide records and mechanisms that hide clients are not composed")
        if any(account.calibrated.mechanism.noise_multiplier == 0 for account in own):
            void.append(_NO_NOISE)
        if self._sampling != "poisson" and any(account.terms.sampling_rate < 1 for account in own):
            void.append(
                "batches are of fixed size, and the accountant assumes Poisson batches: set federation.sampling "
                "to poisson"
            )
        return void

    def noise_over_signal(self, parameters: int, cohort: int, steps: int) -> float | None:
        """Return the noise in a round's mean update over the largest signal after clipping; None without noise.

        A step adds noise of norm z C sqrt(d) / B and a signal of at most C; steps and clients add up noise by the root
        of their number, and a signal in full. A server's noise comes once, on the sum.

        Args:
            parameters: d, trained and sent.
            cohort: clients in a round.
            steps: local steps in a round.
        """
        ratios = [0.0]
        for account in self._accounts.values():
            mechanism = account.calibrated.mechanism
            ratio = mechanism.noise_multiplier * sqrt(parameters) / max(account.terms.expected_rows, 1e-9)
            once = mechanism.unit == Unit.CLIENT  # the server adds noise to the sum, once in a round
            ratios.append(ratio if once else ratio / sqrt(max(1, cohort) * max(1, steps)))
        return max(ratios) or None

    def state(self) -> dict[str, Any]:
        """Return the steps that were taken, for a checkpoint."""
        return {
            "spent": [
                [client, label, noise, steps]
                for (client, label), account in self._accounts.items()
                for noise, steps in account.steps.items()
            ]
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint; ValueError if its steps are of other mechanisms."""
        for account in self._accounts.values():
            account.steps.clear()
        for client, label, noise, steps in state["spent"]:
            known = self._accounts.get((client, label))
            if known is None or type(steps) is not int or steps < 1:
                raise ValueError("the checkpoint's ledger is of other mechanisms")
            known.steps[float(noise)] = steps


def _check(label: str, mechanism: GaussianMechanism) -> None:
    if not (isfinite(mechanism.noise_multiplier) and mechanism.noise_multiplier >= 0):
        raise ValueError(f"{label}: a noise multiplier is a number of at least 0, not {mechanism.noise_multiplier!r}")
