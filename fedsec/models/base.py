"""What loading a base model returns, and loading one from a path or hub id."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedsec.api import Role
from fedsec.errors import FedsecError, MissingDataError
from fedsec.models.roles import describe_parameters, unwrapped
from fedsec.seeds import scoped_torch_rng
from fedsec.store.keys import file_hash

SEQUENCE_CLASSIFICATION, CAUSAL_LM = "sequence-classification", "causal-lm"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model with its tokenizer."""

    module: nn.Module
    tokenizer: Any
    weights_hash: str
    """sha256 of the pretrained weights file, or of what a random model is built from."""


def load_pretrained(
    path: str, *, labels: int, generator: torch.Generator, task: str = SEQUENCE_CLASSIFICATION
) -> BaseModel:
    """A model for a task from a local folder or, where the network allows, a hub id.

    Only safetensors weights are read, and no code of the repository is run.

    Args:
        path: folder or hub id.
        labels: number of classes. A checkpoint that has a head of that size keeps it; any other gets a new one. All
            below the head comes from the weights.
        generator: source of the head's initial values.
        task: `sequence-classification`, or `causal-lm`, which takes the checkpoint's output layer.

    Raises:
        MissingDataError: neither a readable folder nor a reachable hub id, or weights that do not fit.
        FedsecError: the model has fewer words than its tokenizer, or, under `causal-lm`, sees what comes after a token.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

    options = {"use_safetensors": True, "trust_remote_code": False, "dtype": torch.float32}
    # Sizes are checked below: of a head they may differ, and transformers' own refusal names none.
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with quiet_transformers(), scoped_torch_rng(generator):
            if task == CAUSAL_LM:
                module, found = AutoModelForCausalLM.from_pretrained(path, **options)
            else:
                module, found = AutoModelForSequenceClassification.from_pretrained(path, num_labels=labels, **options)
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:  # missing, damaged, of other sizes
        raise MissingDataError(
            f"model '{path}' cannot be loaded: {error}\nGive a registered name (fedsec list models), a folder with "
            "config.json, model.safetensors and a tokenizer, or a hub id that this machine has cached or can reach."
        ) from error
    _check_weights(module, found, path, whole=task == CAUSAL_LM)
    if tokenizer.pad_token_id is None:  # decoders have none; masked padding is never read, so any token serves
        tokenizer.pad_token = tokenizer.eos_token
    module.config.pad_token_id = tokenizer.pad_token_id
    if task != CAUSAL_LM:
        check_words(module, tokenizer, path)
    else:
        check_causal(module, tokenizer, path)
    return BaseModel(module, tokenizer, _weights_hash(Path(path), module))


def _check_weights(module: Any, found: Mapping[str, Any], path: str, *, whole: bool) -> None:
    """Refuse weights that leave part of the model random; MissingDataError names some of it.

    Args:
        module: the model.
        found: what transformers says of the loading.
        path: what the message calls the model.
        whole: whether the head has to come from the weights too.
    """
    below = f"{module.base_model_prefix}."
    sizes = {name: (held, wanted) for name, held, wanted in found["mismatched_keys"]}
    lacking, others = (
        [name for name in sorted(names) if whole or name.startswith(below)] for names in (found["missing_keys"], sizes)
    )
    faults = []
    if lacking:
        faults.append(f"its weights lack {_some(lacking)}")
    if others:
        told = [f"{name} ({_shape(sizes[name][0])} instead of {_shape(sizes[name][1])})" for name in others]
        faults.append(f"its weights hold other sizes of {_some(told)}")
    if not faults:
        return
    unused = sorted(found["unexpected_keys"])
    hint = f" What they hold as {_some(unused)} fits nowhere." if lacking and unused else ""
    kind = "complete causal language model" if whole else f"complete {type(module.base_model).__name__}"
    raise MissingDataError(
        f"model '{path}' cannot be loaded: it is no {kind}, {' and '.join(faults)}.{hint} What is not in the weights "
        "would be random. Save the model that config.json describes, with its output layer if it is to write text, by "
        "transformers' save_pretrained."
    )


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(str(size) for size in sizes) or "one number"


def positions_of(module: nn.Module) -> int | None:
    """The longest text in tokens that a transformers model takes; None if nothing limits it.

    Some models count positions from behind the padding token's, and cannot use the rows of their table before.
    """
    model: Any = unwrapped(module)
    said = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(said, int) or said < 1:
        return None
    roles = {info.name: info.role for info in describe_parameters(model)}
    usable = [said]
    for name, part in model.named_modules():
        if isinstance(part, nn.Embedding) and roles.get(f"{name}.weight") == Role.POSITION_EMBEDDING:
            usable.append(part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1))
    return min(usable)


def check_words(module: Any, tokenizer: Any, name: str) -> None:
    """Refuse a tokenizer with more tokens than the model has words; FedsecError gives both numbers.

    Args:
        module: a transformers model.
        tokenizer: its tokenizer.
        name: what the message calls it.
    """
    words = len(module.get_input_embeddings().weight)
    if len(tokenizer) > words:
        raise FedsecError(f"the tokenizer of '{name}' has {len(tokenizer)} tokens, the model only {words}")


@torch.no_grad()
def check_causal(module: Any, tokenizer: Any, name: str) -> None:
    """Refuse a model that sees the tokens it is to predict; FedsecError says what to do.

    transformers builds a language model on any encoder; its loss would look splendid and mean nothing.

    Args:
        module: a transformers model for causal language modelling.
        tokenizer: its tokenizer.
        name: what messages call it.
    """
    check_words(module, tokenizer, name)
    words = int(module.config.vocab_size)
    training = module.training
    module.eval()
    ids = torch.arange(8)[None] % words  # [1, 8]
    other = torch.cat([ids[:, :-1], (ids[:, -1:] + 1) % words], dim=1)
    everything = torch.ones_like(ids)
    first, second = (module(input_ids=one, attention_mask=everything).logits[0, :-1] for one in (ids, other))
    module.train(training)
    if not torch.allclose(first, second, rtol=1e-3, atol=1e-4):
        raise FedsecError(
            f"'{name}' is no causal language model: its {type(module).__name__} sees what comes after a token. "
            "Use a decoder (GPT-2, Llama, Qwen2, ...), or model.task: sequence-classification."
        )
    module.config.use_cache = False  # keys and values are kept for generation only


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


def _weights_hash(folder: Path, module: nn.Module) -> str:
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    digest = hashlib.sha256()
    if files:
        for file in files:
            digest.update(file_hash(file).encode())
        return digest.hexdigest()
    encoder: Any = module.base_model
    # A hub id: hash the encoder's tensors (the head is new and seeded).
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
