"""What a model's folder tells before the model is loaded. Imports no torch."""

import json
from pathlib import Path
from typing import Any

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_TOKENIZERS = ("tokenizer", "vocab", "merges", "spiece", "sentencepiece", "special_tokens_map")
"""What names of a tokenizer's files begin with; some tokenizers have no vocabulary and only settings."""


def fault_of(folder: Path) -> str | None:
    """Why no model can be loaded from a folder, as far as its files tell; None if they tell nothing.

    Args:
        folder: an existing folder.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
        if "adapter_config.json" in names:  # adapters on another model, which may lie anywhere
            return None
        lacking = [] if "config.json" in names else ["config.json"]
        lacking += [] if WEIGHTS in names else _shards(folder, names)
        if not any(name.startswith(_TOKENIZERS) or name.endswith(".model") for name in names):
            lacking.append("a tokenizer (tokenizer.json, vocab.txt or the like)")
        if lacking:
            others = [name for name in names if name.endswith((".bin", ".pt", ".h5", ".msgpack"))]
            hint = f"; of {others[0]} nothing is read, since such files may run code" if others else ""
            return f"the folder {folder} lacks {', '.join(lacking)}{hint}"
        if not isinstance(_json(folder / "config.json"), dict):
            return f"{folder / 'config.json'} is no JSON object"
        if WEIGHTS in names and not _has_header(folder / WEIGHTS):
            return f"{folder / WEIGHTS} is no safetensors file, or is cut off"
    except OSError as error:
        return f"the folder {folder} cannot be read: {error}"
    return None


def classes_of(folder: Path) -> int | None:
    """How many classes the head of a folder's model tells apart, by its config.json; None if it does not say."""
    try:
        config = _json(folder / "config.json")
    except OSError:
        return None
    if not isinstance(config, dict) or "ForSequenceClassification" not in str(config.get("architectures")):
        return None
    names = config.get("id2label")
    return len(names) if isinstance(names, dict) else 2  # transformers does not write down its default


def _shards(folder: Path, names: list[str]) -> list[str]:
    """What is missing of weights in several files."""
    index = _json(folder / INDEX) if INDEX in names else None
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict):
        return [WEIGHTS]
    return sorted({str(name) for name in files.values()} - set(names))


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None


def _has_header(file: Path) -> bool:
    """Whether a file begins as safetensors do and is as long as it says."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(size - 8, 100_000_000):
            return False
        try:
            header = json.loads(stream.read(length))
            ends = [one["data_offsets"][1] for one in header.values() if "dtype" in one]
            return 8 + length + int(max(ends, default=0)) <= size
        except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
            return False
