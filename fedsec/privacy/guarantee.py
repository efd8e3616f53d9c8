"""The privacy guarantee of a defense stack, or the reasons why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from fedsec.api import Position, Unit
from fedsec.privacy.accounting import LARGEST, Spent, epsilon_of

KIND = "differential-privacy"
AGAINST = {
    Unit.RECORD: (Position.SERVER, Position.KEY_HOLDER, Position.WIRE, Position.CLIENT, Position.RELEASED_MODEL),
    Unit.CLIENT: (Position.CLIENT, Position.RELEASED_MODEL),
}
"""Positions against which a guarantee holds: noise that a client adds binds all others, noise of the server not the
server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantee:
    """(epsilon, delta)-differential privacy of a job, or the reasons why there is none."""

    unit: Unit
    epsilon: float | None
    """Epsilon by the PRV accountant; None where something voids the guarantee."""
    rdp: float | None
    """Epsilon by the RDP accountant, for comparison."""
    delta: float
    sampling: str
    """`poisson` or `fixed`."""
    assumes: Sequence[str]
    """What the guarantee assumes, and what it does not cover."""
    void: Sequence[str] = ()
    """Why there is no guarantee; empty where there is one."""
    against: Sequence[Position] = ()
    accountant: str = "prv"

    def as_json(self) -> dict[str, Any]:
        """Return the guarantee for the scorecard."""
        return {
            "kind": KIND,
            "epsilon": self.epsilon,
            "epsilon_rdp": self.rdp,
            "delta": self.delta,
            "unit": self.unit.value,
            "sampling": self.sampling,
            "accountant": self.accountant,
            "against": [position.value for position in self.against],
            "assumes": "; ".join(self.assumes),
            "void": list(self.void),
        }


def guarantee_of(
    histories: Mapping[int, Sequence[Spent]],
    *,
    unit: Unit,
    delta: float,
    sampling: str,
    assumes: Sequence[str],
    void: Sequence[str],
) -> Guarantee:
    """Return the guarantee of clients with disjoint records: that of the client that spent the most.

    Args:
        histories: what each covered client spent.
        unit: of the mechanisms.
        delta: at which epsilon is stated.
        sampling: how batches are drawn.
        assumes: what it rests on.
        void: what voids it.
    """
    reasons = list(void)
    most = (0.0, 0.0)
    if not reasons:
        # Distinct histories alone: clients of as many rows spend alike.
        distinct = {tuple(sorted(history)) for history in histories.values()}
        most = (
            max((epsilon_of(one, delta) for one in distinct), default=0.0),
            max((epsilon_of(one, delta, "rdp") for one in distinct), default=0.0),
        )
        if most[0] == inf:
            reasons.append(f"the noise is too small: epsilon is above {LARGEST:g}, or none is known")
    if reasons:
        return Guarantee(
            unit=unit, epsilon=None, rdp=None, delta=delta, sampling=sampling, assumes=assumes, void=reasons
        )
    return Guarantee(
        unit=unit,
        epsilon=most[0],
        rdp=most[1] if most[1] != inf else None,
        delta=delta,
        sampling=sampling,
        assumes=assumes,
        against=AGAINST[unit],
    )
