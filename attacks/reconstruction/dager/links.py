"""What single tokens' queries and keys received in the first layer, and the candidates' directions it is made of.

A token's query receives a combination of the differences of its own text's keys (the softmax's gradient sums to zero),
and its key a combination of its own text's queries, in every head separately. A direction of input space that only one
token among all candidates has a part in reads that token's combination off the weights' gradient, so a text is the set
of candidates, one per position, that explains what its tokens received in all heads.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedsec.api import Role, RoundView
from fedsec.maths.activations import layer_input

from ..shared.texts import only
from .candidates import Candidates
from .effort import Effort
from .spaces import LayerSpace, by_input

if TYPE_CHECKING:
    from torch import Tensor

_UNSEEN = 1e-12
"""A direction in which others have less than this share of their largest variance is none of theirs."""

_FAINT = 1e-3
"""A token with a smaller part in its own direction than this is not read off."""

_TOLD = 0.5
"""A head counts if this share of its outputs' updates is known."""


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
    errors: "Tensor"
    """Squared relative error that noise leaves in each target [tokens, blocks], about 1e-13 from rounding alone."""
    readers: "Tensor"
    """For each candidate the index of its token among the targets [candidates]; -1 where it cannot be read off."""
    begin: int
    """Id of the begin token."""
    last: int
    """Id of the end token."""


def attention_links(view: RoundView, first: LayerSpace, candidates: Candidates, effort: Effort) -> Links | None:
    """The links of one client's update; None if no token can be read off alone or keys have heads of their own.

    Tokens that are not read off when the effort is over are told by nothing.

    Args:
        view: the server's view.
        first: the first layer's space, and the updates of its whole projections.
        candidates: what can stand where.
        effort: counts the decompositions.
    """
    module = view.model.module
    ids, places = candidates.pairs()
    vocabulary, token = ids.unique(return_inverse=True)
    repeated = vocabulary[:, None].expand(-1, int(places.max()) + 1)
    inputs = layer_input(module, first.query, input_ids=repeated)[token, places].double()  # [candidates, width]
    readouts = _readouts(inputs @ first.space.basis, token, effort) @ first.space.basis.T  # [tokens, width]
    ends = torch.tensor([candidates.begin, candidates.last])
    read = (readouts.norm(dim=1) > 0.0) & ~torch.isin(vocabulary, ends)
    readouts = readouts[read]
    heads = (module.config.num_attention_heads, -1)
    received, states, errors, told = [], [], [], []
    for role in (Role.QUERY, Role.KEY):
        info = only(view.model.layout, role, 0)
        if info.name not in first.updates:  # texts of one token
            return None
        gradient = first.updates[info.name].double()
        known = gradient.any(dim=1)  # [outputs]
        told.append(known.unflatten(0, heads)[:, None])  # [heads, 1, head width]
        weight = by_input(module.get_parameter(info.name).detach(), view, info).double()
        bias = getattr(module.get_submodule(info.name.removesuffix(".weight")), "bias", None)
        off = gradient - gradient @ first.space.basis @ first.space.basis.T  # noise: what is left off the row space
        level = off.square().sum() / (known.sum().clamp_min(1) * max(off.shape[1] - first.space.rank, 1))
        received.append((readouts @ gradient.T).unflatten(1, heads).transpose(0, 1))  # [heads, tokens, head width]
        power = received[-1].square().sum(dim=2) / told[-1].sum(dim=2).clamp_min(1)  # [heads, tokens]
        errors.append(level * readouts.square().sum(dim=1) / power.clamp_min(1e-300))
        states.append(inputs @ weight.T + (0.0 if bias is None else bias.detach().double()))
        states[-1] = states[-1].unflatten(1, heads).transpose(0, 1)  # [heads, candidates, head width]
    if len(readouts) == 0 or states[0].shape != states[1].shape:
        return None
    # Outputs whose update is not known are left out on both sides, heads with few others altogether.
    start = int(((ids == candidates.begin) & (places == 0)).nonzero()[0, 0])
    queries, keys = states[0] * told[1], (states[1] - states[1][:, start, None]) * told[0]
    axis = _unit(queries[:, start, None])  # [heads, 1, head width]: every text has the begin token's query
    queries, keyed = (part - (part * axis).sum(dim=-1, keepdim=True) * axis for part in (queries, received[1]))
    kept = torch.cat(told)[:, 0].double().mean(dim=1) >= _TOLD  # [blocks]
    if not bool(kept.any()):
        return None
    targets = _unit(torch.cat([received[0], keyed]))[kept].transpose(0, 1)
    return Links(
        ids,
        places,
        directions=_unit(torch.cat([keys, queries])[kept]),
        targets=targets.contiguous(),
        errors=torch.cat(errors)[kept].T.contiguous(),
        readers=torch.where(read, read.cumsum(0) - 1, -1)[token],
        begin=candidates.begin,
        last=candidates.last,
    )


def _readouts(inputs: "Tensor", token: "Tensor", effort: Effort) -> "Tensor":
    """For each token a direction [tokens, width] that no other token's inputs [candidates, width] have a part in.

    Zero where there is none, or no effort was left to look.
    """
    inputs, found = _unit(inputs), []
    gram = inputs.T @ inputs
    for index in range(int(token.max()) + 1):
        if effort.over:
            found.append(torch.zeros_like(inputs[0]))
            continue
        own = inputs[token == index]
        effort.decompositions(inputs.shape[1] ** 3)
        values, vectors = torch.linalg.eigh(gram - own.T @ own)  # of the others; far more exact than `_UNSEEN`
        unseen = vectors[:, values < _UNSEEN * values[-1]]
        readout = unseen @ (own.mean(dim=0) @ unseen)
        found.append(readout if float(readout.norm()) > _FAINT else torch.zeros_like(readout))
    return torch.stack(found)


def _unit(vectors: "Tensor") -> "Tensor":
    scaled: Tensor = vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-30)
    return scaled
