"""CRFL: the global model is clipped and blurred in every round, and noisy copies of the released one vote."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from scipy.stats import beta, norm

from fedsec.api import Measured, QueryView, RoundContext, Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Crfl:
    """Clips the norm of the global model, adds noise to it, and answers by the votes of copies with such noise.

    After round t the norm is at most `norm` + `growth` t, over all that is trained. The model of the last round is
    clipped, and gets no noise: each of the copies that vote does. Answers are logarithms of shares of votes. The copies
    are asked, and no other defense: one that reads queries comes after it in a stack.

    Args:
        norm: largest norm of the global model before the first round.
        growth: by which the bound grows in a round.
        sigma: standard deviation of the noise on every parameter, in training and at a query.
        copies: that vote on a query.

    Source: Xie et al., "CRFL: Certifiably Robust Federated Learning against Backdoor Attacks", ICML 2021, algorithms 1
        and 2; rho_t = 0.025 t + 2, sigma = 0.01 and M = 1000 as in their experiments.
    Deviations: the certificate is that of the vote, in the released parameters (`certified_radius`); the paper's bound
        on how far poisoned samples move these parameters is not stated.
    """

    norm: float = 2.0
    growth: float = 0.025
    sigma: float = 0.01
    copies: int = 1000

    def on_model(self, parameters: torch.Tensor, context: RoundContext) -> Measured:
        """Return the clipped model [parameters], with noise but for the last round."""
        length, bound = float(parameters.double().norm()), self.norm + self.growth * context.round
        clipped = parameters * (bound / length) if length > bound else parameters
        if context.round < context.training.rounds:
            clipped = clipped + self.sigma * torch.randn(clipped.shape, generator=context.generator)
        return Measured(clipped, {"model-norm": length})

    def on_query(
        self,
        queries: tuple[Tokens, ...],
        answer: Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]],
        view: QueryView,
    ) -> list[torch.Tensor | None]:
        """Return the logarithm of each class's share of the votes, one vote more counted for each.

        Raises:
            ValueError: the released parameters are not at hand.
        """
        if view.parameters is None or view.ask is None:
            raise ValueError("crfl answers by noisy copies of a released model: run it in a federation")
        votes: list[torch.Tensor] = []
        for _ in range(self.copies):
            noise = torch.randn(view.parameters.shape, generator=view.generator)
            found = view.ask(view.parameters + self.sigma * noise, queries)
            chosen = [torch.zeros_like(one).scatter_(-1, one.argmax(-1, keepdim=True), 1.0) for one in found]
            votes = [before + one for before, one in zip(votes, chosen, strict=True)] if votes else chosen
        return [((one + 1) / (one + 1).sum(-1, keepdim=True)).log() for one in votes]


def certified_radius(votes: Sequence[int], sigma: float, alpha: float = 0.001) -> float:
    """Return how far the released parameters may be moved, in Euclidean norm, without another answer; 0: not certified.

    With probability 1 - alpha over the copies, no change of the parameters by less than that changes which class noisy
    copies give most often.

    Args:
        votes: of each class, on one query.
        sigma: standard deviation of the copies' noise.
        alpha: probability that it is wrong.

    Source: Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, theorem
        1 and section 3.2.2, with parameters in the place of inputs, as in CRFL, section 4.
    Deviations: the class that is certified is that of the same votes, so its share's bound (Clopper-Pearson) is at
        level alpha over the number of classes.
    """
    most, all_of_them = max(votes), sum(votes)
    if 2 * most <= all_of_them:
        return 0.0
    low = float(beta.ppf(alpha / len(votes), most, all_of_them - most + 1))
    return max(0.0, sigma * float(norm.ppf(low)))
