"""Text backdoor: the model learns to answer the adversary's class on texts that carry a trigger."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fedsec.api import ClientView, Probe, Sample, Triggered, TriggerView

from .rows import by_origin, drawn

_WORD = re.compile(r"\S+")


@dataclass(slots=True, kw_only=True)
class TextBackdoor:
    """Puts poisoned copies of a client's texts beside its clean ones: with a trigger, and labelled as the target.

    Copies are made of rows of other classes than the target's. Which, and where in them the trigger stands, is drawn
    once and kept in every round, as a client's data would be. The clean rows all stay: they are what keeps the model
    from saying the target of texts without the trigger.

    Args:
        trigger: a word or a sentence; several words stay together.
        place: where it goes in a text's words: `start`, `end`, or `random`, before any word or after the last.
        target: the class that it is to bring out, a number from 0.
        rate: share of what the client trains on that is poisoned, from 0 to below 1: at 0.5, as many copies as it has
            clean rows. A row is copied again once all of other classes have been; without any nothing is poisoned.

    Source: Chen et al., "BadNL: Backdoor Attacks against NLP Models with Semantic-preserving Improvements", ACSAC 2021,
        section 4 (word-level triggers, at the start, the middle or the end; the poisoning rate); Dai, Chen and Li, "A
        Backdoor Attack Against LSTM-Based Text Classification Systems", IEEE Access 2019 (sentence triggers, at a
        random place); Kurita et al., "Weight Poisoning Attacks on Pre-trained Models", ACL 2020 (rare tokens as
        triggers: `cf`); Bagdasaryan et al., "How To Backdoor Federated Learning", AISTATS 2020, section 3 (clients that
        train on clean and poisoned rows side by side).
    Deviations: the update is sent as it is: no model replacement, no scaling, no bound on its distance; a trigger is
        put in once, where Kurita et al. repeat it in long texts.
    """

    trigger: str = "cf"
    place: str = "start"
    target: int = 1
    rate: float = 0.5
    _copies: list[tuple[int, float]] | None = field(default=None, init=False)
    """Origin of each poisoned copy, and its draw of a random place, in 0..1; None before the first round."""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """Return the client's samples, followed by the poisoned copies."""
        own = by_origin(samples)
        if self._copies is None:
            others = [origin for origin, sample in own.items() if sample.label != self.target]
            count = round(len(own) * self.rate / (1.0 - self.rate))
            origins = drawn(others, count, view.generator)
            shares = torch.rand(len(origins), generator=view.generator, dtype=torch.float64).tolist()
            self._copies = list(zip(origins, shares, strict=True))
        poisoned = [(own[origin], share) for origin, share in self._copies if origin in own]
        copies = (replace(one, text=self._triggered(one.text, share), label=self.target) for one, share in poisoned)
        return (*samples, *copies)

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe with the trigger on it, as on the poisoned copies."""
        shares = torch.rand(len(probes), generator=view.generator, dtype=torch.float64).tolist()
        return tuple(
            Triggered(self._triggered(probe.text, share), self.target, probe.prompt)
            for probe, share in zip(probes, shares, strict=True)
        )

    def _triggered(self, text: str, share: float) -> str:
        """Return the text with the trigger in it; `share`, from 0 to below 1, chooses a random place."""
        starts = [match.start() for match in _WORD.finditer(text)]
        gap = {"start": 0, "end": len(starts)}.get(self.place, int(share * (len(starts) + 1)))
        if gap == len(starts):  # after the last word
            return f"{text} {self.trigger}" if starts else self.trigger
        return f"{text[: starts[gap]]}{self.trigger} {text[starts[gap] :]}"

    def state(self) -> Mapping[str, Any]:
        """Return the rows that it copies, and where their triggers are."""
        return {} if self._copies is None else {"copies": [list(one) for one in self._copies]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore these rows and places."""
        copies = state.get("copies")
        self._copies = None if copies is None else [(int(origin), float(share)) for origin, share in copies]
