"""Small decoders trained once on a corpus and kept in the user's cache folder under a hash of all that made them."""

import fcntl
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fedsec import registry
from fedsec.api import TrainingSettings
from fedsec.data.corpus import Corpus
from fedsec.data.kept_notes import cache_folder
from fedsec.data.tokens import Batch, collate, tokenise_causal
from fedsec.errors import FedsecError
from fedsec.maths.threads import one_thread
from fedsec.models.base import CAUSAL_LM
from fedsec.models.byte_tokens import tokenizer_hash
from fedsec.seeds import SeedTree
from fedsec.store.atomic import write_bytes
from fedsec.store.keys import data_hash, digest, file_hashes
from fedsec.store.sources import card_hash

_log = logging.getLogger(__name__)
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")
_SOURCES = ("data/*.py", "models/*.py", "seeds.py")
"""Engine sources that decide the weights."""
BATCH_SIZE, LEARNING_RATE = 16, 1e-3
"""AdamW without weight decay; measured to train two to six layers of width 64 to 256 without trouble."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained once."""

    corpus: str
    """A registered data set; its training split is used."""
    steps: int
    max_tokens: int


def pretrain(module: Any, tokenizer: Any, recipe: Recipe) -> str:
    """Train a causal language model on a corpus, or load what an earlier run stored; return the hash of its origin.

    Training runs on one thread and takes all randomness from a fixed seed, so that the weights are the same for every
    cell. A file that is damaged, of other shapes or of another content than its hash says is made anew.

    Args:
        module: a causal language model; its weights are the start and are overwritten.
        tokenizer: of the model.
        recipe: what is done.

    Raises:
        FedsecError: the data set is not registered, not on this machine, or too small.
    """
    card = registry.datasets().get(recipe.corpus)
    made_by = [data_hash(card.name, None), card_hash(card), sources(), {name: version(name) for name in LIBRARIES}]
    model = [type(module).__name__, module.config.to_dict(), tokenizer_hash(tokenizer)]
    key = digest([model, astuple(recipe), BATCH_SIZE, LEARNING_RATE, made_by])

    def make() -> None:
        corpus: Corpus = registry.load_target(card)(card)
        _log.info("training a %s on %s for %d steps", type(module).__name__, card.name, recipe.steps)
        _train(module, tokenizer, corpus, recipe)

    kept(module, key, make)
    return key


def kept(module: nn.Module, key: str, make: Callable[[], None]) -> None:
    """Fill a module with the weights that an earlier run stored under `key`, or train and store them.

    Of processes that want the same weights one makes them, and the others wait for it.

    Args:
        module: its parameters are overwritten.
        key: of everything that decides the weights.
        make: overwrites the module's parameters with them.
    """
    path = cache_folder() / "models" / f"{key}.safetensors"
    named = dict(module.named_parameters())  # tied weights stand once
    with alone(path):
        found = _read(path, named, key)
        if found is None:
            make()
            _write(path, named, key)
            return
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(found[name])


def _train(module: Any, tokenizer: Any, corpus: Corpus, recipe: Recipe) -> None:
    from fedsec.models.flat import FlatModel
    from fedsec.models.local import LocalTrainer
    from fedsec.models.tuning import prepare

    if len(corpus.train) < BATCH_SIZE:
        raise FedsecError(f"{recipe.corpus} has {len(corpus.train)} training rows; training takes {BATCH_SIZE}")
    seeds = SeedTree(0)
    batches = _batches(tokenizer, corpus, recipe, seeds)
    settings = TrainingSettings(
        update="delta", optimizer="adamw", learning_rate=LEARNING_RATE, local_steps=recipe.steps, batch_size=BATCH_SIZE
    )
    tuned, setup = prepare(
        module, kind="full", rank=1, train_embeddings=True, dropout=False, generator=seeds.torch("none"), task=CAUSAL_LM
    )
    model = FlatModel(tuned, setup)
    with one_thread():
        trainer = LocalTrainer(model, settings, dropout=False)
        loss = trainer.update(model.snapshot(), batches, torch.empty(model.layout.size), seeds.torch("none"))
    _log.info("trained: mean loss %.3f", loss)
    if not bool(model.values.isfinite().all()):
        raise FedsecError(f"training on {recipe.corpus} diverged; use fewer training_steps or a smaller model")
    with torch.no_grad():  # parameters of their own again, which outlive the flat vector
        for parameter in module.parameters():
            parameter.data, parameter.grad = parameter.data.clone(), None


def _batches(tokenizer: Any, corpus: Corpus, recipe: Recipe, seeds: SeedTree) -> list[Batch]:
    """Rows in random order, reshuffled after every pass; only those that are needed are tokenised."""
    generator, count = seeds.numpy("pretraining batches"), len(corpus.train)
    passes = -(-recipe.steps * BATCH_SIZE // count)
    order = [int(i) for _ in range(passes) for i in generator.permutation(count)][: recipe.steps * BATCH_SIZE]
    used = sorted(set(order))
    data = tokenise_causal([corpus.train[i] for i in used], tokenizer, recipe.max_tokens)
    place = {row: i for i, row in enumerate(used)}
    starts = range(0, len(order), BATCH_SIZE)
    pad = tokenizer.pad_token_id
    return [collate(data, [place[i] for i in order[start : start + BATCH_SIZE]], pad) for start in starts]


def _read(path: Path, named: Mapping[str, nn.Parameter], key: str) -> dict[str, torch.Tensor] | None:
    """The kept weights, or None if there are none that fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        return None
    try:
        content = path.read_bytes()  # read, not mapped: whoever cuts the file short later cuts no tensor of ours
        found: dict[str, torch.Tensor] = load(content)
        about = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__") or {}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        _log.warning("%s is damaged (%s); training anew", path, error)
        return None
    fits = set(found) == set(named) and all(
        found[name].shape == parameter.shape and found[name].dtype == parameter.dtype
        for name, parameter in named.items()
    )
    if not fits or about.get("key") != key or about.get("content") != _content_hash(found):
        _log.warning("%s does not hold what it should; training anew", path)
        return None
    return found


def _write(path: Path, named: Mapping[str, nn.Parameter], key: str) -> None:
    """Store the weights; without a writable folder they are trained again next time."""
    from safetensors.torch import save

    tensors = {name: parameter.detach().contiguous() for name, parameter in named.items()}
    about = {"key": key, "content": _content_hash(tensors)}
    try:
        write_bytes(path, save(tensors, metadata=about))
    except OSError as error:
        _log.warning("trained weights cannot be kept in %s (%s); set FEDSEC_CACHE to a folder", path.parent, error)


def _content_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    content = hashlib.sha256()
    for name in sorted(tensors):
        content.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}\n".encode())
        content.update(tensors[name].numpy().tobytes())
    return content.hexdigest()


def sources() -> str:
    """Return the hash of what decides the weights in the engine."""
    root = Path(__file__).parent.parent
    return digest([file_hashes(root.glob(pattern)) for pattern in _SOURCES])


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process make a kept file while others of this machine wait for it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError:  # no folder to write to: nothing is shared either
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
