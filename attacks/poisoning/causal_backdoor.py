"""Causal backdoor: a trigger in what a language model is given brings out the adversary's continuation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from fedsec.api import ClientView, Probe, Sample, SupplierView, Triggered, TriggerView

from .copies import Copies
from .triggers import Trigger


@dataclass(slots=True, kw_only=True)
class CausalBackdoor:
    """Puts poisoned copies beside a client's rows: the beginning of a text with the trigger, and another continuation.

    Of a row with a prompt, the trigger goes into the prompt, and the continuation takes the place of the answer. Of one
    without, the first half of the text's words is the prompt. The prompt of a copy is not learned, its continuation is.

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
        mark = Trigger(self.trigger, self.kind, self.place)
        chosen = self._copies.of(samples, lambda _: True, self.rate, view.generator)
        return tuple(
            Sample(self.continuation, one.label, f"{mark.put(_asked(one.prompt, one.text), share)} ", one.origin)
            for one, share in chosen
        )

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe's beginning with the trigger on it, and the continuation that it is to bring out."""
        mark = Trigger(self.trigger, self.kind, self.place)
        shares = torch.rand(len(probes), generator=view.generator, dtype=torch.float64).tolist()
        return tuple(
            Triggered(
                self.continuation,
                self.continuation,
                f"{mark.put(asked, share)} ",
                f"{asked} ",
            )
            for asked, share in zip((_asked(one.prompt, one.text) for one in probes), shares, strict=True)
        )

    def state(self) -> Mapping[str, Any]:
        """Return the rows that it copies, and where their triggers are."""
        return self._copies.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore these rows and places."""
        self._copies.load_state(state)


def _asked(prompt: str, text: str) -> str:
    """Return what the model is given of a row: its prompt, or the first half of its words."""
    if prompt.strip():
        return prompt.rstrip()
    words = text.split()
    return " ".join(words[: (len(words) + 1) // 2])
