"""What robust aggregation adds to a round: rehearsals, the server's own update, when malicious clients attack."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from fedsec import load_scenario, registry
from fedsec.api import ColluderView, Knowledge, Mixed, Rehearsal, RoundContext, Update, Weighted
from fedsec.cell.score import _robustness
from fedsec.config.population import declared_in_round
from fedsec.config.problems import ConfigError
from fedsec.federation.clients import Adversary
from fedsec.federation.loop import run
from fedsec.federation.parties import Federation
from fedsec.federation.plugins import Plugin
from fedsec.maths.rows import Rows
from fedsec.plan.cells import expand, refusal

from .support import CLIENTS, DELTA, GRADIENT, federation, final


@dataclass
class _Counting:
    """A rule with memory and randomness: the row whose turn it is, by a draw and a count of its calls."""

    calls: int = 0

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        self.calls += 1
        drawn = int(torch.randint(len(rows), (), generator=context.generator))
        return torch.eye(len(rows), dtype=torch.float64)[(drawn + self.calls) % len(rows)]

    def state(self) -> dict[str, Any]:
        return {"calls": self.calls}

    def load_state(self, state: dict[str, Any]) -> None:
        self.calls = state["calls"]


@dataclass
class _Half:
    """A filter that halves rows and drops the last."""

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        return Mixed(torch.eye(len(rows), dtype=torch.float64)[:-1] / 2, context.declared_malicious)


@dataclass
class _Middle:
    """A rule by coordinates."""

    def vector(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        return torch.cat([chunk.median(dim=0).values for chunk in rows.chunks()])


@dataclass
class _Shifted:
    """The mean of the rows and a vector beside it."""

    def weights(self, rows: Rows, context: RoundContext) -> Weighted:
        equal = torch.full((len(rows),), 1 / len(rows), dtype=torch.float64)
        return Weighted(equal, torch.ones(context.layout.size))


@dataclass
class _Trusting:
    """What the server computes itself, and nothing else."""

    def weights(self, rows: Rows, context: RoundContext) -> Weighted:
        assert context.trusted is not None
        own = context.trusted()
        assert torch.equal(own, context.trusted())
        return Weighted(torch.zeros(len(rows), dtype=torch.float64), own)


def _plugin(make: Callable[[], Any]) -> Plugin:
    return Plugin(make.__name__.strip("_").lower(), make)


SEEN: list[tuple[int, tuple[int, ...], Rehearsal, Rehearsal, torch.Tensor]] = []


@dataclass
class _Tries:
    """Tries two sets of rows out, and sends its honest update."""

    def on_update(self, update: Update, view: ColluderView) -> Update:
        honest = view.granted[Knowledge.BENIGN_UPDATES]
        rows = Rows(torch.cat([view.own_rows, honest]))
        assert view.rehearse is not None
        first, again = view.rehearse(rows), view.rehearse(rows)
        SEEN.append((view.round, view.colluders, first, again, rows._sources[0].clone()))
        return update


def _tried(*stack: Callable[[], Any], told: bool = True) -> Federation:
    SEEN.clear()
    one = federation(stack=[_plugin(make) for make in stack], rounds=3)
    knowledge = {Knowledge.DEFENSE_SETTINGS: ()} if told else {}
    one.adversary = Adversary(
        clients=frozenset({0}), attack=_plugin(_Tries), grants_benign_updates=True, knowledge=dict(knowledge)
    )
    return one


def test_a_rehearsal_changes_nothing_and_says_the_same_twice() -> None:
    plain = final(federation(stack=[_plugin(_Half), _plugin(_Counting)], rounds=3))
    outcome, model = final(_tried(_Half, _Counting))
    assert torch.equal(plain[1], model)
    assert outcome.stack == plain[0].stack
    assert [number for number, *_ in SEEN] == [1, 2, 3]
    for _, colluders, first, again, _ in SEEN:
        assert colluders == (0,)
        assert first.weights is not None
        assert again.weights is not None
        assert first.vector is None
        assert torch.equal(first.weights, again.weights)
        assert sorted(first.weights.tolist()) == [0.0] * (CLIENTS - 1) + [0.5]
    assert Knowledge.DEFENSE_SETTINGS in outcome.knowledge_used


@pytest.mark.parametrize("rule", [_Middle, _Shifted])
def test_a_rehearsal_of_what_is_no_weighted_sum_gives_the_vector(rule: Callable[[], Any]) -> None:
    outcome, _ = final(_tried(rule))
    assert all(entry.skipped is None for entry in outcome.rounds)
    for _, _, found, _, rows in SEEN:
        assert found.weights is None
        assert found.vector is not None
        slow = rows.median(dim=0).values if rule is _Middle else rows.double().mean(dim=0).float() + 1
        torch.testing.assert_close(found.vector, slow)


def test_without_a_defense_a_rehearsal_is_the_mean() -> None:
    final(_tried())
    assert SEEN
    for _, _, found, _, _ in SEEN:
        assert found.weights is not None
        assert found.weights.tolist() == [1 / CLIENTS] * CLIENTS


def test_who_is_not_told_the_defenses_settings_cannot_rehearse() -> None:
    with pytest.raises(AssertionError):
        final(_tried(told=False))


def test_a_rule_may_add_a_vector_to_the_weighted_sum() -> None:
    start = federation().model.values.clone()
    plain = final(federation(rounds=1))[1]
    outcome, shifted = final(federation(rounds=1, stack=[_plugin(_Shifted)]))
    torch.testing.assert_close(shifted - start, plain - start + 1, rtol=1e-5, atol=1e-5)
    assert outcome.rounds[0].weights == (1 / CLIENTS,) * CLIENTS


@pytest.mark.parametrize("training", [DELTA, GRADIENT], ids=["delta", "gradient"])
def test_the_servers_own_update_is_that_of_a_client_with_its_rows(training: Any) -> None:
    """With the whole of one client's rows in one batch, so that the order of batches says nothing."""
    training = replace(training, batch_size=5, local_steps=1)
    trusting = federation(training=training, rounds=1, stack=[_plugin(_Trusting)])
    trusting.trusted = np.arange(5)  # client 0's
    alone = federation(training=training, rounds=1)
    alone.rows = [np.arange(5)] * CLIENTS
    torch.testing.assert_close(final(trusting)[1], final(alone)[1], rtol=1e-5, atol=1e-6)


def test_malicious_clients_are_honest_outside_their_window() -> None:
    def losses(first: int, last: int | None, rounds: int = 4) -> list[float]:
        one = federation(rounds=rounds)
        one.adversary = Adversary(clients=frozenset({0, 1}), attack=_plugin(_Huge), first=first, last=last)
        return [loss for _, _, loss in run(one).curve]

    honest = [loss for _, _, loss in run(federation(rounds=4)).curve]
    assert losses(5, None) == honest
    assert losses(3, 3)[:3] == honest[:3]
    assert losses(3, 3)[3] != honest[3]
    assert losses(1, 2) != losses(1, None)


@dataclass
class _Huge:
    def on_update(self, update: Update, view: ColluderView) -> Update:
        assert view.colluders == (0, 1)
        return Update(update.vector * -20, update.examples)


def test_pinned_clients_are_in_every_cohort_and_the_others_are_drawn() -> None:
    one = federation(rounds=12, cohort=3)
    one.pinned = frozenset({4, 1})
    cohorts = [entry.clients for entry in run(one).rounds]
    assert all(len(cohort) == 3 and {1, 4} <= set(cohort) for cohort in cohorts)
    assert {client for cohort in cohorts for client in cohort} == set(range(CLIENTS))


def test_who_is_in_every_cohort_counts_in_full() -> None:
    assert declared_in_round(100, 10, 4, fixed=True) == 4
    assert declared_in_round(100, 3, 4, fixed=True) == 3
    assert declared_in_round(100, 10, 4) < 4


SCENARIO: dict[str, Any] = {
    "schema": 1,
    "name": "test/robust",
    "summary": "A question?",
    "model": {"name": "tiny-bert"},
    "data": {"name": "clinic-notes", "train": 60, "test": 10},
    "federation": {"clients": 6, "clients_per_round": 4, "rounds": 3, "learning_rate": 0.1},
    "threat": {"malicious": 2},
    "matrix": {"attack": ["none", "sign-flip"], "defense": ["none"]},
}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("threat.participation.first=4", "after the last round"),
        ("threat.participation.kind=often", "sampled"),
        ("data.trusted=55", "too few"),
        ("data.trusted=-1", "at least 0"),
    ],
)
def test_impossible_settings_are_refused(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_scenario(SCENARIO, [override])


def test_a_window_that_ends_before_it_begins_and_a_cohort_too_small_are_refused() -> None:
    with pytest.raises(ConfigError, match="is before"):
        load_scenario(SCENARIO, ["threat.participation.first=3", "threat.participation.last=2"])
    with pytest.raises(ConfigError, match="fixed puts all 5"):
        load_scenario(SCENARIO, ["threat.participation.kind=fixed", "threat.malicious=5"])


class _Against:
    """Sends three times the opposite of its honest row where that is what a rehearsal lets through."""

    def on_update(self, update: Update, view: ColluderView) -> Update:
        assert view.rehearse is not None
        honest = view.granted[Knowledge.BENIGN_UPDATES]
        rows = torch.cat([view.own_rows * -3, honest])
        base = Rows(rows)
        mixed = base.mixed(torch.eye(len(rows), dtype=torch.float64))
        found = view.rehearse(mixed)
        SEEN.append((view.round, view.colluders, found, found, rows))
        return Update(view.own_rows[0] * -3, update.examples)


@pytest.mark.parametrize("name", ["fltrust", "foolsgold", "centered-clipping"])
def test_a_rehearsal_foresees_the_weights_of_rules_that_know_more_than_the_rows(name: str) -> None:
    """A trusted update, histories, an earlier aggregate: the first colluder's forged row weighs what was rehearsed."""
    SEEN.clear()
    card = registry.defenses().get(name)
    one = federation(stack=[Plugin(name, registry.load_target(card))], rounds=3)
    one.trusted = np.arange(20, 30)
    knowledge: dict[Knowledge, Any] = {Knowledge.DEFENSE_SETTINGS: ()}
    one.adversary = Adversary(
        clients=frozenset({0}), attack=Plugin("it", _Against), grants_benign_updates=True, knowledge=knowledge
    )
    outcome = run(one)
    assert len(SEEN) == 3
    for summary, (_, _, found, _, _) in zip(outcome.rounds, SEEN, strict=True):
        assert summary.weights is not None
        if name == "centered-clipping":
            assert found.vector is not None
        else:
            assert found.weights is not None
            rehearsed = found.weights.tolist()
            if name == "fltrust":
                assert max(rehearsed[0], summary.weights[0]) < 0.05, "it has no say in what is trusted"
            else:
                assert rehearsed == pytest.approx(summary.weights, abs=1e-9)


def _refusals(defense: list[Any], **threat: int) -> str | None:
    content = {**SCENARIO, "federation": {**SCENARIO["federation"], "clients": 12, "clients_per_round": 12}}
    content |= {"threat": {"malicious": 2, **threat}, "matrix": {"attack": ["none"], "defense": [defense]}}
    cells = [cell for cell in expand(load_scenario(content)) if cell.defense]
    return refusal(cells[0])


def test_a_rule_behind_buckets_has_as_many_rows_as_there_are_buckets() -> None:
    assert _refusals(["krum"]) is None
    assert _refusals(["bucketing", "krum"]) == "Krum (Blanchard) needs n >= 2f+3 = 7, has 6"
    assert _refusals(["bucketing", "median"]) is None
    assert _refusals([{"name": "bucketing", "s": 1}, "krum"]) is None


def test_nothing_is_guaranteed_of_a_rule_behind_a_filter() -> None:
    def guarantee(*defense: str) -> Any:
        content = {**SCENARIO, "data": {**SCENARIO["data"], "train": 120}}
        content["federation"] = {**SCENARIO["federation"], "clients": 12, "clients_per_round": 12}
        content["matrix"] = {"attack": ["none"], "defense": [list(defense)]}
        return _robustness(next(cell for cell in expand(load_scenario(content)) if cell.defense))

    assert guarantee("krum") is not None
    assert guarantee("trimmed-mean") is not None
    for name in ("nnm", "clipping", "arc", "norm-bound"):
        assert guarantee(name, "trimmed-mean") is None
        assert guarantee(name, "krum") is None


def test_rounds_note_how_long_rows_are_where_a_rule_weighs_them() -> None:
    assert run(federation(rounds=1)).rounds[0].norms is None
    outcome = run(federation(rounds=1, stack=[_plugin(_Half)], observe=frozenset({1})))
    norms = outcome.rounds[0].norms
    assert norms is not None
    assert norms == pytest.approx(outcome.observed[1].rows.norm(dim=1).tolist(), rel=1e-5)
