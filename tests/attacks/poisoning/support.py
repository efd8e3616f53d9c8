"""What tests of poisoners share: a client's view and rows, and a small federation."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fedsec.api import ClientView, Layout, Sample, TrainingSettings, TriggerView
from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.cell.training import train
from fedsec.config.load import load_scenario
from fedsec.plan.cells import expand

CLASSES = ("bad", "good", "odd")
WORDS = ("chest", "knee", "head", "skin", "stomach", "sugar")


def view(number: int = 1, client: int = 1, classes: Sequence[str] = CLASSES) -> ClientView:
    """A client's view of a round; each round and client has a generator of its own."""
    return ClientView(
        client=client,
        round=number,
        global_parameters=torch.ones(5),
        layout=Layout((), (), 5),
        training=TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=1),
        classes=tuple(classes),
        generator=torch.Generator().manual_seed(1000 * client + number),
    )


def asked(seed: int = 0, classes: Sequence[str] = CLASSES) -> TriggerView:
    """What a backdoor is handed before training."""
    return TriggerView(classes=tuple(classes), tokenizer=None, generator=torch.Generator().manual_seed(seed))


def rows(count: int = 60, classes: int = len(CLASSES)) -> tuple[Sample, ...]:
    """A client's rows, their classes in turn."""
    return tuple(Sample(f"the text of row {i}", i % classes, f"prompt {i}", origin=i) for i in range(count))


def cells(
    folder: Path,
    attack: Mapping[str, Any],
    malicious: int,
    *,
    control: bool = True,
    hostile: tuple[int, int] | None = None,
    defense: Any = "none",
    **data: Any,
) -> dict[str, dict[str, Any]]:
    """Seven clients teach a small encoder six classes: the contents of the attack's cell and of its control, by name.

    Args:
        folder: where their texts are put.
        attack: as in `matrix.attack`.
        malicious: clients that run it.
        control: whether its control is trained as well.
        hostile: the first and the last hostile round; all are if absent.
        defense: as in `matrix.defense`; attackers know its settings.
        data: other settings of the data.
    """
    lines = [{"text": f"{WORDS[i % 6]} pain since day {i // 6}, {WORDS[i % 6]}", "label": i % 6} for i in range(540)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, lines[:420])))
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, lines[420:])))
    content = {
        "schema": 1,
        "name": "small/poisoning",
        "summary": "What does the poison do?",
        "model": {"name": "tiny-bert", "layers": 1, "dropout": False},
        "data": {"path": str(folder), "max_tokens": 16, **data},
        "federation": {
            "clients": 7,
            "rounds": 5,
            "local_steps": 7,
            "batch_size": 8,
            "optimizer": "adamw",
            "learning_rate": 5e-3,
            "evaluate_every": 5 if hostile is None else 1,
        },
        "threat": {
            "malicious": malicious,
            "participation": {} if hostile is None else {"first": hostile[0], "last": hostile[1]},
            "knowledge": [] if defense == "none" else ["defense-settings"],
        },
        "matrix": {"attack": [attack], "defense": [defense]},
    }
    resources = Resources()
    return {
        cell.attack.name: score(cell, train(cell, frozenset(cell.rounds), resources, lambda progress: None))
        for cell in expand(load_scenario(content))
        if (control or cell.attack.name == attack["name"]) and bool(cell.defense) == (defense != "none")
    }
