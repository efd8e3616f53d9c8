"""Work done side by side: the same bits, the same errors, nothing left behind."""

import os
import signal
import sys
from typing import Any

import pytest
import torch

from fedsec.federation import process_pool as pool_module
from fedsec.federation.evaluation import evaluate
from fedsec.federation.plugins import Plugin
from fedsec.federation.process_pool import ProcessPool
from fedsec.testing import doubles

from .support import federation, final

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WORTH_SECONDS", 0.0)


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("pieces", [0, 1, 2, 3, 7])
def test_every_piece_is_done(size: int, pieces: int) -> None:
    processes = ProcessPool(size)
    out, who = processes.empty(pieces, 2), processes.empty(pieces, dtype=torch.int64)

    def work(piece: int) -> None:
        out[piece] = torch.tensor([piece, piece**2])
        who[piece] = os.getpid()

    processes.run(pieces, work)
    assert out.tolist() == [[i, i**2] for i in range(pieces)]
    assert len(set(who.tolist())) == min(size, pieces)


def test_little_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = ProcessPool(4)
    who = processes.empty(9, dtype=torch.int64)
    processes.run(9, lambda piece: who.__setitem__(piece, os.getpid()), "little")
    assert len(set(who.tolist())) == 4, "how long it takes is not known yet"
    monkeypatch.setattr(pool_module, "WORTH_SECONDS", 100.0)
    processes.run(9, lambda piece: who.__setitem__(piece, os.getpid()), "little")
    assert set(who.tolist()) == {os.getpid()}


def test_an_error_in_a_copy_is_raised_here() -> None:
    def work(piece: int) -> None:
        if piece == 3:
            raise KeyError("piece 3")

    with pytest.raises(KeyError, match="piece 3"):
        ProcessPool(2).run(6, work)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_error_here_ends_the_copies() -> None:
    here = os.getpid()

    def work(piece: int) -> None:
        if os.getpid() == here:
            raise ValueError("here")
        while True:
            signal.pause()

    with pytest.raises(ValueError, match="here"):
        ProcessPool(3).run(9, work)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_copy_that_dies_costs_nothing_but_time() -> None:
    here, processes = os.getpid(), ProcessPool(2)
    out = processes.empty(6)

    def work(piece: int) -> None:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        out[piece] = piece

    processes.run(6, work)
    assert out.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dropout", [False, True])
def test_training_is_the_same_to_the_last_bit(dropout: bool) -> None:
    def run(size: int) -> Any:
        one = federation(rounds=2, observe=frozenset({1, 2}), dropout=dropout)
        one.processes = ProcessPool(size)
        outcome, values = final(one)
        losses = [summary.loss for summary in outcome.rounds]
        return values, losses, outcome.curve, outcome.observed[2].rows, outcome.vault.secrets

    values, losses, curve, rows, secrets = run(1)
    for size in (2, 3):
        other = run(size)
        assert torch.equal(values, other[0])
        assert (losses, curve) == (other[1], other[2])
        assert torch.equal(rows, other[3])
        assert secrets == other[4]


def test_memory_of_step_hooks_stays_here() -> None:
    one = federation(rounds=1, stack=[Plugin("clip", doubles.StepClip)])
    one.processes = ProcessPool(3)
    states: list[Any] = []
    one.on_round = lambda _: states.append(0)
    plain = final(federation(rounds=1, stack=[Plugin("clip", doubles.StepClip)]))[1]
    assert torch.equal(plain, final(one)[1])


def test_evaluation_is_the_same_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsec.federation.evaluation.ROWS_PER_BATCH", 3)
    one = federation()
    expected = evaluate(one.model, one.model.values.clone(), one.test, 0)
    for size in (2, 3):
        found = evaluate(one.model, one.model.values.clone(), one.test, 0, ProcessPool(size))
        assert (found.correct == expected.correct).all()
        assert found.loss == expected.loss
