"""A report of 1,000 cells: quickly made, small enough to send."""

import time
from itertools import product
from typing import Any

import numpy as np
import pytest

from fedsec.metrics.membership import curves
from fedsec.report.html import render

from .support import Content, leakage, membership, planted, round_of, scored, text, trained

READING = {"loss": "membership", "lira": "membership", "gradient-cosine": "membership", "dager": "reconstruction"}
ATTACKS = ("none", *READING, "badnets", "sign-flip", "alie", "ipm", "label-flip")
DEFENSES = ("none", "krum", "median", "norm-bound", "dp-sgd", "frozen-embeddings", "noise", "nnm", "mda", "arc")


def cells() -> list[Content]:
    """Ten attacks, ten defenses, five settings and two seeds, with weights of twelve clients in thirty rounds."""
    generator = np.random.default_rng(0)
    members = np.arange(400) % 2 == 0
    found = []
    for size, attack, defense, seed in product((1, 4, 8, 16, 32), ATTACKS, DEFENSES, (0, 1)):
        right = int(generator.integers(70, 170))
        weights = generator.dirichlet(np.ones(12), size=30)
        measured = {"dp-sgd/clip-fraction": 0.5}
        rounds = [
            round_of(r + 1, row.tolist(), clients=range(12), measurements=measured) for r, row in enumerate(weights)
        ]
        same: dict[str, Any] = {"attack": attack, "defense": defense, "seed": seed, "rounds": rounds}
        same |= {"settings": {"federation.batch_size": size}, "curve": generator.random(16).tolist()}
        bits = "1" * right + "0" * (200 - right)
        if attack == "badnets":
            content = planted([1] * 60 + [0] * 40, [0] * 95 + [1] * 5, bits, malicious=[1, 2], **same)
        elif READING.get(attack) == "membership":
            content = trained(bits, position="server", goal="membership", metrics=membership(0.8), **same)
            scores = generator.normal(size=(2, 400)) + members
            content["notes"] = {"roc": curves(scores[0], scores[1], members)}
        elif attack in READING:
            read = [text("a note of chest pain since Monday " * 3, "a note of a pain since Friday " * 3)] * 10
            content = trained(
                bits, position="server", goal="reconstruction", metrics=leakage(0.5, 0.6), texts=read, **same
            )
        else:
            acts = {} if attack == "none" else {"position": "client", "malicious": [1, 2]}
            content = trained(bits, **acts, **same)
        found.append(content)
    return found


@pytest.mark.slow
def test_a_thousand_cells_take_seconds_and_megabytes() -> None:
    contents = cells()
    assert len(contents) == 1000
    started = time.process_time()
    page = render(*scored(contents))
    spent = time.process_time() - started
    assert spent < 20, "5 s of one core when this was written"
    assert len(page.encode()) < 5e6, "3.1 MB when this was written"
