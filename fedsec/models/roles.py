"""What each parameter of a transformers model is for."""

import re
from typing import Any

from torch import nn

from fedsec.api import ParameterInfo, Role

_ATTENTION = {
    Role.QUERY: re.compile(r"\b(query|q_proj|q_lin)\b"),
    Role.KEY: re.compile(r"\b(key|k_proj|k_lin)\b"),
    Role.VALUE: re.compile(r"\b(value|v_proj|v_lin)\b"),
}
_LAYER = re.compile(r"\b(?:layer|layers|h)\.(\d+)\.")
_POSITION = re.compile(r"\b(position_embeddings|wpe)\b")
_PEFT_PREFIX = "base_model.model."
_EMBEDDING_BLOCK = re.compile(r"\bembeddings\.|\b(wte|wpe)\b")


def describe_parameters(model: nn.Module) -> tuple[ParameterInfo, ...]:
    """Every parameter of `model` once, tied ones under their first name, in the model's order.

    The untrained copy of the head that peft keeps aside is not among them: the forward pass never uses it.
    """
    base: Any = unwrapped(model)
    words = base.get_input_embeddings().weight
    wrapping = "" if base is model else _PEFT_PREFIX
    prefix = f"{wrapping}{base.base_model_prefix}."
    return tuple(
        ParameterInfo(
            name=name,
            shape=tuple(parameter.shape),
            role=Role.WORD_EMBEDDING if parameter is words else _role(name, prefix),
            layer=int(found.group(1)) if (found := _LAYER.search(name)) else None,
        )
        for name, parameter in model.named_parameters()
        if not (wrapping and ".original_module." in name)
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
    if _POSITION.search(name):
        return Role.POSITION_EMBEDDING
    if _EMBEDDING_BLOCK.search(name):
        return Role.EMBEDDING
    if name.endswith("weight") and _LAYER.search(name):
        for role, pattern in _ATTENTION.items():
            if pattern.search(name):
                return role
    return Role.OTHER
