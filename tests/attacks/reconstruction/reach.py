"""Builds what a curious server sees of decoders and of LoRA."""

from collections.abc import Sequence

import torch

from fedsec.api import ServerView, TrainingSettings
from fedsec.data.corpus import Example
from fedsec.data.tokens import collate, content_ids, tokenise, tokenise_causal
from fedsec.models import tuning
from fedsec.models.base import CAUSAL_LM, BaseModel
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer
from fedsec.seeds import SeedTree

from .support import server_view

SEEDS = SeedTree(0)


class Reach:
    """One resident model for a task, and views of rounds on it.

    Args:
        base: the base model.
        task: `causal-lm` or `sequence-classification`.
        rank: of LoRA adapters whose factors B are random, as after training; 0: everything is trained.
        train_embeddings: whether the embedding block is trained; with LoRA it never is.
    """

    def __init__(self, base: BaseModel, task: str, *, rank: int = 0, train_embeddings: bool = True) -> None:
        module, setup = tuning.prepare(
            base.module,
            kind="lora" if rank else "full",
            rank=rank,
            train_embeddings=train_embeddings and not rank,
            dropout=False,
            generator=SEEDS.torch("tuning"),
            task=task,
        )
        self.task, self.tokenizer, self.setup = task, base.tokenizer, setup
        self.flat = FlatModel(module, setup)

    def adapt(self) -> None:
        """Give the adapters' factors B values, as training does."""
        draws = SEEDS.torch("factors")
        for info in self.flat.layout.parameters:
            if info.factor == "B":
                factor = self.flat.layout.tensor(self.flat.values, info.name)
                factor.copy_(0.05 * torch.randn(factor.shape, generator=draws))

    def ids(self, texts: Sequence[str], longest: int = 64) -> list[list[int]]:
        """The rows that a client trains on."""
        return self._data(texts, longest).ids

    def truth(self, texts: Sequence[str], longest: int = 64) -> list[tuple[int, ...]]:
        """Each text's content ids."""
        return [content_ids(ids, self.tokenizer) for ids in self.ids(texts, longest)]

    def view(
        self,
        clients: Sequence[Sequence[str]],
        *,
        update: str = "gradient",
        steps: int = 1,
        learning_rate: float = 0.1,
        noise: float = 0.0,
        longest: int = 64,
        seed: int = 0,
    ) -> ServerView:
        """A round in which each client trains on its texts, a part of them in each step."""
        size = max(len(texts) for texts in clients) // steps
        settings = TrainingSettings(
            update=update, optimizer="sgd", learning_rate=learning_rate, local_steps=steps, batch_size=size
        )
        trainer, start = LocalTrainer(self.flat, settings, dropout=False), self.flat.values.clone()
        rows, seeds = torch.empty(len(clients), self.flat.layout.size), SeedTree(seed)
        for client, texts in enumerate(clients):
            parts = [range(step * size, min((step + 1) * size, len(texts))) for step in range(steps)]
            batches = [collate(self._data(texts, longest), part, self.tokenizer.pad_token_id) for part in parts]
            trainer.update(start, batches, rows[client], seeds.torch("dropout", client=client))
            raw = torch.randn(rows.shape[1], generator=seeds.torch("noise", client=client))
            rows[client] += raw * (noise * rows[client].norm() / raw.norm())
        self.flat.load(start)
        return server_view(self.flat, self.tokenizer, rows, settings, {}, seeds.torch("attack"))

    def _data(self, texts: Sequence[str], longest: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
        rows = [Example(text, index % 2) for index, text in enumerate(texts)]
        return (tokenise_causal if self.task == CAUSAL_LM else tokenise)(rows, self.tokenizer, longest)
