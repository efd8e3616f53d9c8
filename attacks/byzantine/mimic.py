"""Mimic: all colluders copy one honest client, the one farthest out along the direction in which clients differ."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from fedsec.api import ColluderView, Knowledge, Update

from .known_rows import mean_and_deviation, slices

_NOTE = "mimic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mimic:
    """Sends what one honest client sends, so that this client counts for several.

    For `warmup` rounds the colluders estimate the direction z in which honest updates vary most, and copy the honest
    update with the largest projection on it; after that they go on copying the same client. Honest updates come without
    names, in the cohort's order: a client is known by its place in it, which holds while every client takes part in
    every round. Where the number of honest updates is another than at the end of the warm-up, the largest projection
    on z decides for that round.

    Args:
        warmup: rounds in which the direction is estimated, at least 1.

    Source: Karimireddy, He and Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", ICLR 2022,
        mimic attack with its warm-up (appendix); updates of the direction as in the official code.
    Deviations: the first direction is the exact principal one of the first round's updates, not one power step from a
        random start; its sign is such that the update farthest out lies on the positive side.
    """

    warmup: int = 3

    def on_update(self, update: Update, view: ColluderView) -> Update:
        """Return the copied update; the claimed number of examples stays honest."""
        honest = view.granted[Knowledge.BENIGN_UPDATES]  # [honest, parameters]
        if len(honest) == 0:
            return update
        note = view.blackboard.get(_NOTE)
        if note is None or note["round"] != view.round:
            note = {**self._study(note, honest), "round": view.round}
            view.blackboard[_NOTE] = note
        return replace(update, vector=honest[note["copied"]].clone())

    def _study(self, note: Mapping[str, Any] | None, honest: torch.Tensor) -> dict[str, Any]:
        """Return the colluders' state after this round's honest updates [honest, parameters]."""
        if note is None:
            mean, direction = _first(honest)
        elif note["seen"] < self.warmup:
            mean, direction = _next(honest, note["mean"].double(), note["direction"].double(), note["seen"])
        elif note["honest"] == len(honest):
            return {**note, "copied": note["target"]}
        else:
            return {**note, "copied": _farthest(honest, note["direction"].double())}
        target = _farthest(honest, direction)
        return {
            "seen": 1 if note is None else note["seen"] + 1,
            "mean": mean.float(),
            "direction": direction.float(),
            "honest": len(honest),
            "target": target,
            "copied": target,
        }


def _first(honest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and principal direction of the first round's updates [parameters] each, fp64."""
    mean, _ = mean_and_deviation(honest)
    gram = torch.zeros(len(honest), len(honest), dtype=torch.float64)
    for columns in slices(honest):
        block = honest[:, columns].double() - mean[columns]  # [honest, columns]
        gram.addmm_(block, block.T)
    shares = torch.linalg.eigh(gram).eigenvectors[:, -1]  # [honest], proportional to the rows' projections
    return mean, _unit(_combined(honest, mean, shares * shares[_first_maximum(shares.abs())].sign()))


def _next(
    honest: torch.Tensor, mean: torch.Tensor, direction: torch.Tensor, seen: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and direction after one more round: running averages over the `seen` rounds before and this one.

    mu' = t/(t+1) mu + 1/(t+1) mean(x);  z' ~ t/(t+1) z + 1/(t+1) c/|c| with c = sum (x_i - mu') <x_i - mu', z>.
    """
    own, _ = mean_and_deviation(honest)
    mean = (seen * mean + own) / (seen + 1)
    turned = _unit(_combined(honest, mean, _projections(honest, direction) - mean @ direction))
    return mean, _unit((seen * direction + turned) / (seen + 1))


def _projections(honest: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Return <x_i, z> [honest], fp64."""
    found = torch.zeros(len(honest), dtype=torch.float64)
    for columns in slices(honest):
        found.addmv_(honest[:, columns].double(), direction[columns])
    return found


def _combined(honest: torch.Tensor, mean: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Return the sum of shares_i (x_i - mean) [parameters], fp64."""
    found = -shares.sum() * mean
    for columns in slices(honest):
        found[columns] += shares @ honest[:, columns].double()
    return found


def _farthest(honest: torch.Tensor, direction: torch.Tensor) -> int:
    return _first_maximum(_projections(honest, direction))


def _unit(vector: torch.Tensor) -> torch.Tensor:
    size = vector.norm()
    return vector / size if size > 0 else vector


def _first_maximum(values: torch.Tensor) -> int:
    return int((values == values.max()).nonzero()[0])
