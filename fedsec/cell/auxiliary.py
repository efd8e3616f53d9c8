"""Auxiliary text: what a scenario grants of it, without what it shares with the texts that a federation holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fedsec.api import Auxiliary
from fedsec.cell.resources import Resources
from fedsec.config.schema import Scenario
from fedsec.data.corpus import Example
from fedsec.data.overlap import RUN, sift
from fedsec.errors import FedsecError
from fedsec.models.base import CAUSAL_LM
from fedsec.models.fingerprint import fingerprint
from fedsec.seeds import SeedTree
from fedsec.store.keys import digest


class _Learner:
    """Trains the language model when it is first requested, and keeps it."""

    def __init__(self, scenario: Scenario, texts: Sequence[str], tokenizer: Any) -> None:
        self._scenario, self._texts, self._tokenizer = scenario, texts, tokenizer
        self._model: Any = None
        self._made: tuple[float, ...] = ()

    def __call__(self) -> Any:
        if self._model is None:
            self._model = self._learn()
            self._made = fingerprint(self._model)
        return self._model

    def changed(self) -> bool:
        """Return whether the model was changed since it was trained."""
        return self._model is not None and (self._model.training or fingerprint(self._model) != self._made)

    def _learn(self) -> Any:
        from fedsec.models.language_prior import ready_prior, train_prior

        given, longest = self._scenario.threat.auxiliary, self._scenario.data.max_tokens
        if given.model is not None:
            return ready_prior(given.model, self._tokenizer)
        rows = framed(self._texts, self._tokenizer, longest, ended=self._scenario.model.task == CAUSAL_LM)
        return train_prior(rows, self._tokenizer, positions=longest, steps=given.training_steps)


@dataclass(frozen=True, slots=True)
class Granted:
    """Auxiliary text as it is granted."""

    auxiliary: Auxiliary
    learner: _Learner
    """Gives the language model."""
    dropped: int
    """Number of texts that were left out because they share text with the federation."""


@dataclass(slots=True)
class PublicText:
    """The auxiliary text of scenarios that share a training.

    Args:
        resources: loaded corpora.
        held: every row of the clients, the server and the test set.
        tokenizer: of the victim.
    """

    resources: Resources
    held: Sequence[Example]
    tokenizer: Any
    _found: dict[str, Granted] = field(default_factory=dict)

    def of(self, scenario: Scenario) -> Granted:
        """Return the auxiliary text that a scenario grants, filtered once.

        Raises:
            FedsecError: it grants none, it cannot be read, has too few rows, or nothing is left of it.
        """
        key = digest([scenario.threat.auxiliary.model_dump(mode="json"), scenario.data.max_tokens, scenario.model.task])
        if key not in self._found:
            self._found[key] = self._sifted(scenario)
        return self._found[key]

    def changed(self) -> bool:
        """Return whether a granted language model was changed."""
        return any(granted.learner.changed() for granted in self._found.values())

    def _sifted(self, scenario: Scenario) -> Granted:
        given = scenario.threat.auxiliary
        if not given.given:
            raise FedsecError(
                "threat.knowledge grants auxiliary-text, and threat.auxiliary names none; give its `name` (run: fedsec "
                "list datasets) or `path`"
            )
        what = given.name or given.path
        rows = self.resources.auxiliary(scenario)
        if given.rows is not None and given.rows > len(rows):
            raise FedsecError(
                f"threat.auxiliary.rows {given.rows} is more than the {len(rows):,} training rows of {what}"
            )
        order = SeedTree(0).numpy("auxiliary rows").permutation(len(rows))  # the same for every seed: one training
        texts, dropped = sift((rows[i].whole for i in order), (row.whole for row in self.held), given.rows)
        if not texts:
            raise FedsecError(
                f"nothing is left of the auxiliary text {what}: all {dropped:,} rows share {RUN} words in a row with "
                "texts of the clients, the server or the test set; give another set, or lower data.train"
            )
        learner = _Learner(scenario, texts, self.tokenizer)
        return Granted(Auxiliary(texts, learner), learner, dropped)


def framed(texts: Sequence[str], tokenizer: Any, longest: int, *, ended: bool) -> list[list[int]]:
    """Token ids of texts with the special tokens that the victim sees, longer ones in pieces one after another.

    Args:
        texts: the texts.
        tokenizer: of the victim.
        longest: tokens of a piece at most.
        ended: whether the end token follows a text, as in causal language modelling.
    """
    end = [tokenizer.eos_token_id] if ended and tokenizer.eos_token_id is not None else []
    whole = ([*ids, *end] for ids in tokenizer(list(texts), verbose=False)["input_ids"])
    return [ids[start : start + longest] for ids in whole for start in range(0, len(ids), longest)]
