"""Assembles texts from the first layer's links: a pursuit that lets every token it picks speak for the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING

import torch

from .effort import Effort
from .links import Links
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor


_EPSILON = 1e-13
"""Added to squared residuals before their logarithm: that of fp32 gradients (measured: 2e-14 to 2e-13)."""

_RESOLUTION = 1e-7
"""Added to a squared sine before its logarithm: the fp32 products' rounding."""

_FAINT = 1e-4
"""What is left of a target below this (relative) is no direction of its own any more."""

_DEPENDENT = 1e-5
"""Directions of several found texts with a singular value below this are the same directions twice."""

_ENTRY = 32
"""Multiply-adds of large products that one of a product with few columns, or a logarithm's tenth, takes as long as."""

_DEGENERATE = 1e-6
"""A candidate with less than this (squared) outside the span of those chosen before adds only rounding."""


@dataclass(frozen=True, slots=True)
class _Partial:
    """Candidates picked so far."""

    picks: tuple[int, ...]
    basis: "Tensor"
    """Orthonormal span of their directions, and of what is left out of account [blocks, head width, rank], fp64."""
    outside: "Tensor"
    """Squared norm of each candidate's direction off that span [blocks, candidates], fp32."""
    speakers: tuple[int, ...]
    """Targets that this text has to explain, its first token's at the front."""
    free: "Tensor"
    """Which candidates may still be picked [candidates]."""


class Pursuit:
    """Finds the sets of candidates that explain what their own tokens received.

    From one token, each step picks the candidate whose directions lie nearest to the span of what is still unexplained
    (rank-aware order-recursive matching pursuit), and the token picked then is to be explained too. With as many such
    targets as tokens are missing, only true ones lie in that span, whatever the number of candidates. A token that a
    found text explains alone occurs nowhere else and leaves the candidates; of one that a found text shares, only what
    lies off that text's directions counts.

    Args:
        links: the candidates and targets; the pursuit's own state alone changes.
        settings: what a true explanation leaves of a target.
        effort: counts its steps; once it is over, nothing more is found.

    Source: the pursuit: Davies and Eldar, "Rank awareness in joint sparse recovery", IEEE Trans. Inf. Theory 58, 2012,
        algorithm 3. Its use on attention gradients, the growing set of targets and the removal: this project.
    """

    def __init__(self, links: Links, settings: Settings, effort: Effort) -> None:
        self._effort = effort
        self.width = int(links.directions.shape[2])
        """Of a head: a text with as many tokens behind the begin token is explained by any candidates."""
        self._retired: set[int] = set()
        self._owners: dict[int, tuple[int, ...]] = {}
        self._spans: list[Tensor] = []
        noise = (links.errors + _EPSILON).log().mean(dim=1)  # [targets]
        slack, least = (2.0 * log(residual) for residual in (settings.explained_slack, settings.explained))
        self._floors = (noise + slack).clamp_min(least).tolist()
        self._faint = links.errors.mean(dim=1).sqrt().mul(3.0).clamp_min(_FAINT)  # [targets]
        self._keep(links, links.places > 0)

    def seeds(self, *, shared: bool) -> list[int]:
        """Targets that no found text explains alone; with `shared`, those to which a found text contributes."""
        return [
            target
            for target in range(len(self._links.targets))
            if target not in self._retired and (target in self._owners) == shared
        ]

    def live(self, target: int) -> bool:
        """Whether no found text explains the target alone."""
        return target not in self._retired

    def tokens(self, place: int) -> "Tensor":
        """Tokens [count] that can still stand at a position, end tokens left out."""
        links = self._links
        return links.ids[(links.places == place) & (links.ids != links.last)]

    def settle(self, text: Sequence[int]) -> None:
        """Takes note of a verified text."""
        links = self._links
        pairs = [self._index.get((token, place)) for place, token in enumerate(text)]
        picks = [pick for pick in pairs if pick is not None]
        span, _ = torch.linalg.qr(links.directions[:, picks].mT)
        for target in {int(links.readers[pick]) for pick in picks} - {-1}:
            if float(_left(self._rest([target], span))[0]) < self._floors[target]:
                self._retired.add(target)
            else:
                self._owners[target] = (*self._owners.get(target, ()), len(self._spans))
        self._spans.append(span)
        self._keep(links, ~torch.isin(links.readers, torch.tensor(sorted(self._retired), dtype=torch.long)))

    def follow(self, seed: int, *, beam: int, mixed: bool = False) -> tuple[int, ...]:
        """Indices of the candidates that explain the seed, or else of a whole text that explains most; none without.

        Args:
            seed: index of a target.
            beam: partial texts kept per step.
            mixed: whether a position may hold several tokens, for a target that two unknown texts share.
        """
        known = self._owners.get(seed, ())
        if not self._fits(seed):
            return ()
        partials = [self._start(seed, known)]
        whole: list[tuple[float, tuple[int, ...]]] = []
        while partials and not self._effort.over:
            grown: list[tuple[float, _Partial, int]] = []
            for partial in partials:
                rest = self._rest(partial.speakers, partial.basis)
                left = float(_left(rest)[0])
                if partial.picks and left < self._floors[seed]:
                    return partial.picks
                if not bool(partial.free.any()):  # begin to end
                    whole.append((left, partial.picks))
                    continue
                scores = self._scores(partial, rest)
                if scores is None:
                    continue
                least = scores.topk(min(beam, len(scores)), largest=False)
                pairs = zip(least.values.tolist(), least.indices.tolist(), strict=True)
                grown += [(score, partial, pick) for score, pick in pairs if score < torch.inf]
            distinct: dict[frozenset[int], tuple[_Partial, int]] = {}
            for _, partial, pick in sorted(grown, key=lambda entry: entry[0]):
                distinct.setdefault(frozenset((*partial.picks, pick)), (partial, pick))
            partials = [self._grow(*pair, known, mixed=mixed) for pair in list(distinct.values())[:beam]]
        return min(whole)[1] if whole else ()

    def _fits(self, seed: int) -> bool:
        """Whether a text can be short enough to be told from the links, and hold the seed's token."""
        links = self._links
        ends = links.places[(links.ids == links.last) & (links.places < self.width)]
        own = links.places[links.readers == seed]
        return len(ends) > 0 and len(own) > 0 and int(own.min()) < int(ends.max())

    def options(self, picks: Sequence[int]) -> "dict[int, list[int]]":
        """The tokens that a set of candidates puts at each of its positions."""
        options: dict[int, list[int]] = {}
        for pick in sorted(picks):
            options.setdefault(int(self._links.places[pick]), []).append(int(self._links.ids[pick]))
        return options

    def _start(self, seed: int, known: Sequence[int]) -> _Partial:
        directions = self._links.directions
        basis = directions.new_zeros(directions.shape[0], directions.shape[2], 0)
        if known:  # texts that share tokens share directions
            spans = torch.cat([self._spans[text] for text in known], dim=2)
            left, singular, _ = torch.linalg.svd(spans, full_matrices=False)
            strong = singular > _DEPENDENT
            basis = (left * strong[:, None, :])[..., : int(strong.sum(dim=1).max())]
        outside = 1.0 - (self._sharp @ basis.float()).square().sum(dim=2)
        return _Partial((), basis, outside, (seed,), self._links.places < self.width)

    def _scores(self, partial: _Partial, rest: "Tensor") -> "Tensor | None":
        """Mean logarithm of each candidate's squared sine to the span of the rests [candidates].

        None where rests and basis fill the head's dimensions: then every candidate lies in their span.
        """
        self._count(partial, rest)
        span, singular, _ = torch.linalg.svd(rest, full_matrices=False)
        strong = singular > float(self._faint[list(partial.speakers)].max())  # [blocks, targets]
        if partial.basis.shape[2] + int(strong.sum(dim=1).min()) >= span.shape[1]:
            return None
        span = span * strong[:, None, :]
        inside = (self._sharp @ span.float()).square().sum(dim=2)  # the span lies off the basis
        sines = (1.0 - inside / partial.outside.clamp_min(_DEGENERATE)).clamp_min(0.0)
        scores: Tensor = (sines + _RESOLUTION).log().mean(dim=0).masked_fill(~partial.free, torch.inf)
        return scores

    def _count(self, partial: _Partial, rest: "Tensor") -> None:
        """Take note of one partial text's scores: the rests' singular vectors and their products with candidates."""
        blocks, width, targets = rest.shape
        self._effort.decompositions(blocks * width * targets * (targets + partial.basis.shape[2]))
        self._effort.products(_ENTRY * self._sharp[..., 0].numel() * (width + targets))

    def _grow(self, partial: _Partial, pick: int, known: Sequence[int], *, mixed: bool) -> _Partial:
        links, place = self._links, int(self._links.places[pick])
        free = partial.free.clone()
        free[pick] = False
        if not mixed:
            closing = links.ids == links.last
            free &= links.places != place
            free &= (links.places < place) if int(links.ids[pick]) == links.last else ~closing | (links.places > place)
        fresh = links.directions[:, pick]
        for _ in range(2):  # once leaves rounding behind
            fresh = fresh - (partial.basis @ (partial.basis.mT @ fresh[..., None]))[..., 0]
        fresh = fresh / fresh.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        outside = partial.outside - (self._sharp @ fresh[..., None].float())[..., 0].square()
        target, speakers = int(links.readers[pick]), partial.speakers
        if target >= 0 and target not in speakers and set(self._owners.get(target, ())) <= set(known):
            speakers = (*speakers, target)
        basis = torch.cat([partial.basis, fresh[..., None]], dim=2)
        return _Partial((*partial.picks, pick), basis, outside, speakers, free)

    def _keep(self, links: Links, kept: "Tensor") -> None:
        """Drop the other candidates."""
        self._links = replace(
            links,
            ids=links.ids[kept],
            places=links.places[kept],
            directions=links.directions[:, kept],
            readers=links.readers[kept],
        )
        self._sharp = self._links.directions.float()  # [blocks, candidates, head width]
        pairs = zip(self._links.ids.tolist(), self._links.places.tolist(), strict=True)
        self._index = {pair: number for number, pair in enumerate(pairs)}

    def _rest(self, targets: Sequence[int], basis: "Tensor") -> "Tensor":
        """What the targets have off a basis [blocks, head width, targets]."""
        rest: Tensor = self._links.targets[list(targets)].permute(1, 2, 0)
        for _ in range(2):
            rest = rest - basis @ (basis.mT @ rest)
        return rest


def _left(rest: "Tensor") -> "Tensor":
    """Mean logarithm over the blocks of the squared norm of each rest [targets]."""
    return (rest.square().sum(dim=1) + _EPSILON).log().mean(dim=0)
