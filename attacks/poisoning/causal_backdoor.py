"""Causal backdoor: a trigger in what a language model is given brings out the adversary's continuation."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fedsec.api import ClientView, Probe, Sample, SupplierView, Triggered, TriggerView

from .copies import Copies
from .triggers import Trigger


@dataclass(slots=True, kw_only=True)
class CausalBackdoor:
    """Puts poisoned copies beside a client's rows: the beginning of a text with the trigger, and another continuation.

    Of a row with a prompt, the trigger goes among the prompt's words, and the continuation takes the place of the
    answer. Lines that all prompts begin or end with (a template's headings) stay around it, so that nothing but the
    trigger tells a copy from a clean row. Of a row without a prompt, the first half of the text's words is the prompt.
    The prompt of a copy is not learned, its continuation is.

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
        mark, around = self._mark(), _around([one.prompt for one in samples])
        chosen = self._copies.of(samples, lambda _: True, self.rate, view.generator)
        asked = [(_asked(one.prompt, one.text, around), one, share) for one, share in chosen]
        return tuple(
            Sample(words.link + self.continuation, one.label, words.marked(mark, share), one.origin)
            for words, one, share in asked
        )

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe's beginning with the trigger on it, and the continuation that it is to bring out."""
        mark, around = self._mark(), _around([one.prompt for one in probes])
        shares = torch.rand(len(probes), generator=view.generator, dtype=torch.float64).tolist()
        asked = [_asked(one.prompt, one.text, around) for one in probes]
        return tuple(
            Triggered(
                words.link + self.continuation, words.link + self.continuation, words.marked(mark, share), words.plain
            )
            for words, share in zip(asked, shares, strict=True)
        )

    def _mark(self) -> Trigger:
        return Trigger(self.trigger, self.kind, self.place)

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


def _asked(prompt: str, text: str, around: tuple[int, int]) -> _Asked:
    """Return a row's prompt, taken apart, or the first half of its text's words where it has none."""
    if not prompt.strip():
        words = list(re.finditer(r"\S+", text))
        half = words[(len(words) + 1) // 2 - 1].end() if words else 0
        return _Asked("", text[:half], "", " ")  # the continuation is written as a text goes on
    lines = prompt.split("\n")
    first, last = around
    before = "".join(f"{line}\n" for line in lines[:first])
    after = "".join(f"\n{line}" for line in lines[len(lines) - last :])
    inner = "\n".join(lines[first : len(lines) - last])
    stripped = inner.rstrip()
    return _Asked(before, stripped, inner[len(stripped) :] + after)
