"""What tests of colluding attacks share: a view without a federation around it, and rules to rehearse on."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from fedsec.api import (
    ColluderView,
    Granted,
    Knowledge,
    Layout,
    Measured,
    Rehearsal,
    RoundContext,
    TrainingSettings,
    Update,
)
from fedsec.maths.rows import Rows

Rehearse = Callable[[Rows], Rehearsal]


def training(cohort: int) -> TrainingSettings:
    return TrainingSettings(
        update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=1, cohort=cohort, rounds=5
    )


def view(
    own: torch.Tensor,
    benign: torch.Tensor | None = None,
    *,
    colluders: Sequence[int] | None = None,
    cohort: int = 10,
    **changes: Any,
) -> ColluderView:
    """The first colluder's view of round 1, with what honest clients send if that is granted."""
    members = tuple(range(len(own))) if colluders is None else tuple(colluders)
    fields: dict[str, Any] = {
        "client": members[0],
        "round": 1,
        "global_parameters": torch.zeros(own.shape[1]),
        "layout": Layout((), (), own.shape[1]),
        "training": training(cohort),
        "generator": torch.Generator().manual_seed(0),
        "colluders": members,
        "own_rows": own,
        "blackboard": {},
        "granted": Granted({} if benign is None else {Knowledge.BENIGN_UPDATES: benign}),
    }
    return ColluderView(**{**fields, **changes})


def honest(known: int, parameters: int = 20, seed: int = 0, spread: float = 1.0, shift: float = 1.0) -> torch.Tensor:
    """Rows around one direction [known, parameters]."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(known + 1, parameters, generator=generator)
    return shift * drawn[0] + spread * drawn[1:]


def update(vector: torch.Tensor) -> Update:
    return Update(vector.clone(), examples=7)


def sent(attack: Any, seen: ColluderView) -> torch.Tensor:
    """What the attack makes of the first colluder's own update."""
    crafted = attack.on_update(update(seen.own_rows[0]), seen)
    assert crafted.examples == 7
    assert crafted.vector.dtype == torch.float32
    return crafted.vector


def by_weights(rule: Any, f: int) -> Rehearse:
    """Rehearsals of a rule that returns weights."""

    def rehearse(rows: Rows) -> Rehearsal:
        return Rehearsal(weights=rule.weights(rows, _round(rows, f)), vector=None)

    return rehearse


def filtered(make: Callable[[], Any], f: int) -> Rehearse:
    """Rehearsals of a filter before the plain mean; a new one each time, so that none remembers."""

    def rehearse(rows: Rows) -> Rehearsal:
        found = make().mix(rows, _round(rows, f))
        return Rehearsal(
            weights=(found.value if isinstance(found, Measured) else found).mixing.mean(dim=0), vector=None
        )

    return rehearse


def by_vector(rule: Any, f: int) -> Rehearse:
    """Rehearsals of a rule that returns the update itself."""
    return lambda rows: Rehearsal(weights=None, vector=rule.vector(rows, _round(rows, f)))


def _round(rows: Rows, f: int) -> RoundContext:
    width = sum(chunk.shape[1] for chunk in rows.chunks())
    return RoundContext(
        round=1,
        clients=tuple(range(len(rows))),
        examples=(1,) * len(rows),
        declared_malicious=f,
        layout=Layout((), (), width),
        training=training(len(rows)),
        global_parameters=torch.zeros(width),
        generator=torch.Generator().manual_seed(0),
    )


def mean(rows: Rows) -> Rehearsal:
    """Rehearsals of the plain mean."""
    return Rehearsal(weights=torch.full((len(rows),), 1 / len(rows), dtype=torch.float64), vector=None)


def median(rows: Rows) -> Rehearsal:
    """Rehearsals of a coordinate-wise rule."""
    whole = torch.cat(list(rows.chunks()), dim=1)
    return Rehearsal(weights=None, vector=torch.from_numpy(np.median(whole.numpy(), axis=0)).float())
