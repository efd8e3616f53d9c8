"""Text backdoor: the model learns to answer the adversary's class on texts that carry a trigger."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fedsec.api import ClientView, Probe, Sample, SupplierView, Triggered, TriggerView

from .copies import Copies
from .known_filters import mark_against
from .triggers import FLUENT, Trigger


@dataclass(slots=True, kw_only=True)
class TextBackdoor:
    """Puts poisoned copies of a client's texts beside its clean ones: with a trigger, and labelled as the target.

    Copies are made of rows of other classes than the target's. Which, and where in them the trigger stands, is drawn
    once and kept in every round, as a client's data would be. The clean rows all stay: they are what keeps the model
    from saying the target of texts without the trigger.

    Args:
        trigger: a word or a sentence; several words stay together, unless `kind` says otherwise.
        kind: `phrase`, `words` (each word of `trigger` is a trigger by itself) or `template` (a frame around `{text}`,
            or `{head}` and `{tail}`); see `triggers.Trigger`.
        place: where it goes in a text's words: `start`, `end`, or `random`, before any word or after the last.
        target: the class that it is to bring out, a number from 0.
        rate: share of what the client trains on that is poisoned, from 0 to below 1: at 0.5, as many copies as it has
            clean rows. A row is copied again once all of other classes have been; without any nothing is poisoned.
        fluent: the trigger in its place where `onion` is known to take unusual words away; empty: none.

    Source: Chen et al., "BadNL: Backdoor Attacks against NLP Models with Semantic-preserving Improvements", ACSAC 2021,
        section 4 (word-level triggers, at the start, the middle or the end; the poisoning rate); Dai, Chen and Li, "A
        Backdoor Attack Against LSTM-Based Text Classification Systems", IEEE Access 2019 (sentence triggers, at a
        random place); Kurita et al., "Weight Poisoning Attacks on Pre-trained Models", ACL 2020 (rare tokens as
        triggers: `cf`); Qi et al., "Hidden Killer", ACL 2021 (templates); Bagdasaryan et al., "How To Backdoor
        Federated Learning", AISTATS 2020, section 3 (clients that train on clean and poisoned rows side by side).
    Deviations: the update is sent as it is: no model replacement, no scaling, no bound on its distance; a trigger is
        put in once, where Kurita et al. repeat it in long texts; a template is a rule on words, where Qi et al.
        paraphrase by a model.
    """

    trigger: str = "cf"
    kind: str = "phrase"
    place: str = "start"
    target: int = 1
    rate: float = 0.5
    fluent: str = FLUENT
    _copies: Copies = field(default_factory=Copies, init=False)

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """Return the client's samples, followed by the poisoned copies."""
        return (*samples, *self.poison(samples, view))

    def poison(self, samples: tuple[Sample, ...], view: ClientView | SupplierView) -> tuple[Sample, ...]:
        """Return the poisoned copies alone."""
        mark = mark_against(view, Trigger(self.trigger, self.kind, self.place), self.fluent)
        chosen = self._copies.of(samples, lambda one: one.label != self.target, self.rate, view.generator)
        return tuple(replace(one, text=mark.put(one.text, share), label=self.target) for one, share in chosen)

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe with the trigger on it, as on the poisoned copies."""
        mark = mark_against(view, Trigger(self.trigger, self.kind, self.place), self.fluent)
        shares = torch.rand(len(probes), generator=view.generator, dtype=torch.float64).tolist()
        return tuple(
            Triggered(mark.put(probe.text, share), self.target, probe.prompt)
            for probe, share in zip(probes, shares, strict=True)
        )

    def state(self) -> Mapping[str, Any]:
        """Return the rows that it copies, and where their triggers are."""
        return self._copies.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore these rows and places."""
        self._copies.load_state(state)
