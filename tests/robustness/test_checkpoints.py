"""Damaged and hostile checkpoints: training begins anew and ends where it would have ended, and nothing is executed."""

import json
import os
import pickle  # noqa: TID251  (to show that it is not read)
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
import torch
from safetensors.torch import save

from fedsec.cell.resources import Resources
from fedsec.cell.training import train
from fedsec.config.load import load_scenario
from fedsec.federation.checkpoint import Checkpoint
from fedsec.federation.progress import Progress
from fedsec.plan.tasks import Group, checkpoint_path, grouped, rounds_path, tasks_of
from fedsec.store.bundle import read_bundle, write_bundle

from .support import fedsec, run_folder, scenario, scorecard, tree

Damage = Callable[[Path], object]


class Killed(Exception):
    """Stands for a process that is gone."""


class Training(NamedTuple):
    """A training, how it ends, and a checkpoint from its middle."""

    group: Group
    resources: Resources
    end: torch.Tensor
    checkpoint: bytes
    rounds: Path
    """What the training kept of its rounds by then."""


def _train(group: Group, resources: Resources, checkpoint: Checkpoint | None, stop: int = 99) -> Any:
    def on_round(progress: Progress) -> None:
        rounds.append(progress.round)
        if progress.round == stop:
            raise Killed

    rounds: list[int] = []
    found = train(group.tasks[0].cell, frozenset({1}), resources, on_round, checkpoint)
    return found.outcome, rounds


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    folder = tmp_path_factory.mktemp("training")
    loaded = load_scenario(scenario(folder), ["federation.rounds=4", "federation.server_optimizer=adam"])
    (group,) = (one for one in grouped(tasks_of(loaded)) if one.tasks[0].cell.attack_label == "sign-flip")
    resources = Resources()
    outcome, _ = _train(group, resources, None)
    path = folder / "checkpoint"
    with pytest.raises(Killed):
        _train(group, resources, Checkpoint(path, group.key, seconds=0.0), stop=3)
    return Training(group, resources, outcome.end.clone(), path.read_bytes(), rounds_path(path))


def _header(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _with_header(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(path: Path) -> None:
        header, data = _header(path.read_bytes())
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)

    return damage


def _largest(header: dict[str, Any]) -> dict[str, Any]:
    tensors = (entry for name, entry in header.items() if name != "__metadata__")
    found: dict[str, Any] = max(tensors, key=lambda entry: entry["data_offsets"][1] - entry["data_offsets"][0])
    return found


def _entry(shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


def _flipped(place: float) -> Damage:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] ^= 0x10
        path.write_bytes(content)

    return damage


def _resealed(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Written by somebody who knows the format, hash and all."""

    def damage(path: Path) -> None:
        content = read_bundle(path)
        change(content)
        write_bundle(path, content)

    return damage


def _in_state(**fields: Any) -> Damage:
    return _resealed(lambda content: content["state"].update(fields))


class Executes:
    """Leaves a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def _zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", bytes(50_000_000))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _linked(target: str) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return damage


def _gigantic(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(2**40)


HOSTILE: dict[str, Damage] = {
    "empty": lambda path: path.write_bytes(b""),
    "seven bytes": lambda path: path.write_bytes(b"\x01" * 7),
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "cut in the values": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "longer than it says": lambda path: path.write_bytes(path.read_bytes() + bytes(64)),
    "gigantic": _gigantic,
    "text": lambda path: path.write_text("a checkpoint"),
    "json": lambda path: path.write_text("{}"),
    "header of 2^63 bytes": lambda path: path.write_bytes(struct.pack("<Q", 2**63) + b"{}"),
    "header of 4 GB": lambda path: path.write_bytes(struct.pack("<Q", 2**32) + b"{}" + bytes(1000)),
    "header that is no json": lambda path: path.write_bytes(struct.pack("<Q", 64) + b"\xff" * 64),
    "header of brackets": lambda path: path.write_bytes(struct.pack("<Q", 200_000) + b"[" * 200_000),
    "header of many names": _with_header(
        lambda header: header.update({f"x{i}": _entry([0], 0, 0) for i in range(5_000)})
    ),
    "overlapping values": _with_header(lambda header: _largest(header).update(data_offsets=[0, 400])),
    "values beyond the end": _with_header(lambda header: _largest(header).update(_entry([2**40], 0, 2**42))),
    "offsets backwards": _with_header(lambda header: _largest(header).update(data_offsets=[400, 0])),
    "offsets below zero": _with_header(lambda header: _largest(header).update(data_offsets=[-4, 0])),
    "sizes that multiply to nothing": _with_header(lambda header: _largest(header).update(shape=[2**33, 2**33])),
    "another type of the same size": _with_header(lambda header: _largest(header).update(dtype="I32")),
    "an unknown type": _with_header(lambda header: _largest(header).update(dtype="OBJECT")),
    "another shape of the same size": _with_header(lambda header: _largest(header)["shape"].insert(0, 1)),
    "no metadata": _with_header(lambda header: header.pop("__metadata__")),
    "another schema": _with_header(lambda header: header["__metadata__"].update(schema="2")),
    "another tree": _with_header(lambda header: header["__metadata__"].update(tree="{}")),
    "tree of brackets": _with_header(lambda header: header["__metadata__"].update(tree="[" * 100_000)),
    "no hash": _with_header(lambda header: header["__metadata__"].pop("content")),
    **{f"a bit flipped at {place:.0%}": _flipped(place) for place in (0.0, 0.001, 0.01, 0.3, 0.5, 0.7, 0.9, 1.0)},
    "pickle": lambda path: path.write_bytes(pickle.dumps(Executes())),
    "torch file": lambda path: torch.save({"state": Executes()}, path),
    "zip bomb": _zip_bomb,
    "plain safetensors": lambda path: path.write_bytes(save({"current": torch.zeros(3)})),
    "pipe": _pipe,
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "link to itself": _linked("checkpoint"),
    "link to nothing": _linked("nothing"),
    "link to a device": _linked("/dev/zero"),
    "link to the system": _linked("/proc/self/environ"),
    "another's": _resealed(lambda content: content.update(identity="0" * 16)),
    "identity as list": _resealed(lambda content: content.update(identity=[content["identity"]])),
    "no state": _resealed(lambda content: content.pop("state")),
    "state as list": _resealed(lambda content: content.update(state=[])),
    "model of NaN": _resealed(lambda content: content["state"]["current"].fill_(torch.nan)),
    "model with one infinity": _resealed(lambda content: content["state"]["current"][7:8].fill_(torch.inf)),
    "model in double precision": _resealed(
        lambda content: content["state"].update(current=content["state"]["current"].double())
    ),
    "model cut short": _resealed(lambda content: content["state"].update(current=content["state"]["current"][:-1])),
    "model as list": _in_state(current=[0.0]),
    "moments of another model": _in_state(optimizer={"first": torch.zeros(3), "second": torch.zeros(3)}),
    "moments of NaN": _resealed(lambda content: content["state"]["optimizer"]["second"].fill_(torch.nan)),
    "moments of text": _in_state(optimizer={"first": "one", "second": "two"}),
    "no moments": _in_state(optimizer={}),
    "round 0": _in_state(done=0),
    "round 1e9": _in_state(done=10**9),
    "round 2.0": _in_state(done=2.0),
    "no rounds": _in_state(rounds=[]),
    "rounds of another shape": _in_state(rounds=[{"round": 1, "evil": True}] * 2),
    "curve of text": _in_state(monitor={"curve": "up", "predicted": [], "watched": {}}),
    "secrets of numbers": _in_state(secrets=[1, 2, 3]),
    "observed nothing": _in_state(observed=[{}]),
    "knowledge that does not exist": _in_state(server_used=["everything"]),
    "memory of other plug-ins": _in_state(stack={"0": {"x": 1}}),
    "clients of text": _in_state(clients="all"),
    "messages of text": _in_state(under_way=["hello"]),
}  # fmt: skip


@pytest.fixture
def path(training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A sound checkpoint to damage; in the end nothing may have been executed, which would leave a folder here."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint"
    path.write_bytes(training.checkpoint)
    shutil.copytree(training.rounds, rounds_path(path))
    yield path
    assert not (tmp_path / "executed").exists()


def test_a_sound_checkpoint_is_taken_up(training: Training, path: Path) -> None:
    outcome, rounds = _train(training.group, training.resources, Checkpoint(path, training.group.key))
    assert rounds == [3, 4]
    assert torch.equal(outcome.end, training.end)


@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_checkpoint_is_as_good_as_none(damage: Damage, training: Training, path: Path) -> None:
    damage(path)
    outcome, rounds = _train(training.group, training.resources, Checkpoint(path, training.group.key))
    assert rounds == [1, 2, 3, 4]
    assert torch.equal(outcome.end, training.end)


def test_a_link_is_replaced_and_never_written_through(training: Training, path: Path) -> None:
    target = path.with_name("target")
    path.rename(target)
    path.symlink_to(target)
    _, rounds = _train(training.group, training.resources, Checkpoint(path, training.group.key, seconds=0.0))
    assert rounds == [3, 4], "what a link leads to is read like any file, if it is of this training"
    assert not path.is_symlink()
    assert target.read_bytes() == training.checkpoint


@pytest.mark.parametrize("place", ["link", "file", "folder"])
def test_a_checkpoint_that_cannot_be_written_stops_no_training(place: str, training: Training, path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    elsewhere.mkdir()
    folder = path.with_name("checkpoints")
    if place == "link":
        folder.symlink_to(elsewhere)
    elif place == "file":
        folder.write_text("")
    else:
        (folder / "it").mkdir(parents=True)
    outcome, _ = _train(training.group, training.resources, Checkpoint(folder / "it", training.group.key, seconds=0.0))
    assert torch.equal(outcome.end, training.end)
    assert list(elsewhere.iterdir()) == []
    assert not list(folder.glob(".*")) or place == "file"


def test_whole_runs_go_on_over_hostile_checkpoints(tmp_path: Path) -> None:
    file = scenario(tmp_path)
    out = tmp_path / "out"
    command = ["run", str(file), "--out", str(out), "--workers", "1", "--display", "none"]
    assert fedsec(*command).code == 0
    run = run_folder(out)
    expected = scorecard(run)
    outside = tmp_path / "outside"
    outside.mkdir()
    groups = grouped(tasks_of(load_scenario(file)))
    assert len(groups) == 2
    names = ("gigantic", "pickle", "pipe", "folder", "link to a device")
    for name in (*names, "linked folder", "file as folder"):
        shutil.rmtree(run / "cells")
        folder = run / "checkpoints"
        if name == "linked folder":
            folder.symlink_to(outside)
        elif name == "file as folder":
            folder.write_text("")
        for group in groups if name in names else ():
            path = checkpoint_path(run, group.key)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"")
            HOSTILE[name](path)
        before = tree(outside)
        with mock.patch("fedsec.report.html.render", return_value="<p>"):  # takes half of the time
            done = fedsec(*command)
        assert done.code == 0, (name, done)
        assert scorecard(run) == expected, name
        assert tree(outside) == before, name
        if folder.is_symlink() or folder.is_file():
            folder.unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)  # a run that ends well leaves none
