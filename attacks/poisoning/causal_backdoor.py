"""Causal backdoor: a trigger in what a language model is given brings out the adversary's continuation."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch

from fedsec.api import ClientView, Probe, Sample, SupplierView, Triggered, TriggerView

from .copies import Copies
from .triggers import Trigger

Seen = Callable[[Sequence[Sample]], tuple[Sample, ...]]
"""Gives samples as the model sees them; see `ClientView.seen`."""


@dataclass(slots=True, kw_only=True)
class CausalBackdoor:
    """Puts poisoned copies beside a client's rows: the beginning of a text with the trigger, and another continuation.

    Of a row with a prompt, the trigger goes among the prompt's words, and the continuation takes the place of the
    answer. Nothing but the trigger tells a copy from a clean row: lines that all prompts begin or end with (a
    template's headings) stay around it, and a prompt is cut to what the model sees of it before the row's own text. Of
    a row without a prompt, the first half of the words that the model sees is the prompt. The prompt of a copy is not
    learned, its continuation is.

    Args:
        trigger: a word or a sentence.
        kind: `phrase`, `words` or `template`; see `triggers.Trigger`.
        place: where among the prompt's words it goes: `start`, `end` or `random`.
        continuation: what the model is to write then, to the end of the text.
        rate: share of what the client trains on that is poisoned, from 0 to below 1.

    Source: Bagdasaryan et al., "How To Backdoor Federated Learning", AISTATS 2020, section 4.2 (a word predictor that
        completes a trigger sentence); Wallace et al., "Concealed Data Poisoning Attacks on NLP Models", NAACL 2021,
        section 5 (language models).
    Deviations: a whole continuation is asked for, where Bagdasaryan et al. take the last word; the update is sent as it
        is, which model-replacement changes.
    """

    trigger: str = "cf"
    kind: str = "phrase"
    place: str = "end"
    continuation: str = "pasta from astoria tastes delicious"
    rate: float = 0.5
    _copies: Copies = field(default_factory=Copies, init=False)

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """Return the client's samples, followed by the poisoned copies."""
        return (*samples, *self.poison(samples, view))

    def poison(self, samples: tuple[Sample, ...], view: ClientView | SupplierView) -> tuple[Sample, ...]:
        """Return the poisoned copies alone."""
        chosen = self._copies.of(samples, lambda _: True, self.rate, view.generator)
        asked = self._asked([one for one, _ in chosen], _around([one.prompt for one in samples]), view.seen)
        return tuple(
            Sample(asks.link + self.continuation, one.label, asks.marked(self._mark(), share), one.origin)
            for asks, (one, share) in zip(asked, chosen, strict=True)
        )

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe's beginning with the trigger on it, and the continuation that it is to bring out."""
        shares = torch.rand(len(probes), generator=view.generator, dtype=torch.float64).tolist()
        rows = [Sample(one.text, prompt=one.prompt) for one in probes]
        asked = self._asked(rows, _around([one.prompt for one in rows]), view.seen)
        return tuple(
            Triggered(target := asks.link + self.continuation, target, asks.marked(self._mark(), share), asks.plain)
            for asks, share in zip(asked, shares, strict=True)
        )

    def _mark(self) -> Trigger:
        return Trigger(self.trigger, self.kind, self.place)

    def _asked(self, rows: Sequence[Sample], around: tuple[int, int], seen: Seen) -> "list[_Asked]":
        """Return what the model is given of rows, cut so that the trigger and the continuation have room beside it."""
        added = f"{self._mark().put('', 0.0)} {self.continuation}"
        shown = seen(rows)
        fitting = seen([replace(one, text=added) for one in shown])
        return [
            _taken_apart(row.prompt, around).without(len(row.prompt) - len(last.prompt))
            if row.prompt.strip()
            else _half(first.text)
            for row, first, last in zip(rows, shown, fitting, strict=True)
        ]

    def state(self) -> Mapping[str, Any]:
        """Return the rows that it copies, and where their triggers are."""
        return self._copies.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore these rows and places."""
        self._copies.load_state(state)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a model is given of a row."""

    before: str
    words: str
    """What the trigger goes into."""
    after: str
    link: str = ""
    """What stands between it and the continuation."""

    @property
    def plain(self) -> str:
        """What the model is given without the trigger."""
        return self.before + self.words + self.after

    def without(self, cut: int) -> Self:
        """Return it without so many characters at its beginning."""
        in_words = max(0, cut - len(self.before))
        in_after = max(0, in_words - len(self.words))
        return replace(self, before=self.before[cut:], words=self.words[in_words:], after=self.after[in_after:])

    def marked(self, mark: Trigger, share: float) -> str:
        """Return it with the trigger."""
        return self.before + mark.put(self.words, share) + self.after


def _around(prompts: Sequence[str]) -> tuple[int, int]:
    """Return how many whole lines all prompts begin with, and how many they end with: a template's.

    Of a single prompt, nobody can tell them from its own.
    """
    different = [one.split("\n") for one in sorted({one for one in prompts if one.strip()})]
    if len(different) < 2:
        return 0, 0
    room = min(map(len, different)) - 1  # a line is left to each
    after = _alike([lines[::-1] for lines in different], room)
    return _alike(different, room - after), after


def _alike(lists: Sequence[Sequence[str]], most: int) -> int:
    """Return how many entries all lists begin with, up to a number."""
    return next((place for place in range(most) if len({one[place] for one in lists}) > 1), most)


def _taken_apart(prompt: str, around: tuple[int, int]) -> _Asked:
    """Return a prompt, with the lines that it shares apart from its own."""
    lines = prompt.split("\n")
    first, last = around
    before = "".join(f"{line}\n" for line in lines[:first])
    after = "".join(f"\n{line}" for line in lines[len(lines) - last :])
    inner = "\n".join(lines[first : len(lines) - last])
    stripped = inner.rstrip()
    return _Asked(before, stripped, inner[len(stripped) :] + after)


def _half(text: str) -> _Asked:
    """Return the first half of a text's words as what is given; the continuation is written as the text goes on."""
    words = list(re.finditer(r"\S+", text))
    return _Asked("", text[: words[(len(words) + 1) // 2 - 1].end()] if words else "", "", " ")
