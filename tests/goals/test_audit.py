"""The goal `audit`: what it plants, what it makes of scores, and what it says of a promise."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fedsec.api import Canary, Compared
from fedsec.errors import WrongAnswerError
from fedsec.goals.audit import Audit, compare
from fedsec.metrics.audit import Promise, audited, verdict
from fedsec.metrics.stats import audits

COUNT = 1000
CANARIES = tuple(Canary(number % 4, number, 10.0) for number in range(COUNT))
PROMISE = {"epsilon": 1.0, "delta": 1e-5, "unit": "record"}


def _generator(purpose: str) -> np.random.Generator:
    return np.random.default_rng(len(purpose))


def _staged() -> Any:
    return Audit().stage(SimpleNamespace(canaries=CANARIES, generator=np.random.default_rng(0)))


def _scored(apart: float, promised: Any = PROMISE) -> Any:
    included = _staged().kept
    scores = np.random.default_rng(1).normal(size=COUNT) + apart * included
    truth: Any = SimpleNamespace(kept=included, promised=promised, question=CANARIES)
    return Audit().score(truth, scores, None, _generator)


def test_a_coin_plants_each_canary_and_all_are_asked_about() -> None:
    plan = _staged()
    assert plan.question == CANARIES
    assert plan.canaries == tuple(one for one, taken in zip(CANARIES, plan.kept, strict=True) if taken)
    assert 0.45 < plan.kept.mean() < 0.55


@pytest.mark.parametrize(("apart", "refuted"), [(0.27, 0.0), (3.0, 1.0)])
def test_a_promise_is_refuted_by_the_bound_above_it(apart: float, refuted: float) -> None:
    metrics = _scored(apart).metrics
    bound, ceiling = metrics["audit/epsilon-lower-bound"], metrics["audit/ceiling"]
    assert metrics["audit/refuted"].value == refuted
    assert (bound.value > 1.0) == bool(refuted)
    assert bound.value <= ceiling.value == pytest.approx(4.17, abs=0.01)
    assert bound.baseline == 1.0
    assert (metrics["audit/refuted"].chance, metrics["audit/refuted"].best) == (0.0, 1.0)
    assert metrics["audit/epsilon-lower-bound-gdp"].value <= metrics["audit/ceiling-gdp"].value


def test_large_promises_are_held_against_the_bound_for_gaussian_noise() -> None:
    large = {**PROMISE, "epsilon": 4.5}  # above what 1000 canaries can show in one run, and below what is shown here
    metrics = _scored(3.0, large).metrics
    assert metrics["audit/ceiling"].value < 4.5 < metrics["audit/epsilon-lower-bound-gdp"].value
    assert metrics["audit/refuted"].value == 1.0
    # The two bounds share the error.
    assert 4.5 < metrics["audit/refuted"].detail["bound"] < metrics["audit/epsilon-lower-bound-gdp"].value


def test_scores_that_tell_few_canaries_without_a_mistake_refute_large_promises() -> None:
    draw = np.random.default_rng(2)
    included = draw.random(10_000) < 0.5
    scores = draw.normal(size=10_000)
    told = draw.random(10_000) < 0.22  # a fifth is told without a mistake, the others not at all
    scores[told] = np.where(included[told], 1e6, -1e6)
    metrics, _ = audited(scores, included, Promise(5.0, 1e-5), draw)
    assert metrics["audit/refuted"].value == 1.0


def test_seeds_share_the_error() -> None:
    included, delta = np.arange(40) < 20, 1e-5
    one = audited(np.arange(40.0) * -1, included, Promise(0.1, delta), np.random.default_rng(0))[1]
    bounds = [audits.one_run(40, 8, 8, delta, 0.05 / runs) for runs in (1, 4)]
    middle = Promise(sum(bounds) / 2, delta)
    assert verdict([one], [middle]).value == 1.0
    assert verdict([one] * 4, [middle] * 4).value == 0.0
    assert verdict([one] * 4, [Promise(bounds[1] / 2, delta), *[middle] * 3]).value == 0.25
    assert verdict([one] * 4, [middle, None, None, None]).value == 1.0


def test_cells_without_an_answer_of_the_attacks_own_do_not_count() -> None:
    notes = dict(_scored(3.0).notes)
    blocked = Compared(cell={"cell": {"status": "blocked"}, "notes": notes}, control=None, plain=None)
    answered = Compared(cell={"cell": {"status": "ok"}, "notes": notes}, control=None, plain=None)
    assert compare([blocked])["audit/refuted"].value is None
    assert compare([blocked, answered]) == compare([answered])


@pytest.mark.parametrize("promised", [None, {**PROMISE, "epsilon": None}, {**PROMISE, "unit": "client"}])
def test_without_a_promise_for_a_record_there_are_bounds_and_no_verdict(promised: Any) -> None:
    metrics = _scored(3.0, promised).metrics
    assert metrics["audit/refuted"].value is None
    assert metrics["audit/epsilon-lower-bound"].value > 1.0
    assert metrics["audit/epsilon-lower-bound"].baseline is None


def test_seeds_are_pooled() -> None:
    cell = {"cell": {"status": "ok"}, "notes": dict(_scored(1.0).notes)}
    one = [Compared(cell=cell, control=None, plain=None)]
    alone, several = compare(one), compare(one * 4)
    name = "audit/epsilon-lower-bound-pooled"
    assert alone[name].value < several[name].value < several["audit/ceiling-pooled"].value
    assert several[name].n == 4 * alone[name].n == 4 * COUNT // 2
    assert several[name].baseline == 1.0
    assert compare([Compared(cell={"notes": {}}, control=None, plain=None)]) == {}


@pytest.mark.parametrize(
    "answer",
    [torch.zeros(3, dtype=torch.float64), torch.zeros(4), torch.full((4,), torch.nan, dtype=torch.float64), [0.0] * 4],
)
def test_wrong_answers_name_what_is_wrong(answer: Any) -> None:
    attack = SimpleNamespace(score=lambda *_: answer)
    with pytest.raises(WrongAnswerError, match=r"must return fp64|NaN or infinite"):
        Audit().ask(attack, SimpleNamespace(question=CANARIES[:4]))  # type: ignore[arg-type]
