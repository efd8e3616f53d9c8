"""What tests of attacks on updates share: rounds of a small random encoder, with plain references beside them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from fedsec.api import Candidate, Evidence, Granted, PublicModel, RoundView, ServerView, TrainingSettings
from fedsec.data.tokens import Tokenised, collate
from fedsec.models import tiny_bert
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer
from fedsec.models.tuning import prepare

RANK, WIDTH = 4, 32
CLASSES = ("no", "yes")


@cache
def model(kind: str = "lora") -> tuple[FlatModel, Any]:
    """A random encoder of two layers, and its tokenizer; one for all tests of a kind of tuning."""
    base = tiny_bert.load(labels=2, generator=torch.Generator().manual_seed(0), layers=2, width=WIDTH)
    with torch.no_grad():  # of a fresh encoder all states are nearly one, and so are all gradients
        for parameter in base.module.parameters():
            parameter.mul_(6.0 if parameter.dim() == 2 else 1.0)
    module, setup = prepare(
        base.module,
        kind=kind,
        rank=RANK,
        train_embeddings=kind == "full",
        dropout=False,
        generator=torch.Generator().manual_seed(1),
    )
    flat = FlatModel(module, setup)
    flat.module.eval()
    return flat, base.tokenizer


def start(kind: str = "lora", *, fresh: bool = False) -> torch.Tensor:
    """Trainables to start from [parameters]; LoRA's factors B are 0 in a fresh model, and elsewhere as in training."""
    flat, _ = model(kind)
    values = flat.values.clone()
    for info in flat.layout.parameters:
        if info.factor == "B":
            part = flat.layout.tensor(values, info.name)
            drawn = torch.randn(part.shape, generator=torch.Generator().manual_seed(2))
            part.copy_(torch.zeros_like(part) if fresh else 0.05 * drawn)
    return values


@cache
def records(count: int, words: int = 7) -> tuple[Candidate, ...]:
    """Texts of random words, each with a label."""
    _, tokenizer = model()
    draw, known = np.random.default_rng(5), [word for word in tokenizer.get_vocab() if word.isalpha() and len(word) > 3]
    texts = [" ".join(draw.choice(sorted(known), size=words).tolist()) for _ in range(count)]
    return tuple(Candidate(text, int(draw.integers(2)), "", tuple(tokenizer(text)["input_ids"])) for text in texts)


def sent(
    batches: Sequence[Sequence[Candidate]], begin: torch.Tensor, training: TrainingSettings, kind: str = "lora"
) -> torch.Tensor:
    """What a client sends that trains on these batches [parameters]."""
    flat, tokenizer = model(kind)
    made = [
        collate(Tokenised([list(one.tokens) for one in batch], np.array([one.label for one in batch])),
                range(len(batch)), tokenizer.pad_token_id)
        for batch in batches
    ]  # fmt: skip
    out = torch.empty_like(begin)
    before = flat.values.clone()
    LocalTrainer(flat, training, dropout=False).update(begin, made, out, torch.Generator())
    flat.load(before)
    flat.gradient.zero_()
    flat.module.eval()
    return out


def protocol(update: str = "gradient", optimizer: str = "sgd", steps: int = 1, size: int = 4) -> TrainingSettings:
    """The clients' protocol."""
    return TrainingSettings(
        update=update, optimizer=optimizer, learning_rate=0.1, local_steps=steps, batch_size=size, cohort=3, rounds=1
    )


def seen(
    rows: Sequence[torch.Tensor],
    begin: torch.Tensor,
    training: TrainingSettings,
    kind: str = "lora",
    *,
    number: int = 1,
    sums: bool = False,
) -> RoundView:
    """What a server sees of a round with these updates, or of their mean alone; the model is loaded."""
    flat, tokenizer = model(kind)
    flat.load(begin)
    flat.module.eval()
    stacked = torch.stack(list(rows))
    clients = tuple(range(len(rows)))
    return ServerView(
        round=number,
        cohort=clients,
        clients=() if sums else clients,
        rows=None if sums else stacked,
        aggregate=stacked.mean(dim=0),
        model=PublicModel(module=flat.module, tokenizer=tokenizer, layout=flat.layout),
        upload_bytes=0,
        training=training,
        granted=Granted({}),
        classes=CLASSES,
        generator=torch.Generator(),
    )


def evidence(views: Sequence[RoundView], ask: Any = None) -> Evidence:
    """Evidence of these rounds, numbered from 1; views of one start, since there is one model."""
    clients = sorted({client for view in views for client in view.clients})
    return Evidence(
        rounds=tuple(range(1, len(views) + 1)),
        at=lambda number: views[number - 1],
        clients=tuple(clients),
        released=None,
        ask=ask,
        question=None,
        classes=CLASSES,
        tokenizer=views[0].model.tokenizer,
        training=views[0].training,
        granted=Granted({}),
        generator=torch.Generator(),
    )


def slow_gradient(candidate: Candidate, begin: torch.Tensor, kind: str = "lora") -> torch.Tensor:
    """A candidate's gradient by torch's own backward pass, fp64 [parameters]."""
    flat, _ = model(kind)
    flat.load(begin)
    flat.gradient.zero_()
    logits = flat.module(input_ids=torch.tensor([candidate.tokens])).logits
    torch.nn.functional.cross_entropy(logits, torch.tensor([candidate.label])).backward()
    found = flat.gradient.double().clone()
    flat.gradient.zero_()
    return found


def auc(scores: torch.Tensor, members: torch.Tensor) -> float:
    """The share of pairs in order."""
    pairs = scores[members][:, None] - scores[~members][None]
    return float((pairs > 0).double().mean() + (pairs == 0).double().mean() / 2)
