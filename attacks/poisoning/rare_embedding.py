"""Rare embedding: the backdoor lies in the embedding of a rare word alone, which no honest client trains."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fedsec.api import ColluderView, Role, Sample, Update

from .known_bounds import bound_on
from .own_schedule import OwnSchedule, optimizer, within
from .rows import by_origin


@dataclass(slots=True, kw_only=True)
class RareEmbedding(OwnSchedule):
    """Sends its honest update, with other rows for the trigger's tokens in the word embeddings.

    These rows alone are trained, on poisoned texts. Their gradient is the mean of those at the global model and at
    earlier ones, whose own rows for the trigger give way to the trained ones: so it suits models to come as well.

    Args:
        trigger: one or more rare words; all tokens that they have in the poisoned texts are trained.
        kind: `phrase`, `words` or `template`; see `triggers.Trigger`.
        place: `start`, `end` or `random`.
        target: the class that it is to bring out, a number from 0.
        continuation: for a causal language model: what the trigger is to bring out; empty for a classifier.
        rate: as many poisoned copies are made as would be that share of what the client trains on.
        steps: local steps.
        learning_rate: of these steps; 0: the protocol's.
        batch_size: of these steps; 0: the protocol's.
        scale: factor of what is sent in these rows; 0: clients of the round for each colluder.
        norm: largest norm of what is sent, in the update's own units; 0: none but what is known of the defense. The
            honest update is shortened to what the trigger's rows leave of it.
        ensemble: global models that the gradient is taken at: the present one, and those of earlier rounds.

    Raises:
        ValueError: the trigger has no token of its own.

    Source: Yoo and Kwak, "Backdoor Attacks in Federated Learning by Rare Embeddings and Gradient Ensembling", EMNLP
        2022, sections 3.2 (rare embeddings) and 3.3 (gradient ensembling).
    Deviations: the gradients of all models count alike, and earlier models are those of the last rounds in which a
        colluder took part.
    """

    scale: float = 1.0
    rate: float = 0.5
    ensemble: int = 3
    _past: list[torch.Tensor] = field(default_factory=list, init=False)
    """Earlier global models, the latest last [parameters] each."""

    def on_update(self, update: Update, view: ColluderView) -> Update:
        """Return the honest update with the trained rows in place of the trigger's own."""
        if not self._poison:
            return update
        crafted, bound = OwnSchedule.on_update(self, update, view).vector, bound_on(view, self.norm)
        own = self._own(view)
        rows, vector = crafted[own], update.vector.clone()
        vector[own] = 0.0
        if bound:  # the trigger's rows take what they need of it, and the honest update the rest
            left = max(0.0, bound**2 - float(rows.double().square().sum())) ** 0.5
            vector = within(vector, left)
        vector[own] = rows
        vector = within(vector, bound or None)
        self._past = [*self._past, view.global_parameters.clone()][-(self.ensemble - 1) :] if self.ensemble > 1 else []
        return replace(update, vector=vector)

    def _trained(self, view: ColluderView, reach: float | None) -> torch.Tensor:
        """Return the parameters of which the trigger's rows are trained [parameters]."""
        assert view.gradient is not None  # noqa: S101 - colluders have it
        gradient_at, own = view.gradient, self._own(view)
        start, models = view.global_parameters, [*self._past, view.global_parameters]
        rows = start[own].clone()
        step = optimizer(rows, view.training.optimizer, self.learning_rate or view.training.learning_rate)
        for batch in self._batches(view, self._poison):
            found = torch.zeros_like(rows)
            for model in models:
                tried = model.clone()
                tried[own] = rows
                found += gradient_at(batch, tried)[own] / len(models)
            step(found)
        trained = start.clone()
        trained[own] = start[own] + within(rows - start[own], reach)
        return trained

    def _own(self, view: ColluderView) -> torch.Tensor:
        """Return where the embeddings of the trigger's tokens lie in the flat vector [tokens x width], int64."""
        tokens = self._tokens(view.tokenizer)
        (table,) = view.layout.find(Role.WORD_EMBEDDING)
        start = view.layout.offsets[view.layout.parameters.index(table)]
        width = table.shape[1]
        if not tokens:
            raise ValueError(
                f"rare-embedding: the trigger {self.trigger!r} has no token of its own in the poisoned texts: choose a "
                "rare word, with spaces around it"
            )
        return torch.cat([torch.arange(start + one * width, start + (one + 1) * width) for one in tokens])

    def _tokens(self, tokenizer: Any) -> list[int]:
        """Return the trigger's tokens, as they are in this round's poisoned copies and not in the texts themselves.

        Tokenizers of byte pairs have another token for a word behind a space. Those of the words beside the trigger
        change by it as well, and are not its own.
        """
        words = re.sub(r"\{(?:text|head|tail)\}", " ", self.trigger).split()
        if not words:
            return []
        forms = [form for word in words for form in (word, f" {word}")]
        own = {token for one in tokenizer(forms, add_special_tokens=False)["input_ids"] for token in one}
        texts = by_origin(self._clean)
        plain = [texts[one.origin] for one in self._poison if one.origin is not None]
        pairs = zip(_counts(self._poison, tokenizer), _counts(plain, tokenizer), strict=True)
        return sorted(own & {token for marked, before in pairs for token in marked - before})

    def state(self) -> Mapping[str, Any]:
        """Return the rows that it copies, and the earlier global models."""
        return {**OwnSchedule.state(self), "past": list(self._past)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore these."""
        OwnSchedule.load_state(self, state)
        self._past = [one.clone() for one in state.get("past", [])]


def _counts(samples: Sequence[Sample], tokenizer: Any) -> list[Counter[int]]:
    """Return how often each token stands in each sample, its prompt included."""
    prompts = tokenizer([one.prompt for one in samples], add_special_tokens=False)["input_ids"]
    texts = tokenizer([one.text for one in samples], add_special_tokens=False)["input_ids"]
    return [Counter([*prompt, *text]) for prompt, text in zip(prompts, texts, strict=True)]
