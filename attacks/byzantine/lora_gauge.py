"""LoRA gauge: updates whose effect on the model differs from what their factors look like."""

from dataclasses import dataclass, replace

import torch

from fedsec.api import ColluderView, Update
from fedsec.maths.geometry import Pair, factor_pairs, weight_step

from .known_rows import collude

HIDE, RESCALE = "hide", "rescale"
_ITERATIONS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraGauge:
    """Uses that many pairs of factors (B, A) make one product B A, and that a server may look at the factors only.

    Most of the distance between the factors that honest clients send hardly moves the product: a factor moves it by as
    much as its partner is long, and B begins at 0, while AdamW lets both walk equally far. `hide` leaves all that at
    the mean of the rows that the colluders know, and spends the distance so saved where it moves the product the most.

    Args:
        aim: `hide`: as factors no farther from honest rows than these are from each other, with the product step most
            opposed to the honest one. `rescale`: the honest product from factors (factor B, A / factor), which ruin a
            mean of factors although the client's own model is honest.
        scale: of `hide`: expected distance to an honest row, in those between two honest rows.
        factor: of `rescale`: what B is multiplied by.

    Source: own. Like Min-Sum (Shejwalkar and Houmansadr, NDSS 2021, section 4) `hide` goes as far as distances between
        honest rows allow; that (c B, A / c) is the same adapter is folklore.
    Deviations: none.
    """

    aim: str = HIDE
    scale: float = 1.0
    factor: float = 10.0

    def on_update(self, update: Update, view: ColluderView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest.

        Raises:
            ValueError: no pair of LoRA factors is trained.
        """
        pairs = factor_pairs(view.layout)
        if not pairs:
            raise ValueError("lora-gauge needs LoRA adapters of which both factors are trained; this model has none")
        if self.aim == RESCALE:
            return replace(update, vector=self._rescaled(update.vector, view, pairs))
        return collude(update, view, "lora-gauge", lambda known: self._hidden(known, view, pairs))

    def _rescaled(self, honest: torch.Tensor, view: ColluderView, pairs: tuple[Pair, ...]) -> torch.Tensor:
        """Return the update that makes each pair (factor B, A / factor) [parameters], fp32."""
        step, before = weight_step(view.training), view.global_parameters.double()
        row = honest.double()
        for pair in pairs:
            for part, change in ((pair.b_slice, self.factor), (pair.a_slice, 1 / self.factor)):
                row[part] = (change * (before[part] + step * row[part]) - before[part]) / step
        return row.float()

    def _hidden(self, known: torch.Tensor, view: ColluderView, pairs: tuple[Pair, ...]) -> torch.Tensor:
        """Return the update most opposed to the honest step within reach of the known ones [parameters], fp32.

        With x their mean and P(x) what x does to the weights, minimises <P(x + d), P(x)> over |d| = reach. P is
        bilinear in the factors: following the slope again and again goes down, as the power method climbs.
        """
        step, before = weight_step(view.training), view.global_parameters.double()
        steps = step * known.double()  # [known, parameters], in the weights' units
        mean = steps.mean(dim=0)
        reach, move = self._reach(steps, mean), torch.zeros_like(mean)
        for _ in range(_ITERATIONS):
            slope = _slope(before, mean, move, pairs)
            if slope.norm() == 0:  # nobody moved: there is nothing to oppose
                break
            move = slope * (-reach / slope.norm())
        return ((mean + move) / step).float()

    def _reach(self, steps: torch.Tensor, mean: torch.Tensor) -> float:
        """Return how far from the known updates' mean the crafted update may be.

        Two honest rows of spread s differ by 2 s^2 in expected square, the mean of m rows from another by
        s^2 (1 + 1/m); what is left of scale^2 times the former is the move's.
        """
        count = len(steps)
        if count == 1:  # no spread to be seen; most of a single update is noise
            return self.scale * float(mean.norm())
        spread = (steps - mean).square().sum() / (count - 1)
        return float((spread * max(2 * self.scale**2 - 1 - 1 / count, 0.0)).sqrt())


def _slope(before: torch.Tensor, mean: torch.Tensor, move: torch.Tensor, pairs: tuple[Pair, ...]) -> torch.Tensor:
    """Return the gradient of <P(x + d), P(x)> by d [parameters], x being `mean` and d `move`.

    On a pair, P(x) = b A + B0 a with A = A0 + a, and the slope is P(x) A(x + d)' by B and B(x + d)' P(x) by A; on what
    is no pair it is x.
    """
    slope = mean.clone()
    now = before + mean + move
    for pair in pairs:
        a_old, b_old = pair.factors(before)  # [rank, inputs], [outputs, rank]
        a_mean, b_mean = pair.factors(mean)
        a_now, b_now = pair.factors(now)
        left = torch.cat([b_mean, b_old], dim=1)  # [outputs, 2 rank]
        right = torch.cat([a_old + a_mean, a_mean])  # [2 rank, inputs]; left @ right is P(x)
        slope[pair.b_slice] = (left @ (right @ a_now.T)).flatten()
        slope[pair.a_slice] = ((b_now.T @ left) @ right).flatten()
    return slope
