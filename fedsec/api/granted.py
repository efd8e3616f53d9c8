"""Side knowledge that a scenario grants to an attack (`threat.knowledge`)."""

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field
from typing import Any

from fedsec.api.threat import Knowledge


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """Public text that an attack is granted as `auxiliary-text`, and a language model trained on it."""

    texts: tuple[str, ...]
    """No text shares a run of 8 words with a text that a client, the test set or the server holds."""
    learn: "Callable[[], Any]" = field(repr=False, compare=False)
    """Used by `language_model`."""

    def language_model(self) -> Any:
        """A transformers causal language model over the victim's tokenizer, in evaluation mode. Look, do not change.

        It is trained once on `texts`, framed by special tokens as the victim frames its own ([CLS] ... [SEP]), and
        kept; the first call may take minutes. `logits` [rows, tokens, vocabulary]; position i predicts token i + 1.
        """
        return self.learn()


@dataclass(frozen=True, slots=True)
class Language:
    """What defenses are granted of a language (`data.language_model`): clean texts, and how usual any text is."""

    read: "Callable[[], tuple[str, ...]]" = field(repr=False, compare=False)
    """Used by `texts`."""
    score: "Callable[[Sequence[str]], list[float]]" = field(repr=False, compare=False)
    """Used by `perplexities`."""

    def texts(self) -> tuple[str, ...]:
        """Return clean texts that the language model did not learn from, to set thresholds on.

        No text shares a run of 8 words with a text that a client, the test set or the server holds.
        """
        return self.read()

    def perplexities(self, texts: Sequence[str]) -> list[float]:
        """Return each text's perplexity: exp of the mean negative log likelihood of its tokens, in nats.

        The first call may take minutes, to train the model or to load it. A text's score is kept.
        """
        return self.score(texts)


class Granted(Mapping[Knowledge, Any]):
    """Side knowledge that a scenario grants and a position can have, as a mapping; it records what an attack looks up.

    An attack names what it cannot do without in its card's `threat.knowledge`, and asks for anything else with `in`
    first: `if Knowledge.LABELS in view.granted`.
    """

    def __init__(self, content: Mapping[Knowledge, Any]) -> None:
        self._content = dict(content)
        self.used: set[Knowledge] = set()

    def __getitem__(self, kind: Knowledge) -> Any:
        value = self._content[kind]
        self.used.add(kind)
        return value

    def provide(self, kind: Knowledge, value: Any) -> None:
        """Set a kind of knowledge for a round; for the engine only."""
        self._content[kind] = value

    def withdraw(self, kind: Knowledge) -> None:
        """Remove a kind of knowledge until it is provided again; for the engine only."""
        self._content.pop(kind, None)

    def items(self) -> ItemsView[Knowledge, Any]:
        """Return everything at once; only looking one kind up counts as using it."""
        return self._content.items()

    def values(self) -> ValuesView[Any]:
        """Return everything at once; only looking one kind up counts as using it."""
        return self._content.values()

    def __contains__(self, kind: object) -> bool:
        return kind in self._content

    def __iter__(self) -> Iterator[Knowledge]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)
