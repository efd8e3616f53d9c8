"""A federation that stops after any round and goes on from its checkpoint ends where an uninterrupted one ends."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fedsec.api import ClientView, ColluderView, Update
from fedsec.federation.availability import AvailabilitySettings
from fedsec.federation.checkpoint import Checkpoint
from fedsec.federation.loop import run
from fedsec.federation.outcome import Outcome
from fedsec.federation.parties import Federation
from fedsec.federation.plugins import Plugin
from fedsec.federation.progress import Progress
from fedsec.federation.rounds import RoundStore
from fedsec.store.bundle import read_bundle, write_bundle
from fedsec.testing import doubles

from .support import federation, final

ROUNDS = 5


class Killed(Exception):
    """Stands for a process that is gone."""


@dataclass(frozen=True, slots=True)
class Remembers:
    """A malicious client that sends what its fellows noted in the round before."""

    def on_update(self, update: Update, view: ClientView) -> Update:
        assert isinstance(view, ColluderView)
        before = view.blackboard.get("last")
        view.blackboard["last"] = update.vector.clone()
        return update if before is None else replace(update, vector=before)


def _kinds() -> dict[str, Callable[[], Federation]]:
    flaky = AvailabilitySettings(drop_out=0.2, deadline=1.0, spread=1.0, max_staleness=2)
    return {
        "plain": lambda: federation(rounds=ROUNDS, observe=frozenset({2, 5})),
        "adam server": lambda: federation(rounds=ROUNDS, server_optimizer="adam", server_learning_rate=0.01),
        "momentum": lambda: federation(rounds=ROUNDS, server_optimizer="momentum", server_learning_rate=0.1),
        "stateful rule": lambda: federation(rounds=ROUNDS, stack=[Plugin("turns", doubles.TakeTurns)]),
        "stateful step": lambda: federation(rounds=ROUNDS, stack=[Plugin("clip", partial(doubles.StepClip, norm=0.1))]),
        "noise": lambda: federation(rounds=ROUNDS, stack=[Plugin("noise", doubles.CentralNoise)]),
        "blackboard": lambda: federation(
            rounds=ROUNDS, attack=Plugin("remembers", Remembers), malicious=frozenset({0, 2})
        ),
        "malicious server": lambda: federation(
            rounds=ROUNDS, server=Plugin("blank", doubles.BlankServer), observe=frozenset({3})
        ),
        "late clients": lambda: federation(rounds=ROUNDS, availability=flaky, observe=frozenset({4})),
        "sampled": lambda: federation(rounds=ROUNDS, cohort=2, evaluate_every=3),
    }


KINDS = list(_kinds())


def _stopped_after(number: int, make: Callable[[], Federation], checkpoint: Checkpoint) -> None:
    def stop(progress: Progress) -> None:
        if progress.round == number:
            raise Killed

    one = make()
    one.store = RoundStore(checkpoint.path.with_suffix(".rounds"))
    one.on_round = stop
    with pytest.raises(Killed):
        run(one, checkpoint)


def _seen(outcome: Outcome) -> Any:
    return (
        outcome.curve,
        [replace(summary, seconds=0.0) for summary in outcome.rounds],
        outcome.vault.secrets,
        outcome.final.correct.tolist(),
        outcome.final.loss,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [2, 4])
def test_going_on_is_as_if_nothing_had_happened(kind: str, stop: int, tmp_path: Path) -> None:
    make = _kinds()[kind]
    expected, values = final(make())
    checkpoint = Checkpoint(tmp_path / "it.safetensors", "same", seconds=0.0)
    _stopped_after(stop, make, checkpoint)
    trained: list[int] = []
    again = make()
    again.on_round = lambda progress: trained.append(progress.round)
    outcome, resumed = final(again, checkpoint)
    assert trained == list(range(stop, ROUNDS + 1)), "what was done before the last checkpoint was done again"
    assert torch.equal(values, resumed)
    assert _seen(outcome) == _seen(expected)
    for number, observed in expected.observed.items():
        other = outcome.observed[number]
        assert (observed.clients, observed.cohort) == (other.clients, other.cohort)
        assert torch.equal(observed.rows, other.rows)
        assert torch.equal(observed.start, other.start)
        assert torch.equal(observed.end, other.end)
    assert outcome.server == expected.server
    assert outcome.stack == expected.stack


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "it.safetensors", "same", seconds=0.0)
    expected, values = final(_kinds()["plain"](), checkpoint)
    again = _kinds()["plain"]()
    again.on_round = lambda progress: pytest.fail("trained again")
    outcome, resumed = final(again, checkpoint)
    assert torch.equal(values, resumed)
    assert _seen(outcome) == _seen(expected)


def test_a_checkpoint_of_something_else_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "it.safetensors"
    _stopped_after(3, _kinds()["plain"], Checkpoint(path, "one", seconds=0.0))
    assert Checkpoint(path, "one").load() is not None
    assert Checkpoint(path, "other").load() is None


@pytest.mark.parametrize("part", [0, 10, 50, 99])
def test_a_cut_off_checkpoint_is_as_good_as_none(part: int, tmp_path: Path) -> None:
    path = tmp_path / "it.safetensors"
    _stopped_after(3, _kinds()["plain"], Checkpoint(path, "one", seconds=0.0))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * part // 100])
    expected = final(_kinds()["plain"]())[1]
    assert torch.equal(final(_kinds()["plain"](), Checkpoint(path, "one"))[1], expected)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("current"),
        lambda state: state.update(current=torch.zeros(3)),
        lambda state: state.update(done="two"),
        lambda state: state.update(done=-1),
        lambda state: state.update(done=ROUNDS),
        lambda state: state.update(done=True),
        lambda state: state.update(monitor=7),
        lambda state: state.update(rounds=[{"round": 1}]),
        lambda state: state.update(secrets=[[1]]),
        lambda state: state.update(observed=[{"round": "x"}]),
        lambda state: state.update(under_way=[{}]),
        lambda state: state.update(clients={"0": 1}),
        lambda state: state.update(stack={"0": {}}),
        lambda state: state.update(optimizer=None),
        lambda state: state.update(current=torch.full((10,), torch.nan)),
    ],
    ids=[
        "nothing current", "short", "text as round", "negative round", "last round", "truth as round", "no curve",
        "half a round", "half a secret", "half an observation", "half a message", "no clients", "another stack",
        "no optimizer", "not a number",
    ],
)  # fmt: skip
def test_a_checkpoint_with_wrong_content_is_as_good_as_none(damage: Any, tmp_path: Path) -> None:
    path = tmp_path / "it.safetensors"
    _stopped_after(3, _kinds()["plain"], Checkpoint(path, "one", seconds=0.0))
    content = read_bundle(path)
    damage(content["state"])
    write_bundle(path, content)
    expected, values = final(_kinds()["plain"]())
    outcome, resumed = final(_kinds()["plain"](), Checkpoint(path, "one"))
    assert torch.equal(values, resumed)
    assert _seen(outcome) == _seen(expected)


def test_a_checkpoint_is_private_and_goes_when_it_is_removed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "deep" / "it.safetensors", "one", seconds=0.0)
    _stopped_after(2, _kinds()["plain"], checkpoint)
    assert checkpoint.path.stat().st_mode & 0o777 == 0o600
    checkpoint.remove()
    checkpoint.remove()
    assert not checkpoint.path.exists()


def test_checkpoints_come_no_oftener_than_asked(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "it.safetensors", "one", seconds=3600.0)
    _stopped_after(4, _kinds()["plain"], checkpoint)
    assert not checkpoint.path.exists()


def test_writing_takes_a_twentieth_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def slowly(*_: Any) -> None:
        nonlocal now
        now += 10.0

    monkeypatch.setattr("fedsec.federation.checkpoint.time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr("fedsec.federation.checkpoint.write_bundle", slowly)
    checkpoint = Checkpoint(tmp_path / "it.safetensors", "one", seconds=30.0, _written=0.0)
    now = 31.0
    assert checkpoint.due()
    checkpoint.save({})
    now += 190.0
    assert not checkpoint.due()
    now += 10.0
    assert checkpoint.due()
