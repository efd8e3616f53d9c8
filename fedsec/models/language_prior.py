"""A language prior: a small GPT-2-architecture model of a victim's vocabulary, trained once on public text and kept."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from math import isfinite, log
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from fedsec.data.tokens import NOT_LEARNED
from fedsec.errors import FedsecError
from fedsec.maths.threads import one_thread
from fedsec.models.base import load_pretrained
from fedsec.models.byte_tokens import tokenizer_hash
from fedsec.models.pretraining import LIBRARIES, kept, sources
from fedsec.seeds import SeedTree, scoped_torch_rng
from fedsec.store.keys import digest

_log = logging.getLogger(__name__)
WIDTH, LAYERS, HEADS = 192, 2, 3
BATCH_TOKENS, LEARNING_RATE, WARM_UP = 512, 3e-3, 50
"""AdamW with a linear warm-up and decay; measured on SST-2 (10,000 rows): 0.15 s of one core per step."""
_COMMON = 2
"""Occurrences from which on a token gets weights of its own."""
_SORTED = 2048
"""Rows that are sorted by length together, so that batches hold little padding."""


def train_prior(rows: Sequence[Sequence[int]], tokenizer: Any, *, positions: int, steps: int) -> Any:
    """A causal language model of texts, trained or taken from the cache; in evaluation mode, without gradients.

    Tokens that occur once in the texts, or never, share one embedding, and with it a class: the mass of those seen once
    estimates that of the unseen (Good-Turing). The model is exact about it, and training costs what the texts' own
    vocabulary costs. Training runs on one thread from a fixed seed.

    Args:
        rows: token ids of each text, of at most `positions`.
        tokenizer: whose ids they are.
        positions: longest text that the model takes.
        steps: of about 512 tokens.

    Raises:
        FedsecError: no row has two tokens, or training diverged.

    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3 (the architecture);
    Good, Biometrika 1953 (the unseen). Deviations: two layers of width 192.
    """
    from transformers import GPT2LMHeadModel

    rows = [list(row) for row in rows if len(row) > 1]
    if not rows:
        raise FedsecError("no auxiliary text has two tokens; a language model needs some that have")
    with scoped_torch_rng(SeedTree(0).torch("language prior")):
        module: Any = GPT2LMHeadModel(_config(len(tokenizer), positions))
    made_by = [sources(), {name: version(name) for name in LIBRARIES}]
    key = digest(["language prior", rows, tokenizer_hash(tokenizer), positions, steps, made_by])
    kept(module, key, lambda: _train(module, rows, steps))
    return module.eval().requires_grad_(False)


def ready_prior(place: str, tokenizer: Any) -> Any:
    """A causal language model from a folder or hub id; FedsecError if its vocabulary is another than the tokenizer's.

    Args:
        place: folder or hub id, with its tokenizer.
        tokenizer: the victim's.
    """
    loaded = load_pretrained(place, labels=0, generator=SeedTree(0).torch("language prior"), task="causal-lm")
    if loaded.tokenizer.get_vocab() != tokenizer.get_vocab():
        raise FedsecError(
            f"threat.auxiliary.model '{place}' has another vocabulary than the victim ({len(loaded.tokenizer):,} and "
            f"{len(tokenizer):,} tokens); give a model with the victim's tokenizer, or leave it out to have one trained"
        )
    return loaded.module.eval().requires_grad_(False)


def _config(words: int, positions: int) -> Any:
    from transformers import GPT2Config

    special = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return GPT2Config(
        vocab_size=words, n_positions=positions, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, use_cache=False, **special
    )


def _train(module: Any, rows: Sequence[Sequence[int]], steps: int) -> None:
    """Overwrite the module's weights with those of a model over the common tokens and one class for all others."""
    from transformers import GPT2LMHeadModel

    counts = Counter(token for row in rows for token in row)
    words = module.config.vocab_size
    common = sorted(token for token, count in counts.items() if count >= _COMMON)
    place = torch.zeros(words, dtype=torch.long)  # [vocabulary] -> class; 0 for the others
    place[common] = torch.arange(1, len(common) + 1)
    _log.info("training a language prior on %d texts of %d tokens for %d steps", len(rows), counts.total(), steps)
    seeds = SeedTree(0)
    # An attack may ask for the model where no gradients are kept.
    with torch.inference_mode(mode=False), torch.enable_grad(), one_thread(), scoped_torch_rng(seeds.torch("training")):
        small: Any = GPT2LMHeadModel(_config(len(common) + 1, module.config.n_positions)).train()
        others = torch.zeros(len(common) + 1)
        others[0] = log(max(1, words - len(common)))  # the class is as likely as all its tokens together
        loss = _fit(small, place, others, _batches(rows, seeds.numpy("language prior batches")), steps)
    if not isfinite(loss):
        raise FedsecError("training the language prior diverged; give other auxiliary text")
    with torch.no_grad():
        weights = small.transformer.state_dict()
        weights["wte.weight"] = weights["wte.weight"][place]  # [vocabulary, width]
        module.transformer.load_state_dict(weights)


def _fit(
    model: Any, place: torch.Tensor, others: torch.Tensor, batches: Iterator[list[Sequence[int]]], steps: int
) -> float:
    """Train; the mean loss of the last tenth of the steps, in nats per token or class."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    recent: list[float] = []
    for step in range(steps):
        rate = LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * (1 - step / steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        inputs, targets = _collated(next(batches), place)
        logits = model(input_ids=inputs).logits[:, :-1] + others  # [rows, length - 1, classes]
        loss = functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=NOT_LEARNED)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent = [*recent, float(loss.detach())][-max(1, steps // 10) :]
        if (step + 1) % max(1, steps // 10) == 0:
            _log.info("step %d of %d: loss %.3f", step + 1, steps, sum(recent) / len(recent))
    return sum(recent) / len(recent)


def _batches(rows: Sequence[Sequence[int]], generator: np.random.Generator) -> Iterator[list[Sequence[int]]]:
    """Batches of about `BATCH_TOKENS` tokens of rows of similar length, without end."""
    while True:
        order = generator.permutation(len(rows))
        for start in range(0, len(rows), _SORTED):
            group = sorted(order[start : start + _SORTED].tolist(), key=lambda row: len(rows[row]))
            batches: list[list[Sequence[int]]] = [[]]
            for row in group:
                if batches[-1] and (len(batches[-1]) + 1) * len(rows[row]) > BATCH_TOKENS:
                    batches.append([])
                batches[-1].append(rows[row])
            yield from (batches[i] for i in generator.permutation(len(batches)))


def _collated(rows: list[Sequence[int]], place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes of a batch as inputs and as targets [rows, length]; padding stands on the right and is not learned."""
    ids = [torch.tensor(row) for row in rows]
    inputs = torch.nn.utils.rnn.pad_sequence([place[one] for one in ids], batch_first=True)
    targets = torch.nn.utils.rnn.pad_sequence([place[one] for one in ids], True, NOT_LEARNED)
    return inputs, targets
