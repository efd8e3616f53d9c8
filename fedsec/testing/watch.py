"""Detects what a plug-in changes: what it was handed must be unchanged, and no global generator may have moved."""

import functools
import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from fedsec.api.hooks import METHODS, OBSERVE
from fedsec.maths.rows import Rows

_MAY_CHANGE = {"on_broadcast": (0,), "on_aggregate": (0,), "on_model": (0,), "on_release": (0,), "exchange": (1,)}
"""Arguments that the hook is told to be copies, by place."""
_NOT_LOOKED_AT = ("generator", "blackboard", "tokenizer", "layout", "wire", "secrets", "lasting")
"""Fields of views that may be used up or written to, and those that cannot be changed."""


def hooks_of(kind: Any, *asked: str) -> tuple[str, ...]:
    """The methods of a plug-in's class that fedsec may call.

    Args:
        kind: the class, or whatever else a card's target is.
        asked: methods that goals ask, of which only attacks have any.
    """
    known = dict.fromkeys((*METHODS, OBSERVE, *asked))
    return tuple(method for method in known if callable(getattr(kind, method, None)))


@contextmanager
def watched(kind: type[Any], *asked: str) -> Iterator[None]:
    """For as long as the block lasts, every hook of the class raises AssertionError if it changes what it was handed.

    Args:
        kind: a plug-in's class.
        asked: what an attack's goal asks of it, beside hooks.
    """
    own = {method: kind.__dict__.get(method) for method in hooks_of(kind, *asked)}
    for method in own:
        setattr(kind, method, _watching(kind.__name__, method, getattr(kind, method)))
    try:
        yield
    finally:
        for method, before in own.items():
            if before is None:
                delattr(kind, method)  # it is inherited
            else:
                setattr(kind, method, before)


def _watching(name: str, method: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    names = [one for one in inspect.signature(hook).parameters if one != "self"]
    may_change = _MAY_CHANGE.get(method, ())

    @functools.wraps(hook)
    def watching(self: Any, *given: Any) -> Any:
        named = zip(names, given, strict=False)  # the hook itself complains of too many
        kept = [(name, one) for place, (name, one) in enumerate(named) if place not in may_change]
        before, generators = leaves(kept), _global_generators()
        found = hook(self, *given)
        after = leaves(kept)
        changed = differing(before, after)
        if changed:
            raise AssertionError(f"{name}.{method} changed {changed[0]} that it was handed; return a changed copy")
        if generators != _global_generators():
            raise AssertionError(f"{name}.{method} draws from a global generator; draw from the view's `generator`")
        return found

    return watching


def leaves(given: list[tuple[str, Any]]) -> dict[str, Any]:
    """Every tensor and plain value of named things, by path; tensors as copies."""
    return {path: leaf for name, one in given for path, leaf in _leaves(one, name)}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every tensor and plain value below, by path; tensors as copies."""
    if isinstance(value, torch.Tensor):
        yield path, value.detach().clone()
    elif isinstance(value, Rows):
        yield from ((f"{path}.rows[{place}]", source.clone()) for place, source in enumerate(value._sources))
        yield f"{path}.mixing", value.mixing.clone()
    elif isinstance(value, nn.Module):
        yield f"{path}.training", value.training
        for name, tensor in value.state_dict().items():
            yield f"{path}.{name}", tensor.clone()
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if field.name not in _NOT_LOOKED_AT:
                yield from _leaves(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for key, one in value.items():  # of `granted`, this does not count as its use
            yield from _leaves(one, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for place, one in enumerate(value):
            yield from _leaves(one, f"{path}.{place}")
    elif value is None or isinstance(value, (bool, int, float, str)):
        yield path, value


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Paths at which two results of `leaves` differ; NaN equals NaN."""
    return [path for path in {**before, **after} if not _same(before.get(path), after.get(path))]


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
        fits = before.shape == after.shape and before.dtype == after.dtype
        return fits and bool(((before == after) | ((before != before) & (after != after))).all())
    return type(before) is type(after) and (before == after or before != before)


def _global_generators() -> tuple[Any, ...]:
    drawn: Any = np.random.get_state()
    return (random.getstate(), drawn[1].tobytes(), drawn[2:], torch.get_rng_state().numpy().tobytes())
