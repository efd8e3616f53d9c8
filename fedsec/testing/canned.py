"""Small federations that end in seconds, for contract tests."""

from typing import Any

from fedsec.config.load import load_scenario
from fedsec.config.schema import Scenario


def reconstruction(
    attack: Any, defense: Any = "none", knowledge: tuple[str, ...] = (), batch_size: int = 1
) -> Scenario:
    """Four clients send the gradient of one batch each, through a small random encoder.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
        batch_size: notes in an update.
    """
    return load_scenario(
        {
            "schema": 1,
            "name": "canned/reconstruction",
            "summary": "Does the attack read texts?",
            "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "dropout": False},
            "data": {"name": "clinic-notes", "train": 40, "test": 20, "max_tokens": 16},
            "federation": {
                "clients": 4,
                "rounds": 1,
                "batch_size": batch_size,
                "optimizer": "sgd",
                "learning_rate": 0.1,
                "update": "gradient",
            },
            "threat": {"knowledge": list(knowledge), "attack_round": 1},
            "matrix": {"attack": [attack], "defense": [defense]},
        }
    )


def byzantine(attack: Any, defense: Any = "none", knowledge: tuple[str, ...] = ()) -> Scenario:
    """Seven clients, one of them malicious, train a small encoder for a few rounds.

    Args:
        attack: as in `matrix.attack`.
        defense: as in `matrix.defense`.
        knowledge: granted side knowledge.
    """
    return load_scenario(
        {
            "schema": 1,
            "name": "canned/byzantine",
            "summary": "Does the attack ruin the model?",
            "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "dropout": False},
            "data": {"name": "clinic-notes", "train": 1400, "test": 300},
            "federation": {
                "clients": 7,
                "rounds": 8,
                "local_steps": 10,
                "batch_size": 16,
                "optimizer": "adamw",
                "learning_rate": 3e-3,
                "evaluate_every": 8,
            },
            "threat": {"malicious": 1, "knowledge": list(knowledge)},
            "matrix": {"attack": [attack], "defense": [defense]},
        }
    )
