"""What gradient matching knows of a batch before it starts: which gradient, texts, lengths and labels."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from fedsec.api import Knowledge, ParameterInfo, Role, RoundView
from fedsec.maths.factored_gradients import FactoredGradients, Observed
from fedsec.maths.row_space import row_space

from ..shared.texts import texts_per_client
from .blur import cleaned
from .objective import Problem, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

_TABLES = (Role.WORD_EMBEDDING, Role.POSITION_EMBEDDING)
_UNUSED = re.compile(r"[\[<]\|?(unused|extra_id|reserved)\w*\|?[\]>]")

_ZERO = 1e-8
"""A parameter's gradient whose root mean square is below this share of the largest is rounding: key biases, whose
gradient vanishes in every softmax, are found at 1e-9 and less."""

_TYPICAL, _LONGEST = 20, 64
"""Tokens of a text where neither its length nor the gradient's rank says more, and the most that are guessed."""

_BELIEVED = 0.9
"""Of a matrix's width: a higher rank is that of noise."""


def problem_of(view: RoundView, place: int | None) -> Problem | None:
    """What the update of one client poses, or the aggregate where rows stay hidden; None for an update that is zero.

    Args:
        view: the round.
        place: of the client among those whose rows are seen; None for the aggregate.

    Raises:
        ValueError: the view shows neither rows nor an aggregate, or no linear layer is trained.
    """
    if place is not None and view.rows is not None:
        return _problem(view, view.clients[place], view.rows[place], (place,))
    if view.aggregate is None:
        raise ValueError("gradient matching needs updates or their sum, and this view shows neither")
    return _problem(view, None, view.aggregate, tuple(range(len(view.cohort))))


def _problem(view: RoundView, client: int | None, update: "Tensor", who: Sequence[int]) -> Problem | None:
    module, layout, tokenizer = view.model.module, view.model.layout, view.model.tokenizer
    scale = _scale(view)
    gradient = scale * update
    matched = FactoredGradients(module, [p.name for p in layout.parameters if p.role not in _TABLES])
    if not matched.names:
        raise ValueError("the update holds no linear layer's gradient; matching needs one")
    infos = {p.name: p for p in layout.parameters if p.name in matched.names}
    targets = _telling({name: _by_output(layout.tensor(gradient, name), info) for name, info in infos.items()})
    if not targets:
        return None
    labels = view.granted.get(Knowledge.LABELS)
    texts = texts_per_client(view) * len(who) if labels is None else sum(len(labels[place]) for place in who)
    lengths = _lengths(view, targets, infos, who, texts)
    frame, mask = _frame(lengths, tokenizer)
    targets = cleaned(view, update, targets, abs(scale), int(mask.sum()))
    return Problem(
        client=client,
        module=module,
        gradients=FactoredGradients(module, list(targets)),
        observed=Observed(targets, int(mask.sum()), view.generator),
        vocabulary=_vocabulary(module, tokenizer),
        frame=frame,
        mask=mask,
        labels=_labels(view, gradient, who, len(lengths)),
        generator=view.generator,
        seconds_left=view.seconds_left,
    )


def _scale(view: RoundView) -> float:
    """What turns an update into the gradient that it stands for; a weight difference is divided by the way of SGD."""
    if view.training.update == "gradient":
        return 1.0
    return -1.0 / (view.training.learning_rate * view.training.local_steps)


def _by_output(gradient: "Tensor", info: ParameterInfo) -> "Tensor":
    return gradient.T if info.inputs_first else gradient


def _telling(gradients: dict[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Those that are more than rounding."""
    sizes = {name: float(one.square().mean().sqrt()) for name, one in gradients.items()}
    largest = max(sizes.values())
    return {name: one for name, one in gradients.items() if sizes[name] > _ZERO * largest}


def _vocabulary(module: Any, tokenizer: Any) -> Vocabulary:
    table = module.get_input_embeddings().weight.detach()
    allowed = torch.zeros(len(table), dtype=torch.bool)
    known = tokenizer.convert_ids_to_tokens(list(range(min(len(tokenizer), len(table)))))
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    for place, token in enumerate(known):
        allowed[place] = token is not None and place not in special and not _UNUSED.fullmatch(token)
    return Vocabulary(table, allowed)


def _frame(lengths: Sequence[int], tokenizer: Any) -> tuple["Tensor", "Tensor"]:
    """Known ids or -1, and the mask, both [texts, tokens]: special tokens stand at both ends, padding on the right."""
    example = tokenizer("a")["input_ids"]
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    inner = [place for place, one in enumerate(example) if one not in special]
    before, after = (example[: inner[0]], example[inner[-1] + 1 :]) if inner else (example, [])
    longest = max(lengths)
    frame = torch.full((len(lengths), longest), -1)
    mask = torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, :length] = 1
        frame[row, length:] = tokenizer.pad_token_id
        frame[row, : len(before)] = torch.tensor(before, dtype=torch.long)
        frame[row, length - len(after) : length] = torch.tensor(after, dtype=torch.long)
    return frame, mask


def _lengths(
    view: RoundView, gradients: dict[str, "Tensor"], infos: dict[str, ParameterInfo], who: Sequence[int], texts: int
) -> list[int]:
    """Tokens of every text, special ones included, as granted; else all alike, from the rank of a layer's gradients.

    A weight's gradient is a sum of one product per token, so that its rank is the number of the batch's tokens; in a
    classifier's last layer most tokens receive nothing of their own.
    """
    granted = view.granted.get(Knowledge.LENGTHS)
    if granted is not None:
        return [int(length) for place in who for length in granted[place]]
    layers = sorted({info.layer for info in infos.values() if info.layer is not None})
    inner = layers[(len(layers) - 1) // 2] if layers else None
    spaces = [row_space([g]) for name, g in gradients.items() if g.ndim == 2 and infos[name].layer == inner]
    # Pruned and rounded matrices are of nearly full rank, which says nothing.
    told = [space.rank for space in spaces if 0 < space.rank < _BELIEVED * len(space.singular)]
    total = max(told) if told else _TYPICAL * texts
    least = view.model.tokenizer.num_special_tokens_to_add() + 1
    return [min(_LONGEST, max(least, total // texts + (place < total % texts))) for place in range(texts)]


def _labels(view: RoundView, gradient: "Tensor", who: Sequence[int], texts: int) -> "Tensor":
    """Classes [texts] as granted; else those that the head's bias tells.

    Its gradient is the mean over the texts of p - y, with p the model's probabilities and y one-hot. Where p is taken
    as even, the classes' counts follow; a single text's class is the one entry below 0, exactly.

    Source: Zhao et al., iDLG, 2020, section 3; counts: Geng et al., 2021. Deviations: p is taken as even.
    """
    granted = view.granted.get(Knowledge.LABELS)
    if granted is not None:
        return torch.tensor([int(label) for place in who for label in granted[place]])
    heads = [p for p in view.model.layout.find(Role.HEAD) if len(p.shape) == 1]
    if not heads:
        return torch.zeros(texts, dtype=torch.long)
    slope = view.model.layout.tensor(gradient, heads[-1].name).double()  # [classes]
    shares = (1 / len(slope) - slope).clamp_min(0)
    left = shares / shares.sum().clamp_min(1e-12) * texts
    chosen = []
    for _ in range(texts):
        chosen.append(int(left.argmax()))
        left[chosen[-1]] -= 1
    return torch.tensor(sorted(chosen))
