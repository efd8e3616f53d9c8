"""FILM's third stage: put phrases, then tokens, into the order that the model remembers best."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from fedsec.api import PublicModel
from fedsec.maths.layers import is_norm

if TYPE_CHECKING:
    from torch import Tensor

_FEWEST, _MOST = 3, 5
"""Spans that a phrase-wise move permutes, as in the official code."""


@dataclass(slots=True)
class Memory:
    """How badly the model remembers candidate texts of one length.

    Args:
        module: a causal language model in evaluation mode.
        norm: the normalisation of it whose weight's gradient counts.
        bag: token ids of the batch [count].
        frame: the token before a text, if the model's tokenizer puts one there, and the end token, which follows it.
        weight: of the perplexity beside the gradient's norm.

    Source: Gupta et al., NeurIPS 2022, section 4.3: a model gives a text that it was trained on a low perplexity and a
    small gradient. Deviations: probabilities among the batch's tokens alone, which is what makes hundreds of
    candidates affordable with a vocabulary of 50,000; the gradient of the second normalisation of the middle layer, as
    the paper's code takes of GPT-2's twelve, from activations and deltas instead of one backward pass per candidate.
    """

    module: Any
    norm: nn.Module
    bag: "Tensor"
    frame: tuple[int | None, int]
    weight: float

    def __call__(self, places: "Tensor") -> "Tensor":
        """Perplexity times its weight plus gradient norm of each candidate [candidates]; lower is remembered better.

        Args:
            places: in the bag [candidates, tokens].
        """
        begin, end = self.frame
        words = torch.cat([self.bag, torch.tensor([end])])
        head = self.module.get_output_embeddings().weight.detach()[words]  # [bag + 1, width]
        ids, targets = words[places], functional.pad(places, (0, 1), value=len(self.bag))
        if begin is None:  # nothing foretells a first token
            targets = targets[:, 1:]  # [candidates, tokens]
        else:
            ids = functional.pad(ids, (1, 0), value=begin)  # [candidates, 1 + tokens]
        with torch.enable_grad(), _opened(self.norm) as seen:
            states = self.module.base_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            logits = states @ head.T  # [candidates, tokens, bag + 1]
            each = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(dim=1)
            (delta,) = torch.autograd.grad(each.sum(), seen["out"])  # [candidates, tokens, width]
        norm = (delta * seen["unit"]).sum(dim=1).norm(dim=1)  # of the normalisation's weight [candidates]
        badness: Tensor = self.weight * each.detach().exp() + norm
        return badness


@dataclass(frozen=True, slots=True)
class Stage:
    """Rounds of one kind of move.

    Args:
        moves: draws orders [count, length] of a text's tokens, from its length and a count.
        proposals: candidates per round.
        rounds: at most.
        patience: rounds in a row without gain that end it.
    """

    moves: Callable[[int, int, torch.Generator], "Tensor"]
    proposals: int
    rounds: int
    patience: int


@torch.no_grad()
def reordered(
    places: tuple[int, ...],
    memory: Memory,
    stages: Sequence[Stage],
    generator: torch.Generator,
    seconds_left: Callable[[], float] = lambda: inf,
) -> tuple[tuple[int, ...], float]:
    """The best order that the stages find one after another, and its score.

    Args:
        places: the text's tokens, as places in the bag.
        memory: scores candidates.
        stages: kinds of moves.
        generator: draws moves.
        seconds_left: that it may still take; the best order so far stands where there are none.
    """
    best = torch.tensor(places)
    score = float(memory(best[None])[0])
    if len(places) < _FEWEST:
        return places, score
    for stage in stages:
        waited = 0
        for _ in range(stage.rounds):
            if seconds_left() <= 0.0:
                break
            candidates = best[stage.moves(len(best), stage.proposals, generator)]  # [proposals, tokens]
            scores = memory(candidates)
            least = int(scores.argmin())
            waited += 1
            if float(scores[least]) < score:
                best, score, waited = candidates[least], float(scores[least]), 0
            elif waited >= stage.patience:
                break
    return tuple(best.tolist()), score


def permuted_spans(length: int, count: int, generator: torch.Generator) -> "Tensor":
    """Orders that permute the spans between random cuts [count, length]."""
    spans = torch.randint(_FEWEST, _MOST + 1, (count,), generator=generator).clamp_max(length)
    ranks = torch.rand(count, length - 1, generator=generator).argsort(dim=1).argsort(dim=1)
    cuts = functional.pad((ranks < (spans - 1)[:, None]).long(), (1, 0))  # [count, length]
    member = cuts.cumsum(dim=1)  # the span of each token, in the text's order
    keys = torch.rand(count, _MOST, generator=generator).gather(1, member)  # spans by a random key each
    return torch.argsort(keys, dim=1, stable=True)


def moved_tokens(length: int, count: int, generator: torch.Generator) -> "Tensor":
    """Orders in which two tokens are exchanged, or one stands elsewhere [count, length]."""
    first, second = torch.randint(length, (2, count), generator=generator)
    order = torch.arange(length).repeat(count, 1)
    rows = torch.arange(count)
    order[rows, first], order[rows, second] = second, first
    key = torch.arange(length).repeat(count, 1).double()
    key[rows, first] = second.double() + torch.where(second > first, 0.5, -0.5).double()
    inserted = torch.argsort(key, dim=1)
    return torch.where((rows % 2 == 0)[:, None], order, inserted)


@contextmanager
def _opened(norm: nn.Module) -> Iterator[dict[str, "Tensor"]]:
    """Keep what a normalisation puts out, before its weight as `unit` and cut loose from what lies beneath as `out`."""
    seen: dict[str, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple["Tensor", ...], out: "Tensor") -> "Tensor":
        weight: Any = module.weight
        bias: Any = getattr(module, "bias", None)
        shifted = out.detach() if bias is None else out.detach() - bias.detach()
        seen["unit"] = shifted / torch.where(weight == 0, 1.0, weight).detach()
        seen["out"] = out.detach().requires_grad_()
        return seen["out"]

    handle = norm.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def middle_norm(model: PublicModel) -> nn.Module:
    """The second trained normalisation of the middle layer, or the model's last one where that layer has no two."""
    layers = sorted({info.layer for info in model.layout.parameters if info.layer is not None})
    middle = layers[(len(layers) - 1) // 2] if layers else None
    owners = [info.name.rpartition(".")[0] for info in model.layout.parameters if info.layer == middle]
    parts: list[nn.Module] = [model.module.get_submodule(owner) for owner in dict.fromkeys(owners)]
    norms = [part for part in parts if is_norm(part)]
    every: list[nn.Module] = [part for part in model.module.modules() if is_norm(part)]
    return norms[1] if len(norms) > 1 else every[-1]
