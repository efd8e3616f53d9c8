"""The ledger of a federation before it runs: what its protocol means for the mechanisms in its stack."""

from typing import Any

from fedsec.api import GaussianMechanism, PrivacyTerms, implements
from fedsec.api.hooks import CALIBRATE
from fedsec.federation.clients import Clients
from fedsec.federation.draws import sampling_rate
from fedsec.federation.parties import Federation
from fedsec.privacy.ledger import DROWNED, Ledger


def open_ledger(federation: Federation, clients: Clients) -> Ledger:
    """Return a ledger with an account for each client's mechanisms."""
    training, rounds = federation.settings.training, federation.settings.rounds
    ledger = Ledger(training.sampling, void=_void(federation, clients), assumes=_assumes(federation))

    def terms(client: int) -> PrivacyTerms:
        rows = len(federation.rows[client])
        return PrivacyTerms(
            sampling_rate=sampling_rate(rows, training),
            steps=rounds * training.local_steps,
            expected_rows=float(min(rows, training.batch_size)),
        )

    clients.calibrate(ledger, terms)
    rule = _mechanism(federation)
    if rule is not None:
        everybody, cohort = len(federation.rows), federation.settings.cohort
        whole = PrivacyTerms(
            sampling_rate=min(1.0, cohort / max(1, everybody)), steps=rounds, expected_rows=float(cohort)
        )
        calibrated = rule.calibrate(whole)
        for client in range(everybody):
            ledger.open(client, federation.stack.rule_label, whole, calibrated)
    return ledger


def _mechanism(federation: Federation) -> Any:
    """The server's rule, where it is a mechanism of differential privacy."""
    rule = federation.stack.rule
    return rule if rule is not None and implements(rule, CALIBRATE) else None


def spend_for_all(federation: Federation, ledger: Ledger, mechanism: GaussianMechanism) -> None:
    """Record what the server's rule spent in a round: every client may have been in it, by the cohort's coin."""
    for client in range(len(federation.rows)):
        ledger.spend(client, federation.stack.rule_label, mechanism)


def covered_by(federation: Federation) -> frozenset[int]:
    """The clients that a guarantee is about: a malicious one skips its mechanisms, or trains on data of its choice."""
    hostile = federation.adversary.clients if federation.adversary is not None else frozenset[int]()
    return frozenset(range(len(federation.rows))) - hostile


def notices(federation: Federation, ledger: Ledger) -> list[str]:
    """Return notices for the user before training: why there is no guarantee, and where noise is too large."""
    settings, size = federation.settings, federation.model.layout.size
    found = [f"no privacy is promised: {reason}" for reason in ledger.reasons(covered_by(federation))]
    ratio = ledger.noise_over_signal(size, settings.cohort, settings.training.local_steps)
    if ratio is not None and ratio >= DROWNED:
        found.append(
            f"noise drowns the updates: in a round's mean over {settings.cohort} clients its norm is {ratio:.1f} times "
            f"the largest signal that clipping lets through, over {size:,} trained parameters. Train fewer of them, or "
            "take larger batches, more clients or a larger epsilon"
        )
    return found


def _void(federation: Federation, clients: Clients) -> list[str]:
    """Return which settings of the protocol and the stack break the accountant's assumptions."""
    settings, found = federation.settings, []
    if settings.weighting == "examples":
        found.append(
            "rows are weighted by the number of examples, which tells how many records a client holds and changes what "
            "one record can do: set federation.weighting to uniform"
        )
    if federation.pinned and settings.cohort < len(federation.rows):
        found.append(
            "some clients are pinned to every cohort (threat.participation.kind: fixed), so that cohorts are not drawn "
            "at random"
        )
    if _mechanism(federation) is not None and federation.stack.filters:
        names = " and ".join(label for label, _ in federation.stack.filters)
        found.append(
            f"{names} changes updates by what the others are, before {federation.stack.rule_label} bounds them"
        )
    found += [
        f"{label} changes what a client trains on by rules that may look at all of its records, which is not counted"
        for label in clients.cleaners
    ]
    return found


def _assumes(federation: Federation) -> list[str]:
    """Return what a guarantee assumes, and what it does not cover."""
    if _mechanism(federation) is not None:
        return ["the server is honest", "noise and cohorts are simulated from the cell's seed"]
    found = [
        "holds for records of clients that follow the protocol, each record with one client",
        "how many records a client holds is public",
        "noise and batches are simulated from the cell's seed",
    ]
    if len(federation.trusted):
        found.append("the server's own rows are not covered")
    if federation.adversary is not None:
        found.append("records of malicious clients are not covered")
    return found
