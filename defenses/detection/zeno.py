"""Zeno: rows that lower the loss on the server's own samples least are left out."""

from dataclasses import dataclass

import torch

from fedsec.api import Measured, Mixed, RoundContext
from fedsec.maths.geometry import weight_step
from fedsec.maths.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Zeno:
    """Scores each row by how far it alone would lower the loss, less rho times its squared norm, and drops the worst.

    The loss is that of samples that the server holds, drawn anew in every round; f rows are dropped.

    Args:
        rho: weight of a row's squared norm.

    Raises:
        ValueError: the server holds no samples.

    Source: Xie, Koyejo and Gupta, "Zeno: Distributed Stochastic Gradient Descent with Suspicion-based Fault-tolerance",
        ICML 2019, definition 2 and algorithm 2; rho = 0.0005 as in their experiments.
    Deviations: under `update: delta` a row is a step of the weights itself, where the paper has a gradient.
    """

    rho: float = 0.0005

    def mix(self, rows: Rows, context: RoundContext) -> Measured:
        """Return the rows without the f of the lowest scores, in their order; ties go to the later row."""
        if context.loss is None:
            raise ValueError("zeno needs rows that the server holds: set data.trusted")
        n, out = len(rows), min(context.declared_malicious, len(rows) - 1)
        start, step = context.global_parameters, weight_step(context.training)
        before, squares = context.loss(start), rows.squared_norms()
        scores = torch.empty(n, dtype=torch.float64)
        for row in range(n):
            alone = torch.zeros(n, dtype=torch.float64)
            alone[row] = step
            scores[row] = before - context.loss(start + rows.weighted_sum(alone)) - self.rho * squares[row]
        scores = scores.nan_to_num(nan=-torch.inf)
        kept = scores.argsort(descending=True, stable=True)[: n - out].sort().values
        left = max(0, context.declared_malicious - out)
        return Measured(Mixed(torch.eye(n, dtype=torch.float64)[kept], left), {"kept": len(kept) / n})
