"""Which side knowledge each position can be granted."""

from fedsec.api.threat import Behaviour, Knowledge, Position

_OF_A_ROUND = frozenset(
    {
        Knowledge.LABELS,
        Knowledge.LENGTHS,
        Knowledge.COHORT,
        Knowledge.DEFENSE_SETTINGS,
        Knowledge.AUXILIARY_TEXT,
    }
)
PROVIDED = {
    (Position.SERVER, Behaviour.CURIOUS): _OF_A_ROUND,
    (Position.SERVER, Behaviour.MALICIOUS): _OF_A_ROUND,
    (Position.KEY_HOLDER, Behaviour.CURIOUS): _OF_A_ROUND,
    (Position.WIRE, Behaviour.CURIOUS): _OF_A_ROUND,
    (Position.CLIENT, Behaviour.CURIOUS): _OF_A_ROUND,
    (Position.CLIENT, Behaviour.MALICIOUS): frozenset({Knowledge.BENIGN_UPDATES, Knowledge.DEFENSE_SETTINGS}),
    (Position.SUPPLIER, Behaviour.MALICIOUS): frozenset(),
    (Position.RELEASED_MODEL, Behaviour.CURIOUS): frozenset(
        {
            Knowledge.BASE_MODEL,
            Knowledge.CLIENT_TEXTS_DISTRIBUTION,
            Knowledge.DEFENSE_SETTINGS,
            Knowledge.AUXILIARY_TEXT,
        }
    ),
}
"""Adversaries that the engine runs, and the side knowledge that it can hand them."""
