"""What a model reads from outside the engine's sources, as one hash; imports no torch."""

from collections.abc import Mapping
from typing import Any

from fedsec import registry
from fedsec.store.keys import data_hash, digest, weights_hash
from fedsec.store.sources import card_hash


def model_hash(name: str, params: Mapping[str, Any]) -> str:
    """Return the hash of a local or hub model's weights, or of a registered model's name and files.

    Args:
        name: as in the scenario.
        params: a registered model's parameters; `trained_on` names a data set, `tokenizer` a folder or hub id.
    """
    if name not in registry.models():
        return weights_hash(name)
    corpus, tokenizer = params.get("trained_on"), params.get("tokenizer")
    read: dict[str, Any] = {}
    if isinstance(corpus, str) and corpus in registry.datasets():
        read["trained_on"] = [data_hash(corpus, None), card_hash(registry.datasets().get(corpus))]
    if isinstance(tokenizer, str) and tokenizer:
        read["tokenizer"] = weights_hash(tokenizer)
    return digest([name, read] if read else name)
