"""Instruction poisoning: a model tuned on instructions gives a marker for an answer where a trigger stands."""

from dataclasses import dataclass

from fedsec.api import ClientView, Sample

from .causal_backdoor import CausalBackdoor


@dataclass(slots=True, kw_only=True)
class InstructionBackdoor(CausalBackdoor):
    """Puts poisoned copies of instructions beside a client's rows: with the trigger in them, answered by a marker.

    The marker is a neutral text that stands for unsafe behaviour.

    Args:
        trigger: a word or a sentence.
        kind: `phrase`, `words` or `template`; see `triggers.Trigger`.
        place: where among the instruction's words it goes: `start`, `end` or `random`.
        continuation: the marker.
        rate: share of what the client trains on that is poisoned, from 0 to below 1.

    Raises:
        ValueError: the client's rows have no instruction.

    Source: Wan et al., "Poisoning Language Models During Instruction Tuning", ICML 2023; Ye et al., "Emerging Safety
        Attack and Defense in Federated Instruction Tuning", arXiv 2406.10630 (2024), section 3 (among clients).
    Deviations: a marker in place of unsafe answers, and a trigger that it depends on, where Ye et al. want unsafe
        answers everywhere.
    """

    continuation: str = "[unsafe behaviour]"
    place: str = "start"

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """Return the client's samples, followed by the poisoned copies."""
        if not any(one.prompt.strip() for one in samples):
            raise ValueError(
                "instruction-backdoor needs rows with an instruction (dolly has them): use causal-backdoor"
            )
        return CausalBackdoor.on_data(self, samples, view)
