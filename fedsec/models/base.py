"""What loading a base model returns, and loading one from a path or hub id."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedsec.errors import MissingDataError
from fedsec.seeds import scoped_torch_rng


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model with its tokenizer."""

    module: nn.Module
    tokenizer: Any
    weights_hash: str
    """sha256 of the pretrained weights file, or of what a random model is built from."""


def load_pretrained(path: str, *, labels: int, generator: torch.Generator) -> BaseModel:
    """A sequence classification model from a local folder or, where the network allows, a hub id.

    Only safetensors weights are read, and no code of the repository is run.

    Args:
        path: folder or hub id.
        labels: number of classes. A checkpoint that has a head of that size keeps it; any other gets a new one.
        generator: source of the head's initial values.

    Raises:
        MissingDataError: neither a readable folder nor a reachable hub id, or weights that do not fit.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        with quiet_transformers(), scoped_torch_rng(generator):
            module = AutoModelForSequenceClassification.from_pretrained(
                path, num_labels=labels, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
            )
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:  # missing, damaged, of other sizes
        raise MissingDataError(
            f"model '{path}' cannot be loaded: {error}\nGive a registered name (fedsec list models), a folder with "
            "config.json, model.safetensors and a tokenizer, or a hub id that this machine has cached or can reach."
        ) from error
    if tokenizer.pad_token_id is None:  # decoders have none; masked padding is never read, so any token serves
        tokenizer.pad_token = tokenizer.eos_token
    module.config.pad_token_id = tokenizer.pad_token_id
    return BaseModel(module, tokenizer, _weights_hash(Path(path), module))


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars, load reports and deprecation notices off the user's terminal."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _weights_hash(folder: Path, module: nn.Module) -> str:
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    digest = hashlib.sha256()
    if files:
        for file in files:
            digest.update(sha256_of(file).encode())
        return digest.hexdigest()
    encoder: Any = module.base_model
    # A hub id: hash the encoder's tensors (the head is new and seeded).
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
