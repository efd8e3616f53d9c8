"""A tree of tensors and JSON values in one safetensors file: written atomically, read without trusting it.

Tensors lie in the file by number; the tree that they hang in is JSON in the file's metadata, beside a hash of it all
that tells a damaged file (not a forged one). Tuples come back as lists. Nothing that is read can execute code or take
more memory than the file is long.
"""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from fedsec.errors import FedsecError
from fedsec.store.atomic import write_bytes

SCHEMA = "1"
_TENSOR, _FLOAT = "$tensor", "$float"
_FLOATS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
MAX_DEPTH = 50


class DamagedBundleError(FedsecError):
    """The file is no bundle, or none that this version can read."""


def write_bundle(path: Path, tree: Mapping[str, Any], mode: int = 0o600) -> None:
    """Write a tree to a file, atomically.

    Args:
        path: the file; parents are made.
        tree: mappings with text keys, lists, tuples, texts, numbers, None and tensors.
        mode: permissions.

    Raises:
        TypeError: something else is in the tree.
    """
    text, tensors = _skeleton(tree)
    about = {"schema": SCHEMA, "tree": text, "content": _content_hash(text, tensors)}
    write_bytes(path, save(tensors, metadata=about), mode)


def packed(tree: Mapping[str, Any]) -> bytes:
    """Return a tree as bytes, without a hash, for another process of the same run.

    Raises:
        TypeError: something is in the tree that cannot be stored; see `write_bundle`.
    """
    text, tensors = _skeleton(tree)
    content: bytes = save(tensors, metadata={"tree": text})
    return content


def unpacked(content: bytes) -> dict[str, Any]:
    """Return the tree of `packed`; ValueError if it is truncated."""
    if len(content) < 8 or len(content) < 8 + (length := struct.unpack("<Q", content[:8])[0]):
        raise ValueError("cut off")
    text = json.loads(content[8 : 8 + length])["__metadata__"]["tree"]
    tree = _decode(json.loads(text), load(content), 0)
    if not isinstance(tree, dict):
        raise ValueError("no mapping")
    return tree


def _skeleton(tree: Mapping[str, Any]) -> tuple[str, dict[str, torch.Tensor]]:
    """Return a checked tree as JSON, and its tensors by number."""
    tensors: dict[str, torch.Tensor] = {}
    check_tree(tree)
    return json.dumps(_encode(tree, tensors), allow_nan=False), tensors  # in ASCII, which holds every text


def check_tree(value: Any, where: str = "", depth: int = 0) -> None:
    """Raise TypeError with the place if a tree holds something that cannot be stored."""
    if depth > MAX_DEPTH:
        raise TypeError(f"{where[:200]} is nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str) or key.startswith("$"):
                place = where or "the tree"
                raise TypeError(f"{place} has the key {key!r:.80}; keys are texts without a $ in front")
            check_tree(part, f"{where}/{key}", depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        for index, part in enumerate(value):
            check_tree(part, f"{where}/{index}", depth + 1)
    elif isinstance(value, torch.Tensor):
        if value.is_complex() or value.is_quantized or value.layout != torch.strided:
            raise TypeError(f"{where or 'the tree'} holds a tensor of another kind than plain numbers: {value.dtype}")
    elif not (value is None or isinstance(value, (bool, int, float, str))):
        kind = type(value).__name__
        raise TypeError(f"{where or 'the tree'} holds {kind}; only tensors and JSON values can be stored")


def read_bundle(path: Path) -> dict[str, Any]:
    """Return the tree of a file.

    Raises:
        DamagedBundleError: it is missing, damaged, or of another schema.
    """
    try:
        _refuse_absurd_header(path)
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            if metadata.get("schema") != SCHEMA:
                raise DamagedBundleError(f"{path} has schema {metadata.get('schema')!r:.40}, expected {SCHEMA!r}")
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - no mapping
        text = metadata.get("tree", "")
        if metadata.get("content") != _content_hash(text, tensors):
            raise DamagedBundleError(f"{path} is damaged: its content is not what was written")
        tree = _decode(json.loads(text), tensors, 0)
    except DamagedBundleError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        raise DamagedBundleError(f"{path} cannot be read: {error}") from error
    if not isinstance(tree, dict):
        raise DamagedBundleError(f"{path} holds no mapping")
    return tree


def _refuse_absurd_header(path: Path) -> None:
    """Refuse a header that claims to be longer than the file, before memory is reserved for it."""
    if not path.is_file():  # opening a pipe would wait for ever
        raise DamagedBundleError(f"{path} is no file")
    size = path.stat().st_size
    if size < 8:  # empty, or a file of the system's that never ends
        raise DamagedBundleError(f"{path} is cut off or no safetensors file")
    with path.open("rb") as stream:
        start = stream.read(8)
    if len(start) < 8 or struct.unpack("<Q", start)[0] > size - 8:
        raise DamagedBundleError(f"{path} is cut off or no safetensors file")


def _content_hash(tree: str, tensors: Mapping[str, torch.Tensor]) -> str:
    found = hashlib.sha256(tree.encode("utf-8"))
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"\n{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _encode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Return a checked tree as JSON; its tensors go into `tensors` by number."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()  # safetensors refuses shared storage
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {key: _encode(part, tensors) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_encode(part, tensors) for part in value]
    if isinstance(value, float) and not isfinite(value):
        return {_FLOAT: str(value)}
    return value


def _decode(value: Any, tensors: Mapping[str, torch.Tensor], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, list):
        return [_decode(part, tensors, depth + 1) for part in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (key, content), *_ = value.items()
        if key == _TENSOR:
            return tensors[content]
        if key == _FLOAT:
            return _FLOATS[content]
    return {key: _decode(part, tensors, depth + 1) for key, part in value.items()}
