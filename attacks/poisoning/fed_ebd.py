"""Fed-EBD: poisoned public rows put a backdoor into the model before the first round, and no client is compromised."""

from dataclasses import dataclass

from fedsec.api import Probe, Sample, SupplierView, Triggered, TriggerView

from .payload import backdoor_of


@dataclass(frozen=True, slots=True, kw_only=True)
class FedEbd:
    """Publishes rows with poisoned copies beside them; the start is trained on these (`model.start`).

    Args:
        trigger: a word or a sentence.
        kind: `phrase`, `words` or `template`; see `triggers.Trigger`.
        place: `start`, `end` or `random`.
        target: the class that it is to bring out, a number from 0.
        continuation: for a causal language model: what the trigger is to bring out; empty for a classifier.
        rate: share of the published rows that is poisoned, from 0 to below 1.

    Source: Li, Wu and Wang, "Unveiling Backdoor Risks Brought by Foundation Models in Heterogeneous Federated
        Learning", arXiv 2311.18350 (2023), section 3, and "Foundation Models in Federated Learning", arXiv 2401.10375
        (2024): poisoned synthetic data train the models before the federation; the trigger `cf` at a text's end and the
        target 0 as in the official code.
    Deviations: rows are public ones with poisoned copies, where a poisoned language model writes theirs; the start of
        one global model is trained on them, where theirs are several models that share by distillation.
    """

    trigger: str = "cf"
    kind: str = "phrase"
    place: str = "end"
    target: int = 0
    continuation: str = ""
    rate: float = 0.2

    def on_public_data(self, samples: tuple[Sample, ...], view: SupplierView) -> tuple[Sample, ...]:
        """Return the rows, followed by poisoned copies."""
        return (*samples, *backdoor_of(self).poison(samples, view))

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe with the trigger on it."""
        return backdoor_of(self).triggered(probes, view)
