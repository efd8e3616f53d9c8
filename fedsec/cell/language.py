"""What defenses are granted of a language: clean public texts, and how usual any text is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedsec import registry
from fedsec.api import Language
from fedsec.cell.auxiliary import framed
from fedsec.cell.resources import Resources
from fedsec.config.schema import Scenario
from fedsec.data.corpus import Example
from fedsec.data.overlap import RUN, sift
from fedsec.data.tokens import truncated
from fedsec.errors import FedsecError
from fedsec.models.base import CAUSAL_LM, load_pretrained
from fedsec.models.perplexity import Perplexities
from fedsec.seeds import SeedTree
from fedsec.store.keys import digest

HELD_OUT = 5
"""One text of so many is kept from the language model that is trained, to set thresholds on."""
LONGEST = 512
"""Tokens of a text that a ready language model looks at."""


@dataclass(slots=True)
class PublicLanguage:
    """The public texts of a scenario and their language model, read when they are first asked for.

    Args:
        scenario: names them in `data.language_model`.
        resources: loaded corpora and language models.
        held: every row of the clients, the server and the test set.
        tokenizer: the victim's, which a model that is trained here has too.
    """

    scenario: Scenario
    resources: Resources
    held: Sequence[Example]
    tokenizer: Any
    _texts: tuple[str, ...] = field(default=(), init=False)
    _scorer: Perplexities | None = field(default=None, init=False)

    def granted(self) -> Language | None:
        """Return what defenses are granted; None where the scenario names no text."""
        return Language(self.clean, self.score) if self.scenario.data.language_model.given else None

    def clean(self) -> tuple[str, ...]:
        """Return the texts that no language model was trained on here, cut to what a query keeps.

        Words that lie beyond what a language model reads have no weight in it, so that a threshold on them is none.
        """
        everything = self._sifted()
        kept = everything[::HELD_OUT] if len(everything) > HELD_OUT else everything
        rows = [Example(text) for text in kept]
        return tuple(text for _, text in truncated(rows, self.tokenizer, self.scenario.data.max_tokens, causal=False))

    def score(self, texts: Sequence[str]) -> list[float]:
        """Return the perplexity of each text."""
        if self._scorer is None:
            self._scorer = self._model()
        return self._scorer(texts)

    def _sifted(self) -> tuple[str, ...]:
        if self._texts:
            return self._texts
        given, rows = self.scenario.data.language_model, self.resources.public_language(self.scenario)
        if given.rows is not None and given.rows > len(rows):
            raise FedsecError(
                f"data.language_model.rows {given.rows} is more than the {len(rows):,} training rows of "
                f"{given.name or given.path}"
            )
        order = SeedTree(0).numpy("language rows").permutation(len(rows))  # the same for every seed
        self._texts, dropped = sift((rows[i].whole for i in order), (row.whole for row in self.held), given.rows)
        if not self._texts:
            raise FedsecError(
                f"nothing is left of data.language_model {given.name or given.path}: all {dropped:,} rows share {RUN} "
                "words in a row with texts of the clients, the server or the test set; give another set"
            )
        return self._texts

    def _model(self) -> Perplexities:
        given, longest = self.scenario.data.language_model, self.scenario.data.max_tokens
        if given.model is not None:
            return self._kept(digest(["ready", given.model]), lambda: _ready(str(given.model)))
        learned = [text for place, text in enumerate(self._sifted()) if place % HELD_OUT]
        ended = self.scenario.model.task == CAUSAL_LM

        def trained() -> Perplexities:
            from fedsec.models.language_prior import train_prior

            rows = framed(learned or self._sifted(), self.tokenizer, longest, ended=ended)
            module = train_prior(rows, self.tokenizer, positions=longest, steps=given.training_steps)
            return Perplexities(module, self.tokenizer, longest)

        settings = [self.scenario.model.model_dump(mode="json"), longest, given.training_steps]
        return self._kept(digest(["trained", settings, learned]), trained)

    def _kept(self, key: str, made: Callable[[], Perplexities]) -> Perplexities:
        if key not in self.resources.scorers:
            self.resources.scorers[key] = made()
        return self.resources.scorers[key]


def _ready(name: str) -> Perplexities:
    """Return a ready causal language model as a scorer; FedsecError if it cannot be loaded."""
    generator = SeedTree(0).torch("language model")
    if name in registry.models():
        card = registry.models().get(name)
        told = {"task": CAUSAL_LM} if len(card.tasks) > 1 else {}
        loaded = registry.load_target(card)(labels=0, generator=generator, **told, **card.resolve({}))
    else:
        loaded = load_pretrained(name, labels=0, generator=generator, task=CAUSAL_LM)
    return Perplexities(loaded.module.eval().requires_grad_(False), loaded.tokenizer, LONGEST)
