"""Which candidates share a text: the first layer's query and key gradients tie every token to its own text's.

A token's query receives a combination of the differences of its own text's keys (the softmax's gradient sums to zero),
and its key a combination of its own text's queries, in every head separately. A direction of input space that only one
token among all candidates has a part in reads that token's combination off the weights' gradient, so a text is the set
of candidates, one per position, that explains it in all heads.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedsec.api import Role, RoundView
from fedsec.maths.activations import layer_input

from .dager_candidates import Candidates
from .dager_spaces import LayerSpace, by_input
from .texts import only

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 4_000_000
"""Entries per intermediate: 32 MB in fp64."""

_ROUNDING = 1e-12
"""Squared relative residual that fp32 gradients leave of a true explanation (measured: 2e-14 to 2e-13)."""

_MARGIN = 1e-2
"""An exchange has to lower the mean logarithm by this; explanations at the rounding floor stay."""

_UNSEEN = 1e-12
"""A direction in which others have less than this share of their largest variance is none of theirs."""

_FAINT = 1e-3
"""A token with a smaller part in its own direction than this is not read off."""

_DEGENERATE = 1e-9
"""A candidate with less than this (squared) outside the span of those chosen before adds only rounding."""


@dataclass(frozen=True, slots=True)
class Links:
    """Candidates as directions of attention space, and what single tokens of unknown texts received there."""

    ids: "Tensor"
    """Token of each candidate [candidates]."""
    places: "Tensor"
    """Position of each candidate [candidates]."""
    directions: "Tensor"
    """Unit vectors [blocks, candidates, head width], fp64: keys, then queries, of each head; the begin token's out."""
    targets: "Tensor"
    """Unit vectors [tokens, blocks, head width], fp64: what each token's queries, then keys, received."""

    def texts(self, begin: int, last: int, end: int, sweeps: int = 0) -> list[tuple[int, ...]]:
        """One text per target, best explanation first, without repetitions.

        Args:
            begin: id of the begin token.
            last: id of the end token.
            end: the end token's position.
            sweeps: passes over the positions that exchange one candidate at a time after the first assembly.
        """
        if end >= self.directions.shape[2] - 1:  # as many directions as dimensions explain anything
            return []
        inner = (self.places > 0) & (self.places < end) & (self.ids != last)
        close = (self.places == end) & (self.ids == last)
        chosen = torch.cat([close.nonzero()[:1, 0], inner.nonzero()[:, 0]])  # the end token first
        if len(self.places[chosen].unique()) < end:
            return []
        directions, places = self.directions[:, chosen], self.places[chosen]
        size = max(1, _CHUNK // directions.shape[:2].numel())
        parts = []
        for part in self.targets.split(size):
            picks, scores = _assemble(directions, places, part)
            for _ in range(sweeps):
                picks, scores = _exchange(directions, places, part, picks)
            parts.append((picks, scores))
        picks, scores = (torch.cat(kind) for kind in zip(*parts, strict=True))
        texts = self.ids[chosen][picks[scores.argsort(stable=True)]]  # [tokens, end]
        return list(dict.fromkeys((begin, *text) for text in texts.tolist()))


def _assemble(directions: "Tensor", places: "Tensor", targets: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Orthogonal matching pursuit: one candidate per position, each time the one that leaves least in all blocks.

    Args:
        directions: unit vectors [blocks, candidates, head width], the end token's first.
        places: position of each candidate [candidates].
        targets: unit vectors [tokens, blocks, head width].

    Returns:
        The candidates by position [tokens, end], and the mean logarithm of what they leave [tokens].
    """
    count, end, rows = len(targets), int(places[0]), torch.arange(len(targets))
    free = (places < end).expand(count, -1).clone()  # [tokens, candidates]
    pick = torch.zeros(count, dtype=torch.long)
    picks = torch.zeros(count, end, dtype=torch.long)
    basis = targets.new_zeros(*targets.shape, end)  # [tokens, blocks, head width, end]
    outside = targets.new_ones(count, *directions.shape[:2])  # each candidate's squared norm off the basis
    inner = torch.einsum("bcd,tbd->tbc", directions, targets)  # each candidate with the rest of the target
    left = targets.new_ones(targets.shape[:2])  # the rest's squared norm
    for step in range(end):
        picks[rows, places[pick] - 1] = pick
        fresh = directions[:, pick].transpose(0, 1)  # [tokens, blocks, head width]
        for _ in range(2):  # once leaves rounding behind
            fresh = fresh - (basis @ (basis.mT @ fresh[..., None]))[..., 0]
        fresh = fresh / fresh.norm(dim=-1, keepdim=True).clamp_min(1e-30)
        basis[..., step] = fresh
        along, part = torch.einsum("bcd,tbd->tbc", directions, fresh), (fresh * targets).sum(dim=-1)
        outside -= along.square()
        inner -= along * part[..., None]
        left = (left - part.square()).clamp_min(0.0)
        rest = left[..., None] - inner.square() / outside.clamp_min(_DEGENERATE)
        after = (rest.clamp_min(0.0) + _ROUNDING).log().mean(dim=1)  # [tokens, candidates]
        free &= places != places[pick][:, None]
        pick = after.masked_fill(~free, torch.inf).argmin(dim=1)
    return picks, (left + _ROUNDING).log().mean(dim=1)


def _exchange(directions: "Tensor", places: "Tensor", targets: "Tensor", picks: "Tensor") -> tuple["Tensor", "Tensor"]:
    """One pass over the positions: at each the candidate that leaves least beside those at the other positions.

    Args and returns as `_assemble`, with the picks [tokens, end] to start from.
    """
    picks, end = picks.clone(), int(places[0])
    scores = targets.new_zeros(len(targets))
    for place in range(1, end):
        others = torch.cat([picks[:, : place - 1], picks[:, place:]], dim=1)  # [tokens, end - 1]
        basis, _ = torch.linalg.qr(directions[:, others].permute(1, 0, 3, 2))  # [tokens, blocks, head width, end - 1]
        rest = targets - (basis @ (basis.mT @ targets[..., None]))[..., 0]
        choice = (places == place).nonzero()[:, 0]
        options = directions[:, choice].mT  # [blocks, head width, choices]
        outside = 1.0 - (basis.mT @ options).square().sum(dim=2)  # [tokens, blocks, choices]
        inner = (rest[:, :, None] @ options)[:, :, 0]
        after = rest.square().sum(dim=-1, keepdim=True) - inner.square() / outside.clamp_min(_DEGENERATE)
        after = (after.clamp_min(0.0) + _ROUNDING).log().mean(dim=1)  # [tokens, choices]
        before = after[choice == picks[:, place - 1, None]]
        best = after.min(dim=1)
        better = best.values < before - _MARGIN
        picks[better, place - 1] = choice[best.indices[better]]
        scores = torch.where(better, best.values, before)
    return picks, scores


def attention_links(view: RoundView, row: "Tensor", first: LayerSpace, candidates: Candidates) -> Links | None:
    """The links of one client's update; None if no token can be read off alone or keys have heads of their own.

    Args:
        view: the server's view.
        row: the client's update.
        first: the first layer's space.
        candidates: what can stand where.
    """
    module = view.model.module
    ids, places = candidates.pairs()
    vocabulary, token = ids.unique(return_inverse=True)
    repeated = vocabulary[:, None].expand(-1, int(places.max()) + 1)
    inputs = layer_input(module, first.query, input_ids=repeated)[token, places].double()  # [candidates, width]
    readouts = _readouts(inputs @ first.space.basis, token) @ first.space.basis.T  # [tokens, width]
    ends = torch.tensor([candidates.begin, candidates.last])
    readouts = readouts[(readouts.norm(dim=1) > 0.0) & ~torch.isin(vocabulary, ends)]
    received, states = [], []
    for role in (Role.QUERY, Role.KEY):
        info = only(view.model.layout, role, 0)
        gradient = by_input(view.model.layout.tensor(row, info.name), view, info).double()
        weight = by_input(module.get_parameter(info.name).detach(), view, info).double()
        bias = getattr(module.get_submodule(info.name.removesuffix(".weight")), "bias", None)
        heads = (module.config.num_attention_heads, -1)
        received.append((readouts @ gradient.T).unflatten(1, heads).transpose(0, 1))  # [heads, tokens, head width]
        states.append(inputs @ weight.T + (0.0 if bias is None else bias.detach().double()))
        states[-1] = states[-1].unflatten(1, heads).transpose(0, 1)  # [heads, candidates, head width]
    if len(readouts) == 0 or states[0].shape != states[1].shape:
        return None
    start = int(((ids == candidates.begin) & (places == 0)).nonzero()[0, 0])
    axis = _unit(states[0][:, start, None])  # [heads, 1, head width]: every text has the begin token's query
    queries, keyed = (part - (part * axis).sum(dim=-1, keepdim=True) * axis for part in (states[0], received[1]))
    keys = states[1] - states[1][:, start, None]
    targets = _unit(torch.cat([received[0], keyed])).transpose(0, 1)
    return Links(ids, places, directions=_unit(torch.cat([keys, queries])), targets=targets.contiguous())


def _readouts(inputs: "Tensor", token: "Tensor") -> "Tensor":
    """For each token a direction [tokens, width] that no other token's inputs [candidates, width] have a part in.

    Zero where there is none.
    """
    inputs, found = _unit(inputs), []
    for index in range(int(token.max()) + 1):
        own, others = inputs[token == index], inputs[token != index]
        values, vectors = torch.linalg.eigh(others.T @ others)
        unseen = vectors[:, values < _UNSEEN * values[-1]]
        readout = unseen @ (own.mean(dim=0) @ unseen)
        found.append(readout if float(readout.norm()) > _FAINT else torch.zeros_like(readout))
    return torch.stack(found)


def _unit(vectors: "Tensor") -> "Tensor":
    scaled: Tensor = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    return scaled
