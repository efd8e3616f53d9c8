"""Differential privacy in a federation: Poisson batches, the ledger over all rounds, and what voids a guarantee."""

import math
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom

from fedsec.api import Sample, StepView, Update
from fedsec.api.views import ClientView
from fedsec.defenses.privacy.dp_sgd import DPSGD
from fedsec.errors import FedsecError
from fedsec.federation import process_pool as pool_module
from fedsec.federation.checkpoint import Checkpoint
from fedsec.federation.holdings import Holdings
from fedsec.federation.parties import Federation
from fedsec.federation.plugins import Plugin
from fedsec.federation.process_pool import ProcessPool
from fedsec.privacy.accounting import Spent, epsilon_of
from fedsec.testing import doubles

from .support import CLIENTS, DELTA, GRADIENT, federation, final

POISSON = replace(DELTA, sampling="poisson")
ROUNDS = 3


def _private(training: Any = POISSON, *, above: tuple[Plugin, ...] = (), **settings: Any) -> Federation:
    given = {"epsilon": 0.0, "noise_multiplier": 1.5, **settings.pop("dp", {})}
    stack = [Plugin("dp", partial(DPSGD, **given)), *above]
    return federation(training=training, stack=stack, rounds=settings.pop("rounds", ROUNDS), **settings)


def _promised(one: Federation, checkpoint: Any = None) -> Any:
    found = final(one, checkpoint)[0].guarantee
    assert found is not None
    return found


def test_the_ledger_holds_every_step_of_the_client_that_spent_most() -> None:
    """The client of 5 rows: each of its 6 steps takes each row by a coin of 3 in 5."""
    found = _promised(_private())
    assert found.epsilon == epsilon_of([Spent(1.5, 3 / 5, ROUNDS * POISSON.local_steps)], 1e-5)
    assert found.void == ()
    assert "server" in found.against


def test_a_target_is_met_over_all_rounds() -> None:
    one = _private(dp={"epsilon": 5.0, "noise_multiplier": 0.0})
    one.rows = [np.arange(50)[start::CLIENTS] for start in range(CLIENTS)]
    found = _promised(one)
    assert 4.9 < found.epsilon <= 5.0


def test_rounds_that_a_client_sits_out_cost_it_nothing() -> None:
    one = _private(cohort=2, rounds=2)
    steps = [0] * CLIENTS
    outcome = final(one)[0]
    for summary in outcome.rounds:
        for client in summary.clients:
            steps[client] += POISSON.local_steps
    spent = [[Spent(1.5, min(1.0, 3 / len(rows)), n)] for rows, n in zip(one.rows, steps, strict=True)]
    assert outcome.guarantee is not None
    assert outcome.guarantee.epsilon == max(epsilon_of(history, 1e-5) for history in spent)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: _private(DELTA), "set federation.sampling to poisson"),
        (lambda: _private(dp={"noise_multiplier": 0.0}), "no noise was added"),
        (lambda: _private(weighting="examples"), "set federation.weighting to uniform"),
        (lambda: _pinned(), "pinned to every cohort"),
        (lambda: _private(above=(Plugin("clean", doubles.Redact),)), "may look at all of its records"),
    ],
    ids=["fixed batches", "no noise", "weighted by examples", "pinned clients", "cleaned data"],
)
def test_what_voids_it_is_said_and_no_epsilon_is_stated(make: Any, reason: str) -> None:
    found = _promised(make())
    assert found.epsilon is None
    assert reason in "; ".join(found.void)


def _pinned() -> Federation:
    one = _private(cohort=3)
    one.pinned = frozenset({1})
    return one


@dataclass(frozen=True, slots=True)
class SendsNothing:
    """A malicious client."""

    def on_update(self, update: Update, view: ClientView) -> Update:
        return replace(update, vector=torch.zeros_like(update.vector))


def test_malicious_clients_are_not_covered() -> None:
    """The client of 5 rows spends most, unless it is malicious and does without."""
    one = _private(attack=Plugin("scales", SendsNothing), malicious=frozenset({0}))
    found = _promised(one)
    assert found.epsilon == epsilon_of([Spent(1.5, 3 / 10, ROUNDS * POISSON.local_steps)], 1e-5)
    assert "malicious" in "; ".join(found.assumes)


def test_a_federation_without_mechanisms_promises_nothing() -> None:
    assert final(federation())[0].guarantee is None


class _Stopped(Exception):
    """Stands for a process that is gone."""


def test_a_run_that_was_interrupted_states_the_same_epsilon(tmp_path: Path) -> None:
    expected = final(_private())
    checkpoint = Checkpoint(tmp_path / "it.safetensors", "same", seconds=0.0)
    one = _private()

    def stop(progress: Any) -> None:
        if progress.round == 2:
            raise _Stopped

    one.on_round = stop
    with pytest.raises(_Stopped):
        final(one, checkpoint)
    resumed = final(_private(), checkpoint)
    assert resumed[0].guarantee == expected[0].guarantee
    assert torch.equal(resumed[1], expected[1])


@dataclass(frozen=True, slots=True)
class Twice:
    """Averages two draws of what lies beneath."""

    def on_step(self, view: StepView) -> torch.Tensor:
        first = view.gradient().clone()
        return (first + view.gradient()) / 2


def test_a_hook_that_takes_gradients_twice_spends_twice() -> None:
    found = _promised(_private(above=(Plugin("twice", Twice),)))
    assert found.epsilon == epsilon_of([Spent(1.5, 3 / 5, 2 * ROUNDS * POISSON.local_steps)], 1e-5)


@dataclass(frozen=True, slots=True)
class Past:
    """Takes the gradients of single rows, whatever lies beneath."""

    def on_step(self, view: StepView) -> torch.Tensor:
        return view.example_gradients().mean(dim=0)


def test_rows_cannot_be_taken_past_a_mechanism() -> None:
    with pytest.raises(FedsecError, match="past what defense 0 dp makes of the gradient"):
        final(_private(above=(Plugin("past", Past),)))


def test_noise_that_drowns_the_updates_is_told_before_the_first_round() -> None:
    told: list[str] = []
    one = _private(dp={"noise_multiplier": 1.0})
    size, ratio = one.model.layout.size, 1.0 * math.sqrt(one.model.layout.size) / 3 / math.sqrt(CLIENTS * 2)
    one.on_notice = told.append
    one.on_round = lambda _: told.append("round")
    final(one)
    assert told[0].startswith("noise drowns the updates")
    assert f"{ratio:.1f} times" in told[0]
    assert f"{size:,} trained parameters" in told[0]
    assert told[1:] == ["round"] * ROUNDS
    quiet: list[str] = []
    one = _private(dp={"noise_multiplier": 0.01})
    one.on_notice = quiet.append
    final(one)
    assert quiet == []


def test_what_voids_it_is_told_before_the_first_round_as_well() -> None:
    told: list[str] = []
    one = _private(DELTA, weighting="examples", rounds=1, dp={"noise_multiplier": 0.01})
    one.on_notice = told.append
    one.on_round = lambda _: told.append("round")
    found = _promised(one)
    assert told == [*(f"no privacy is promised: {reason}" for reason in found.void), "round"]
    assert len(found.void) == 2


@pytest.mark.parametrize("training", [POISSON, replace(GRADIENT, sampling="poisson"), DELTA], ids=lambda t: t.sampling)
def test_without_noise_and_bound_it_is_sgd(training: Any) -> None:
    plain = final(federation(training=training, rounds=ROUNDS))
    private = final(_private(training, dp={"noise_multiplier": 0.0, "clip": math.inf}))
    assert torch.allclose(plain[1], private[1], atol=1e-6)
    assert [s.loss for s in private[0].rounds] == pytest.approx([s.loss for s in plain[0].rounds], rel=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")
def test_clients_trained_side_by_side_spend_measure_and_remember_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WORTH_SECONDS", 0.0)

    def trained(size: int) -> Any:
        one = _private(above=(Plugin("clip", partial(doubles.StepClip, norm=0.3)),))
        one.processes = ProcessPool(size)
        states: list[Any] = []
        hooks: list[Any] = []
        made = doubles.StepClip

        class Noted(made):  # type: ignore[misc, valid-type]
            def __init__(self) -> None:
                super().__init__(norm=0.3)
                hooks.append(self)

        one.stack = type(one.stack)((one.stack._plugins[0], Plugin("clip", Noted)))
        outcome, values = final(one)
        states = sorted(hook.state()["steps"] for hook in hooks)
        return outcome, values, states

    alone, apart = trained(1), trained(3)
    assert torch.equal(alone[1], apart[1])
    assert alone[0].guarantee == apart[0].guarantee
    assert [s.measurements for s in alone[0].rounds] == [s.measurements for s in apart[0].rounds]
    assert alone[2] == apart[2]
    assert max(alone[2]) == ROUNDS * POISSON.local_steps


def _drawn(one: Federation, client: int, rounds: int) -> np.ndarray:
    """Which of a client's rows each step takes: bool [steps, rows]."""
    holdings = Holdings(one.train, one.examples, one.rows, one.tokenise, one.tokenizer, one.seeds)
    rows = one.rows[client]
    steps = (batch for n in range(1, rounds + 1) for batch in holdings.choose(n, client, rows, POISSON))
    return np.stack([np.isin(rows, batch) for batch in steps])


def test_poisson_batches_take_each_row_by_a_coin_of_its_own() -> None:
    """Shuffled batches of one size would have no spread, and rows that exclude each other."""
    taken = _drawn(federation(training=POISSON), 1, 2000)  # 4,000 steps of 10 rows, 3 on average
    sizes, rate = taken.sum(axis=1), 0.3
    assert abs(taken.mean() - rate) < 0.01
    assert sizes.var() == pytest.approx(10 * rate * (1 - rate), rel=0.1)
    assert (sizes == 0).mean() == pytest.approx(binom.pmf(0, 10, rate), abs=0.01)
    together = np.corrcoef(taken.T) - np.eye(10)
    assert np.abs(together).max() < 0.08, "one row tells nothing of another"
    assert abs(np.corrcoef(taken[:-1].ravel(), taken[1:].ravel())[0, 1]) < 0.03, "one step tells nothing of the next"


def test_fixed_batches_are_as_they_were() -> None:
    one = federation()
    holdings = Holdings(one.train, one.examples, one.rows, one.tokenise, one.tokenizer, one.seeds)
    batches = holdings.choose(1, 1, one.rows[1], replace(DELTA, local_steps=3))
    assert [len(batch) for batch in batches] == [3, 3, 3]
    assert len({int(row) for batch in batches for row in batch}) == 9


def test_poisson_cohorts_take_each_client_by_a_coin_and_may_be_empty() -> None:
    outcome, _ = final(federation(training=replace(POISSON, local_steps=1), cohort=1, rounds=40, evaluate_every=40))
    sizes = [len(summary.clients) for summary in outcome.rounds]
    assert {0, 1, 2} <= set(sizes)
    assert 0.5 < np.mean(sizes) < 1.6
    assert all(summary.skipped for summary in outcome.rounds if not summary.clients)


def test_an_empty_batch_still_adds_noise_and_is_accounted_for() -> None:
    """A batch of 1 in a thousand on average: hardly a step has a row."""
    training = replace(POISSON, batch_size=1, local_steps=2)
    one = _private(training, rounds=1, observe=frozenset({1}))
    one.rows = [np.arange(50)]
    one.settings = replace(one.settings, cohort=1)
    empty = _drawn_sizes(one, training)
    outcome, _ = final(one)
    assert 0 in empty
    assert bool(outcome.observed[1].rows.abs().gt(0).all())
    assert outcome.guarantee is not None
    assert outcome.guarantee.epsilon == epsilon_of([Spent(1.5, 1 / 50, 2)], 1e-5)


def _drawn_sizes(one: Federation, training: Any) -> list[int]:
    holdings = Holdings(one.train, one.examples, one.rows, one.tokenise, one.tokenizer, one.seeds)
    return [len(batch) for batch in holdings.choose(1, 0, one.rows[0], training)]


def test_a_federation_of_empty_batches_stands_still() -> None:
    training = replace(POISSON, batch_size=1, local_steps=1)
    one = federation(training=training, rounds=1, observe=frozenset({1}))
    one.rows = [np.arange(50)] * 2
    one.settings = replace(one.settings, cohort=2)
    outcome, _ = final(one)
    for client, row in zip(outcome.observed[1].clients, outcome.observed[1].rows, strict=True):
        assert bool(row.any()) == bool(outcome.vault.secrets[1, client].tokens)


@dataclass(frozen=True, slots=True)
class Boasts:
    """Says outside a step that it spent privacy."""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> Any:
        from fedsec.api import GaussianMechanism, Measured

        return Measured(samples, {}, GaussianMechanism(noise_multiplier=1.0))


def test_only_steps_are_accounted_for() -> None:
    with pytest.raises(FedsecError, match="only step hooks that calibrate"):
        final(federation(stack=[Plugin("boasts", Boasts)]))
