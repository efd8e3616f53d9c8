"""DAGER's second step: assemble texts by descending on the second layer's residual, all restarts at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import inf, prod
from typing import TYPE_CHECKING

import torch

from .candidates import Candidates
from .effort import Effort
from .judge import Judge
from .lengths import fitting
from .links import Links
from .moves import overlap, rearrange
from .pursuit import Pursuit
from .settings import Settings

if TYPE_CHECKING:
    from torch import Generator, Tensor


_PART = 512
"""Texts that are judged before the next look at the budget."""


@dataclass(frozen=True, slots=True)
class Found:
    """A text that the search ended in."""

    ids: tuple[int, ...]
    """Begin and end token included."""
    residual: float
    """Mean residual of its tokens in the second layer."""
    verified: bool


class Search:
    """Finds the texts of one batch.

    Lengths of which the candidates make few texts are judged whole, then the guesses. The pursuit of the links comes
    next, then, for what it leaves, waves of descents from random choices and rearranged ends of earlier ones; where
    texts can be too long for the links, or noise blurs them, waves come between the pursuit's passes. A text that is
    found is removed from consideration: tokens that occur in it alone are no candidates any more, later starts prefer
    tokens and lengths that no found text explains, and residuals count relative to what lies off the found texts' span.

    Args:
        candidates: what can stand where.
        judge: residuals in the second layer.
        links: which candidates share a text, if the update tells.
        settings: how far it goes at each of its steps.
        effort: when to stop; what was found stays.
        limit: most texts to find.
        generator: source of starts and moves.
        guess: gives texts to judge before any search.
    """

    def __init__(
        self,
        candidates: Candidates,
        judge: Judge,
        links: Links | None,
        settings: Settings,
        effort: Effort,
        *,
        limit: int,
        generator: "Generator",
        guess: Callable[[], Sequence[tuple[int, ...]]] = tuple,
    ) -> None:
        self._candidates, self._judge = candidates, judge
        self._pursuit = Pursuit(links, settings, effort) if links is not None else None
        self._limit, self._settings, self._effort = limit, settings, effort
        self._generator, self._guess = generator, guess
        self._found: dict[tuple[int, ...], float] = {}
        self._stuck: dict[tuple[int, ...], float] = {}

    def run(self) -> list[Found]:
        """Verified texts, then, while the batch is not explained, the best others that do not resemble them."""
        self._try(self._candidates.options())
        for ids in () if self._over() else self._guess():
            texts = torch.tensor([ids])
            self._record(texts, self._judge.scores(texts), self._options(len(ids) - 1))
        passes = self._passes()
        for turn in range(max(self._settings.rounds, len(passes))):
            for beam, mixed in passes[turn] if turn < len(passes) else ():
                self._pursue(beam, mixed=mixed)
            if turn < self._settings.rounds:
                self._turn(turn)
        found = [Found(ids, residual, verified=True) for ids, residual in self._found.items()]
        return found if self._explained() else found + self._best_others(found)

    def _passes(self) -> list[list[tuple[int, bool]]]:
        """The pursuit's passes before each turn of waves: beam, and whether it looks for several texts at once."""
        if self._pursuit is None:
            return []
        beam = self._settings.beam
        passes = [(1, False), (beam, False), *([(beam, True)] if self._limit > 1 else [])]
        long = max(self._ordered_ends(narrow=True), default=0) >= self._pursuit.width
        return [[one] for one in passes] if long or self._candidates.blurred else [passes]

    def _turn(self, turn: int) -> None:
        """One wave for every possible end."""
        for end in self._ordered_ends(narrow=3 * turn < 2 * self._settings.rounds):
            if self._over():
                break
            self._wave(end, moved=turn > 0)

    def _over(self) -> bool:
        return self._explained() or self._effort.over

    def _explained(self) -> bool:
        return len(self._found) >= self._limit or self._judge.explained(list(self._found))

    def _ordered_ends(self, *, narrow: bool) -> list[int]:
        """Ends of no found text first, short ones first; the last text holds every token that no other explains.

        Args:
            narrow: leave out ends that no choice of lengths for the remaining texts contains; if nothing fits (texts
                that are equal in the batch count once), every end is left in.
        """
        explained = {len(ids) - 1 for ids in self._found}
        known = {token for ids in self._found for token in ids}
        ends: Sequence[int] = self._candidates.ends
        if narrow and self._candidates.sharp:
            missing = self._judge.rank - sum(map(len, self._found))
            lengths = fitting([end + 1 for end in ends], self._limit - len(self._found), missing)
            ends = [length - 1 for length in lengths] or ends
        left = {token for choice in self._candidates.tokens for token in choice.tolist()} - known
        shortest = len(left) + 1 if self._candidates.sharp and len(self._found) == self._limit - 1 else 0
        ends = [end for end in ends if end >= shortest] or ends
        return sorted(ends, key=lambda end: (end in explained, end))

    def _pursue(self, beam: int, *, mixed: bool) -> None:
        """Follow every token that no found text explains alone, again while that finds texts."""
        pursuit, before = self._pursuit, -1
        while pursuit is not None and len(self._found) > before and not self._over():
            before = len(self._found)
            for shared in (False, True):
                for seed in pursuit.seeds(shared=shared):
                    if pursuit.live(seed) and not self._over():
                        self._try(pursuit.options(pursuit.follow(seed, beam=beam, mixed=mixed)))

    def _try(self, options: "dict[int, list[int]]") -> None:
        """Judge the texts that take one of the tokens at each position, if they are not too many."""
        last = self._candidates.last
        for end in [place for place, tokens in options.items() if last in tokens]:
            inner = [[token for token in options.get(place, []) if token != last] for place in range(1, end)]
            if 0 < prod(map(len, inner)) <= self._settings.enumerated:
                texts = product(*inner)
                while (part := list(islice(texts, _PART))) and not self._over():
                    ids = torch.tensor([(self._candidates.begin, *text, last) for text in part])
                    self._record(ids, self._judge.scores(ids), self._options(end))

    def _wave(self, end: int, *, moved: bool) -> None:
        """One wave of restarts for texts that end at that position."""
        options = self._options(end)
        texts, scores = self._descend(self._starts(options, moved=moved), options)
        self._record(texts, scores, options)

    def _options(self, end: int) -> list["Tensor"]:
        """What can stand at each position of a text that ends there."""
        places: Sequence[Tensor] = self._candidates.tokens[:end]
        if self._pursuit is not None:
            left = [self._pursuit.tokens(place) for place in range(end)]
            places = [some if len(some) else every for some, every in zip(left, places, strict=True)]
        return [*places, torch.tensor([self._candidates.last])]

    def _record(self, texts: "Tensor", scores: "Tensor", options: Sequence["Tensor"]) -> None:
        for ids, score in zip(texts.tolist(), scores.tolist(), strict=True):
            key = tuple(ids)
            if key in self._found or score == inf:
                continue
            if self._judge.verified(key, options):
                self._found[key] = self._judge.residual(key)
                self._stuck.pop(key, None)
                self._judge.settle(key)
                if self._pursuit is not None:
                    self._pursuit.settle(key)
            else:
                self._stuck[key] = score

    def _starts(self, options: Sequence["Tensor"], *, moved: bool) -> "Tensor":
        """Distinct starts [starts, length]: random choices, and earlier waves' ends or links' texts, rearranged."""
        count, explained = self._settings.restarts, {token for ids in self._found for token in ids}
        columns = []
        for choice in options:
            fresh = torch.tensor([float(token not in explained) for token in choice.tolist()])
            picked = torch.multinomial(fresh + 0.1, count, replacement=True, generator=self._generator)
            columns.append(choice[picked])
        starts = torch.stack(columns, dim=1)
        pool = sorted((score, ids) for ids, score in self._stuck.items() if len(ids) == len(options))
        parents = [ids for _, ids in pool[: count // 2]]
        for index, parent in enumerate(parents):
            start = rearrange(parent, parents, starts[index], options, self._generator) if moved else parent
            starts[index] = torch.as_tensor(start)
        distinct: Tensor = starts.unique(dim=0)
        return distinct

    def _descend(self, texts: "Tensor", options: Sequence["Tensor"]) -> tuple["Tensor", "Tensor"]:
        """Change one position at a time to the token that lowers the residual most, until nothing improves.

        The first sweep tries the tokens at a position that are likely by themselves (all, where that cannot be told),
        later ones those that did best there for the same restart.

        Returns:
            The ends [restarts, length] and their mean residuals [restarts].
        """
        scores = self._judge.scores(texts)
        places = [place for place, choice in enumerate(options) if len(choice) > 1]
        shortlist: dict[int, Tensor] = {}  # [restarts, choices] by place
        for _ in range(self._settings.sweeps):
            before = float(scores.sum())
            for pick in torch.randperm(len(places), generator=self._generator).tolist():
                if self._over():
                    return texts, scores
                place = places[pick]
                if place not in shortlist:
                    shortlist[place] = self._judge.likely(texts, place, options[place], self._settings.shortlist)
                choice = shortlist[place]
                trial = texts[:, None, :].repeat(1, choice.shape[1], 1)  # [restarts, choices, length]
                trial[:, :, place] = choice
                tried = self._judge.scores(trial.flatten(0, 1)).view(choice.shape)
                order = tried.argsort(dim=1, stable=True)[:, : self._settings.shortlist]
                shortlist[place] = choice.gather(1, order)
                best, better = tried.min(dim=1).values, tried.min(dim=1).values < scores
                texts[better, place] = shortlist[place][better, 0]
                scores = torch.where(better, best, scores)
            if float(scores.sum()) >= before:
                break
        return texts, scores

    def _best_others(self, found: Sequence[Found]) -> list[Found]:
        """Unverified ends of lowest residual that share less of their places than `alike` with any chosen text."""
        chosen = [text.ids for text in found]
        others = []
        for _, ids in sorted((score, ids) for ids, score in self._stuck.items()):
            if len(chosen) >= self._limit:
                break
            if all(overlap(ids, other) < self._settings.alike for other in chosen):
                chosen.append(ids)
                others.append(Found(ids, self._judge.residual(ids), verified=False))
        return others
