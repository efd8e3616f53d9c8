"""Who is hostile in a cell, and what they are told."""

from typing import Any

from fedsec.api import Knowledge
from fedsec.cell.resources import attack_plugin, malicious_clients
from fedsec.federation.clients import Adversary
from fedsec.federation.parties import MaliciousServer
from fedsec.plan.cells import Cell


def adversary_of(cell: Cell, question: Any) -> Adversary | None:
    """Return the malicious clients of a cell whose attack is theirs; None where the scenario has none.

    Args:
        cell: the cell.
        question: what the attack's goal asks about.
    """
    threat = cell.scenario.threat
    if threat.malicious == 0:
        return None
    return Adversary(
        clients=malicious_clients(cell.scenario, cell.seed),
        attack=attack_plugin(cell.attack),
        obeys_client_defenses=threat.obeys_client_defenses,
        grants_benign_updates=Knowledge.BENIGN_UPDATES in threat.knowledge,
        knowledge=settings_known(cell),
        first=threat.participation.first,
        last=threat.participation.last,
        question=question,
    )


def server_of(cell: Cell, question: Any) -> MaliciousServer:
    """Return the malicious server of a cell whose attack is its; see `adversary_of`."""
    return MaliciousServer(attack=attack_plugin(cell.attack), knowledge=settings_known(cell), question=question)


def settings_known(cell: Cell) -> dict[Knowledge, Any]:
    """Return the defense's settings, where the scenario grants them."""
    granted = Knowledge.DEFENSE_SETTINGS in cell.scenario.threat.knowledge
    return {Knowledge.DEFENSE_SETTINGS: cell.told_in_training} if granted else {}
