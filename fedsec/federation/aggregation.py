"""Step 6 of a round: filters, then the rule; and what happens when either cannot decide."""

from typing import NamedTuple

import torch

from fedsec.api import Layout, Mixed, Population, RoundContext, implements
from fedsec.federation.plugins import Stack
from fedsec.maths.rows import Rows, weighted_sum
from fedsec.seeds import SeedTree
from fedsec.wire.receive import Received


class Aggregate(NamedTuple):
    """What a round's rows became."""

    vector: torch.Tensor
    """fp32 [parameters]; zero if the round was skipped."""
    weights: torch.Tensor | None
    """What each received row got, fp64 [clients]; None under a coordinate-wise rule or if the round was skipped."""
    skipped: str | None
    """Why the global model is kept this round, if it is."""


class Aggregator:
    """Turns a round's rows into one update.

    Args:
        stack: the defense stack.
        weighting: of the plain mean: `uniform` or `examples`.
        declared_malicious: f in a full round.
        layout: of the flat vector.
        seeds: the seed tree.
    """

    def __init__(
        self, stack: Stack, *, weighting: str, declared_malicious: int, layout: Layout, seeds: SeedTree
    ) -> None:
        self._stack, self._weighting, self._declared = stack, weighting, declared_malicious
        self._layout, self._seeds = layout, seeds

    def aggregate(self, number: int, received: Received, current: torch.Tensor) -> Aggregate:
        """The round's update.

        Args:
            number: the round.
            received: checked rows.
            current: the broadcast trainables [parameters].

        Raises:
            ValueError: a filter or rule returned something of the wrong shape or type, or non-finite numbers.
        """
        if not received.clients:
            return self._skip("no client sent a usable update")
        if self._stack.rule is None and not self._stack.filters:
            weights = self._plain(received, torch.eye(len(received.clients), dtype=torch.float64))
            return Aggregate(weighted_sum(received.rows, weights), weights, None)
        rows, declared = Rows(received.rows), max(0, self._declared - len(received.rejected))
        for label, step in self._stack.filters:
            mixed = step.mix(rows, self._context(number, received, current, declared, label))
            if not isinstance(mixed, Mixed):
                raise ValueError(f"{label} returned {type(mixed).__name__}, a filter returns Mixed")
            rows, declared = rows.mixed(mixed.mixing), mixed.declared_malicious
            if len(rows) == 0:
                return self._skip(f"{label} dropped every row")
        return self._decide(number, received, current, rows, declared)

    def _decide(self, number: int, received: Received, current: torch.Tensor, rows: Rows, declared: int) -> Aggregate:
        rule, label = self._stack.rule, self._stack.rule_label
        if rule is None:
            weights = self._plain(received, rows.mixing)
            return Aggregate(rows.weighted_sum(weights), weights @ rows.mixing, None)
        refusal = self._stack.refusal(Population(clients=len(rows), declared_malicious=declared))
        if refusal:
            return self._skip(refusal)
        context = self._context(number, received, current, declared, label)
        if implements(rule, "vector"):
            vector = rule.vector(rows, context)  # type: ignore[union-attr]
            _check(vector, (self._layout.size,), torch.float32, label)
            return Aggregate(vector, None, None)
        weights = rule.weights(rows, context)  # type: ignore[union-attr]
        _check(weights, (len(rows),), torch.float64, label)
        return Aggregate(rows.weighted_sum(weights), weights @ rows.mixing, None)

    def _context(
        self, number: int, received: Received, current: torch.Tensor, declared: int, label: str
    ) -> RoundContext:
        return RoundContext(
            round=number,
            clients=received.clients,
            examples=received.examples,
            declared_malicious=declared,
            layout=self._layout,
            global_parameters=current.clone(),
            generator=self._seeds.torch(f"server {label}", round_number=number),
        )

    def _plain(self, received: Received, mixing: torch.Tensor) -> torch.Tensor:
        """Weights of the plain mean [kept]; a mixed row stands for its share of the examples of what it is made of."""
        if self._weighting == "examples":
            claims = mixing @ torch.tensor(received.examples, dtype=torch.float64)
            return claims / claims.sum()
        return torch.full((len(mixing),), 1.0 / len(mixing), dtype=torch.float64)

    def _skip(self, reason: str) -> Aggregate:
        return Aggregate(torch.zeros(self._layout.size), None, reason)


def _check(values: object, shape: tuple[int, ...], dtype: torch.dtype, label: str) -> None:
    if not isinstance(values, torch.Tensor):
        raise ValueError(f"{label} returned {type(values).__name__}, expected a tensor")
    if tuple(values.shape) != shape or values.dtype != dtype:
        raise ValueError(f"{label} returned {values.dtype} {list(values.shape)}, expected {dtype} {list(shape)}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{label} returned NaN or infinity")
