"""What gradient matching knows of a batch before it starts: which gradient, texts, lengths and labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
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

_ADDED = (Role.POSITION_EMBEDDING, Role.EMBEDDING)
"""Roles under which tables stand that are added to word embeddings; normalisations have the latter too."""

_UNUSED = re.compile(r"[\[<]\|?(unused|extra_id|reserved)\w*\|?[\]>]")

_VANISHING = torch.finfo(torch.float32).eps ** 0.5
"""Half of the digits. A bias's gradient is the sum of what its layer's outputs receive, and the weight's is the sum of
the same times the inputs: the two are of one size unless the sum cancels, which leaves about eps of the weight's."""

_BELIEVED = 0.9
"""Of a matrix's width. A rank above it is that of noise, or of more tokens than a rank can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What every attack takes for granted that matches gradients.

    Args:
        usual_length: tokens of a text where neither its length is granted nor the gradient's rank tells it.
        longest: tokens of a text at most, where its length is not granted.
        exact: |g - G| / |G| below which nothing but rounding is left between a claim's gradient and the observed one.
    """

    usual_length: int = 20
    longest: int = 64
    exact: float = 3e-6


def problem_of(view: RoundView, place: int | None, settings: Matching, *, tables: bool = True) -> Problem | None:
    """What the update of one client poses, or the aggregate where rows stay hidden; None for an update that is zero.

    Args:
        view: what the attacker sees.
        place: of the client among those whose rows are seen; None for the aggregate.
        settings: the attack's.
        tables: whether the gradients of embeddings that are added to the words' are matched, where they are trained.

    Raises:
        ValueError: the view shows neither rows nor an aggregate, or no linear layer is trained.
    """
    parameters = [p for p in view.model.layout.parameters if p.role != Role.WORD_EMBEDDING]
    wanted = [p.name for p in parameters if tables or not _is_table(p)]
    names = FactoredGradients(view.model.module, wanted).names
    if not names:
        raise ValueError("the update holds no linear layer's gradient; matching needs one")
    if place is not None and view.rows is not None:
        return _problem(view, settings, names, view.clients[place], (place,), view.rows[place])
    if view.aggregate is None:
        raise ValueError("gradient matching needs updates or their sum, and this view shows neither")
    return _problem(view, settings, names, None, tuple(range(len(view.cohort))), view.aggregate)


def _is_table(info: ParameterInfo) -> bool:
    return info.role in _ADDED and len(info.shape) == 2


def _problem(
    view: RoundView,
    settings: Matching,
    names: Sequence[str],
    client: int | None,
    who: Sequence[int],
    update: "Tensor",
) -> Problem | None:
    module, layout, tokenizer = view.model.module, view.model.layout, view.model.tokenizer
    scale = _scale(view)
    gradient = scale * update
    infos = {p.name: p for p in layout.parameters if p.name in names}
    targets = _telling({name: _by_output(layout.tensor(gradient, name), info) for name, info in infos.items()})
    if not targets:
        return None
    labels = view.granted.get(Knowledge.LABELS)
    texts = texts_per_client(view) * len(who) if labels is None else sum(len(labels[place]) for place in who)
    lengths = _lengths(view, settings, targets, infos, who, texts)
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
        exact=settings.exact,
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
    """Those that are more than rounding: a key's bias, for one, adds the same to all scores of a softmax."""
    found = {}
    for name, gradient in gradients.items():
        weight = gradients.get(f"{name.removesuffix('.bias')}.weight")
        beside = weight is not None and weight.ndim == 2 and gradient.ndim == 1
        floor = _VANISHING * float(weight.norm()) if weight is not None and beside else 0.0
        if float(gradient.norm()) > floor:
            found[name] = gradient
    return found


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
    view: RoundView,
    settings: Matching,
    gradients: dict[str, "Tensor"],
    infos: dict[str, ParameterInfo],
    who: Sequence[int],
    texts: int,
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
    total = max(told) if told else settings.usual_length * texts
    least = view.model.tokenizer.num_special_tokens_to_add() + 1
    return [min(settings.longest, max(least, total // texts + (place < total % texts))) for place in range(texts)]


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
