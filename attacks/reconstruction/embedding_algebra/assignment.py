"""Which token stands at which position, from two embedding tables that share their gradients."""

import torch

_EXPLAINED = 0.99
"""Share of the words' rows that a sum of the positions' has to explain; less, and the rows are no such sums."""

_FITS = 2.0
"""Misfit up to which a placement fits at the floor, where 1 is expected."""

_TINY = 1e-30
"""Below which a norm counts as 0."""

_SAME = 1e-6
"""Share of a row that may differ where two rows count as equal."""


def agreement(words: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """How much likelier rows are if they share a gradient than if they do not [positions, words], in nats.

    The Gaussian log likelihood ratio of their correlation over the entries that neither row has at exactly 0: those
    are left out by a mask or rounded away. It needs no size of the noise, and holds for signs alone. Negative where
    rows point away from each other.

    Args:
        words: rows of the word embedding's update [words, width].
        places: rows of the position embedding's update [positions, width].
    """
    words, places = ((rows / rows.abs().max().clamp_min(_TINY)).float() for rows in (words, places))
    word_known, place_known = (words != 0.0).float(), (places != 0.0).float()
    norms = (place_known @ words.square().T).sqrt() * (places.square() @ word_known.T).sqrt()
    cosine = (places @ words.T) / norms.clamp_min(_TINY)
    shared = place_known @ word_known.T
    shared = shared.masked_fill(shared < 2.0, 0.0)  # one entry agrees with any other
    return -0.5 * shared * torch.log1p(-cosine.square().clamp_max(1.0 - _SAME)) * cosine.sign()


class Assignment:
    """Least squares for G = S P over binary S with one token per position.

    Args:
        words: rows of the word embedding's update [words, width], fp64.
        places: rows of the position embedding's update [positions, width], fp64.
        word_variance: variance of the errors of `words`, same shape.
        place_variance: variance of the errors of `places`, same shape.
    """

    def __init__(
        self,
        words: torch.Tensor,
        places: torch.Tensor,
        word_variance: torch.Tensor,
        place_variance: torch.Tensor,
    ) -> None:
        self._words = words
        self._places = places
        self._word_variance = word_variance
        self._place_variance = place_variance
        # A token's row sums about positions / words of the position rows; the mean variance of those is added to it.
        share = len(places) / len(words)
        self._precision = 1.0 / (word_variance + share * place_variance.mean(dim=0)).clamp_min(1e-300)

    def solve(self, *, additive: bool) -> torch.Tensor:
        """The token's index at each position [positions].

        Args:
            additive: whether rows may be sums of the shared gradients; an elementwise preconditioner leaves only their
                directions comparable. Where sums explain too little, each position takes the word that its row agrees
                with most.
        """
        if not additive:
            unit = self._words / self._words.norm(dim=1, keepdim=True).clamp_min(1e-300)
            nearest: torch.Tensor = (unit @ self._places.T).argmax(dim=0)
            return nearest
        rough = self._words @ torch.linalg.pinv(self._places, rcond=1e-10)  # [words, positions]
        tokens = self.refine(rough.argmax(dim=0))
        left = self._rest(tokens).square().sum()
        if left <= (1.0 - _EXPLAINED) * self._words.square().sum() or self.misfit(tokens) <= _FITS:
            return tokens
        return agreement(self._words, self._places).argmax(dim=1)

    def misfit(self, tokens: torch.Tensor) -> float:
        """Mean squared error of the placement in units of its expected variance; about 1 at the numerical floor."""
        rest = self._rest(tokens)
        variance = self._word_variance.index_add(0, tokens, self._place_variance)
        return float((rest.square() / variance.clamp_min(1e-300)).mean())

    def certain(self, tokens: torch.Tensor, significance: float) -> bool:
        """Whether the placement fits at the floor, uses every token, and no change of one or two positions comes near.

        Args:
            tokens: the placement [positions].
            significance: smallest rise of the misfit sum (chi-square units) that rules a change out.
        """
        words, width = self._words.shape
        if len(self._places) >= width or len(tokens.unique()) < words or self.misfit(tokens) > _FITS:
            return False
        return bool(min(self._moves(tokens).min(), self._swaps(tokens).min()) > significance)

    def _rest(self, tokens: torch.Tensor) -> torch.Tensor:
        """G - S P [words, width]."""
        return self._words.index_add(0, tokens, self._places, alpha=-1.0)

    def _moves(self, tokens: torch.Tensor) -> torch.Tensor:
        """Rise of the weighted squared error if a position takes another token [positions, words]; inf for its own."""
        rest, weight, places = self._rest(tokens), self._precision, self._places
        taken = (weight[tokens] * (2.0 * rest[tokens] * places + places.square())).sum(dim=1)  # [positions]
        given = places.square() @ weight.T - 2.0 * places @ (weight * rest).T  # [positions, words]
        change = taken[:, None] + given
        return change.scatter(1, tokens[:, None], float("inf"))

    def _swaps(self, tokens: torch.Tensor) -> torch.Tensor:
        """Rise of the weighted squared error if two positions swap [positions, positions]; inf for like tokens."""
        rest, places = self._rest(tokens), self._places
        weight, pull = self._precision[tokens], (self._precision * rest)[tokens]  # [positions, width]
        change = places.new_full((len(tokens), len(tokens)), float("inf"))
        for first in range(len(tokens)):
            gap = places[first] - places  # [positions, width]
            delta = (gap.square() * (weight[first] + weight) + 2.0 * gap * (pull[first] - pull)).sum(dim=1)
            change[first] = torch.where(tokens == tokens[first], float("inf"), delta)
        return change

    def refine(self, tokens: torch.Tensor, steps: int = 200) -> torch.Tensor:
        """A placement [positions] after single moves and swaps, best first, that lower the weighted squared error."""
        for _ in range(steps):
            moves, swaps = self._moves(tokens), self._swaps(tokens)
            if min(float(moves.min()), float(swaps.min())) >= -1e-9:
                break
            tokens = tokens.clone()
            if moves.min() <= swaps.min():
                place, word = divmod(int(moves.argmin()), moves.shape[1])
                tokens[place] = word
            else:
                first, second = divmod(int(swaps.argmin()), swaps.shape[1])
                tokens[[first, second]] = tokens[[second, first]]
        return tokens
