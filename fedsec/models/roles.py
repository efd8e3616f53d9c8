"""What each parameter of a transformers model is for."""

import re
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from fedsec.api import ParameterInfo, Role

_ATTENTION = {
    Role.QUERY: re.compile(r"\b(query|q_proj|q_lin)\b"),
    Role.KEY: re.compile(r"\b(key|k_proj|k_lin)\b"),
    Role.VALUE: re.compile(r"\b(value|v_proj|v_lin)\b"),
    # Only where queries, keys and values stand one after another; GPT-NeoX and BLOOM mix them head by head.
    Role.QUERY_KEY_VALUE: re.compile(r"\b(attn\.c_attn|Wqkv|qkv_proj)\b"),
}
_FACTOR = re.compile(r"\.lora_([AB])\b")
_LAYER = re.compile(r"\b(?:layer|layers|h)\.(\d+)\.")
_PEFT_PREFIX = "base_model.model."


def describe_parameters(model: nn.Module) -> tuple[ParameterInfo, ...]:
    """Return every parameter of `model` once, tied ones under their first name, in the model's order.

    Embeddings are found in the tree of modules, whatever a family calls them: the tables outside the layers, what
    shares a block with them, and whatever else a text passes before the first layer.

    The untrained copy of the head that peft keeps aside is not among them: the forward pass never uses it.
    """
    base: Any = unwrapped(model)
    embeddings = _embeddings(base)
    wrapping = "" if base is model else _PEFT_PREFIX
    prefix = f"{wrapping}{base.base_model_prefix}."
    turned = {f"{name}.weight" for name, part in model.named_modules() if type(part).__name__ == "Conv1D"}
    return tuple(
        _described(name, parameter, embeddings.get(id(parameter)) or _role(name, prefix), name in turned)
        for name, parameter in model.named_parameters()
        if not (wrapping and ".original_module." in name)
    )


def _described(name: str, parameter: nn.Parameter, role: Role, turned: bool) -> ParameterInfo:
    layer, factor = _LAYER.search(name), _FACTOR.search(name)
    return ParameterInfo(
        name=name,
        shape=tuple(parameter.shape),
        role=role,
        layer=int(layer.group(1)) if layer else None,
        factor=factor.group(1) if factor else None,
        adapts=_attention_role(f"{name[: factor.start()]}.weight") if factor else None,
        inputs_first=turned,
    )


def unwrapped(model: nn.Module) -> nn.Module:
    """The transformers model inside a peft wrapper, or the model itself."""
    get_base = getattr(model, "get_base_model", None)
    return get_base() if callable(get_base) else model


def _role(name: str, prefix: str) -> Role:
    if "lora_" in name:
        return Role.ADAPTER
    if not name.startswith(prefix):
        return Role.HEAD
    if name.endswith("weight") and _LAYER.search(name):
        return _attention_role(name)
    return Role.OTHER


def _attention_role(name: str) -> Role:
    return next((role for role, pattern in _ATTENTION.items() if pattern.search(name)), Role.OTHER)


def _embeddings(model: Any) -> dict[int, Role]:
    """Return the roles of everything below the layers, by the parameters' ids."""
    body, words = model.base_model, model.get_input_embeddings()
    layered = {id(part) for stack in body.modules() if isinstance(stack, nn.ModuleList) for part in stack.modules()}
    holding = {id(part) for part in body.modules() if any(isinstance(one, nn.ModuleList) for one in part.modules())}
    outside = [part for part in body.modules() if id(part) not in layered and id(part) not in holding]
    tables = [part for part in outside if isinstance(part, nn.Embedding) or part is words]
    passed = _before_the_layers(body, words, layered)
    found: dict[int, Role] = {}
    for part in outside:
        inner = list(part.modules())
        if any(part is one for one in passed) or any(table is one for one in inner for table in tables):
            found |= {id(parameter): Role.EMBEDDING for parameter in part.parameters()}
    positions = getattr(model.config, "max_position_embeddings", None)
    for table in tables:
        if isinstance(positions, int) and _counts_positions(table, positions) and (not passed or table in passed):
            found[id(table.weight)] = Role.POSITION_EMBEDDING
    return {**found, id(words.weight): Role.WORD_EMBEDDING}


def _counts_positions(table: nn.Module, positions: int) -> bool:
    """Return whether a table has a row for each position, and perhaps unused rows or one more for each direction."""
    return isinstance(table, nn.Embedding) and positions <= table.num_embeddings <= 2 * positions + 2


class _LayersReached(Exception):
    """A text has passed everything before the first layer."""


@torch.no_grad()
def _before_the_layers(body: Any, words: Any, layered: Collection[int]) -> list[nn.Module]:
    """The parts that a text of one token passes before the first layer; none if it does not get there.

    Args:
        body: a transformers model without its head.
        words: its word embedding.
        layered: ids of what lies in layers.
    """
    seen: list[nn.Module] = []

    def note(part: nn.Module, *_: Any) -> None:
        if id(part) in layered:
            raise _LayersReached
        seen.append(part)

    training = [(part, part.training) for part in body.modules()]
    handles = [part.register_forward_pre_hook(note) for part in body.modules()]
    try:
        body.eval()  # dropout would draw
        body(input_ids=torch.zeros(1, 1, dtype=torch.long, device=words.weight.device))
    except _LayersReached:
        return seen
    except Exception:  # a family that takes something else; the tree alone then says what there is
        return []
    finally:
        for handle in handles:
            handle.remove()
        for part, before in training:
            part.training = before
    return []
