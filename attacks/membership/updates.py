"""What attacks on single updates share: candidates' own gradients, the updates' direction, and scores over rounds."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from fedsec.api import Candidate, Evidence, RoundView, Tokens
from fedsec.maths.example_gradients import ExampleGradients

MOST_ROWS = 32
"""Candidates at a time."""
MOST_NUMBERS = 1 << 26
"""Entries of their gradients at a time: 256 MB in fp32. Where everything is trained, that is a few candidates."""
CHUNK = 1 << 20
"""Parameters at a time of products in fp64."""
HOW = ("max", "mean")
"""How scores of several rounds become one."""


class Updates(NamedTuple):
    """What a round shows of single updates, or of their sum."""

    clients: tuple[int | None, ...]
    """Senders; (None,) for the sum."""
    rows: torch.Tensor
    """What each of them sent, fp32 [updates, parameters]."""
    sign: float
    """1 for gradients, -1 for differences of weights, which point against them."""


def updates_of(view: RoundView, single: bool = True) -> Updates:
    """The single updates that a view shows, or the sum where these stay hidden; ValueError where neither is seen.

    Args:
        view: of a position that sees updates or sums.
        single: whether single updates are looked at; not where other rounds show sums alone.
    """
    sign = 1.0 if view.training.update == "gradient" else -1.0
    if view.rows is not None and (single or view.aggregate is None):
        return Updates(view.clients, view.rows, sign)
    if view.aggregate is None:
        raise ValueError("it reads updates or their sum, and its position sees neither")
    return Updates((None,), view.aggregate[None], sign)


def over_rounds(
    evidence: Evidence, read: Callable[[RoundView, Updates], torch.Tensor], how: str, candidates: int
) -> torch.Tensor:
    """Scores about each client over all rounds, fp64 [candidates, clients]; one column where only sums are seen.

    A client that sent nothing in a round has no score there; where no time is left, later rounds do not count.

    Args:
        evidence: of a position that sees updates or sums.
        read: gives the scores of one round [candidates, updates].
        how: `max` or `mean` over the rounds in which a client sent something.
        candidates: their number.
    """
    columns = {client: column for column, client in enumerate(evidence.clients or (None,))}
    found = torch.full((candidates, len(columns)), -torch.inf if how == "max" else 0.0, dtype=torch.float64)
    counts = torch.zeros(len(columns), dtype=torch.float64)
    for number in evidence.rounds:
        if evidence.seconds_left() <= 0.0:
            break
        view = evidence.at(number)
        seen = updates_of(view, single=bool(evidence.clients))
        scores = read(view, seen).double()
        for place, client in enumerate(seen.clients):
            column = columns[client]
            own = scores[:, place]
            found[:, column] = torch.maximum(found[:, column], own) if how == "max" else found[:, column] + own
            counts[column] += 1.0
    found = found if how == "max" else found / counts.clamp_min(1.0)
    return torch.where(counts > 0, found, 0.0)


def per_client(scores: torch.Tensor) -> torch.Tensor:
    """Scores less their client's median, in units of the spread around it: clients differ by more than members do.

    Most candidates are no members of one client, so that median and quartiles are those of the others. A client whose
    scores are all one has 0.

    Args:
        scores: fp64 [candidates, clients].
    """
    low, middle, high = torch.quantile(scores, torch.tensor([0.25, 0.5, 0.75], dtype=scores.dtype), dim=0)  # [clients]
    spread = torch.where(high > low, (high - low) / 1.349, scores.std(dim=0, correction=0))  # 1.349: of a normal's
    return torch.where(spread > 0, (scores - middle) / spread.clamp_min(1e-300), 0.0)


def gradients(view: RoundView, candidates: Sequence[Candidate]) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Each candidate's own gradient at the broadcast model: places in `candidates`, and fp32 [places, parameters].

    Candidates of like length come together; a candidate's loss is the mean over its learned tokens, without dropout.

    Args:
        view: of a position that sees the model.
        candidates: at least one.
    """
    layout = view.model.layout
    offsets = {info.name: start for info, start in zip(layout.parameters, layout.offsets, strict=True)}
    each = ExampleGradients(view.model.module, offsets, layout.size)
    order = sorted(range(len(candidates)), key=lambda place: len(candidates[place].tokens))
    size = max(1, min(MOST_ROWS, MOST_NUMBERS // layout.size))
    for start in range(0, len(order), size):
        places = order[start : start + size]
        chosen = [candidates[place] for place in places]
        found = each.of(lambda chosen=chosen: losses(view, chosen), len(chosen))  # type: ignore[misc]
        yield places, torch.stack([_alone(view, one) for one in chosen]) if found is None else found[0]


def losses(view: RoundView, candidates: Sequence[Candidate]) -> torch.Tensor:
    """Each candidate's loss under the broadcast model [candidates], with its graph where gradients are enabled.

    Args:
        view: of a position that sees the model.
        candidates: at least one.
    """
    ids, mask = padded([one.tokens for one in candidates], view.model.tokenizer.pad_token_id)
    logits = view.model.module(input_ids=ids, attention_mask=mask).logits.float()
    firsts = [one.learned_from for one in candidates]
    if firsts[0] is None:
        labels = torch.tensor([one.label for one in candidates])
        return functional.cross_entropy(logits, labels, reduction="none")
    starts = torch.tensor([max(1, first or 0) for first in firsts])[:, None]  # [candidates, 1]
    learned = ((torch.arange(ids.shape[1]) >= starts) & mask.bool())[:, 1:]  # [candidates, length - 1]
    each = functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (each.view(learned.shape) * learned).sum(dim=1) / learned.sum(dim=1)


def padded(texts: Sequence[Tokens], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts as one batch padded on the right, and 1 for each token of theirs: [texts, length] twice."""
    ids = torch.full((len(texts), max(map(len, texts))), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = torch.tensor(text), 1
    return ids, mask


def products(gradients: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Inner products in fp64 [gradients, rows] of vectors [gradients, parameters] and [rows, parameters]."""
    found = torch.zeros(len(gradients), len(rows), dtype=torch.float64)
    for start in range(0, rows.shape[1], CHUNK):
        found += gradients[:, start : start + CHUNK].double() @ rows[:, start : start + CHUNK].double().T
    return found


def squares(rows: torch.Tensor) -> torch.Tensor:
    """Squared norms in fp64 [rows] of vectors [rows, parameters]."""
    parts = rows.split(CHUNK, dim=1)
    return torch.stack([part.double().square().sum(dim=1) for part in parts]).sum(dim=0)


def broadcast(view: RoundView) -> torch.Tensor:
    """A copy of the broadcast parameters [parameters], read off the model that is shown."""
    named: dict[str, Any] = dict(view.model.module.named_parameters())
    return torch.cat([named[info.name].detach().flatten() for info in view.model.layout.parameters])


def _alone(view: RoundView, candidate: Candidate) -> torch.Tensor:
    """One candidate's gradient by itself [parameters], where layers are of no kind that gives those of a batch."""
    named: dict[str, Any] = dict(view.model.module.named_parameters())
    trained = [named[info.name] for info in view.model.layout.parameters]
    with torch.enable_grad():
        parts = torch.autograd.grad(losses(view, [candidate]).sum(), trained, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])
