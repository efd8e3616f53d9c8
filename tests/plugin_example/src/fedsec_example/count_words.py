"""Reads off a client's update how long its text is."""

from dataclasses import dataclass

from fedsec.api import Evidence, Role


@dataclass(frozen=True, kw_only=True)
class CountWords:
    """Counts the words whose embedding an update moves: a text has about as many tokens.

    Source: none, an example. Deviations: a word that stands twice counts once, and those of a batch count together.
    """

    def estimate(self, evidence: Evidence) -> dict[int, float]:
        """The mean over the rounds for each client."""
        counts: dict[int, list[int]] = {}
        for number in evidence.rounds:
            view = evidence.at(number)
            words = view.model.layout.find(Role.WORD_EMBEDDING)
            for client, row in zip(view.clients, view.rows if view.rows is not None and words else (), strict=False):
                moved = view.model.layout.tensor(row, words[0].name).abs().amax(dim=1)  # [vocabulary]
                counts.setdefault(client, []).append(int((moved > 0).sum()))
        return {client: sum(found) / len(found) for client, found in counts.items()}
