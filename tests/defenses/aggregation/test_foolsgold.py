"""FoolsGold against algorithm 1 in plain loops, over several rounds of changing cohorts."""

import math

import pytest
import torch

from fedsec import registry
from fedsec.api import Layout, ParameterInfo, Population, Role
from fedsec.defenses.aggregation.foolsgold import FoolsGold, learning_rates

from ...bounds import within
from .gram_support import decide, normal, relative

pytestmark = pytest.mark.numeric


def _plain(history: list[torch.Tensor]) -> list[float]:
    """Learning rates by algorithm 1, kappa = 1."""
    n = len(history)
    lengths = [float(h.norm()) for h in history]
    cs = [
        [float(history[i] @ history[j]) / (lengths[i] * lengths[j]) if i != j else 0.0 for j in range(n)]
        for i in range(n)
    ]
    v = [max(line) for line in cs]
    for i in range(n):
        for j in range(n):
            if i != j and v[j] > v[i]:
                cs[i][j] *= v[i] / v[j]
    alpha = [min(max(1 - max(line), 0.0), 1.0) for line in cs]
    scaled = [min(a / max(alpha), 0.99) for a in alpha]
    return [min(max(math.log(a / (1 - a)) + 0.5, 0.0), 1.0) if a > 0 else 0.0 for a in scaled]


@pytest.mark.parametrize("seed", range(15))
def test_it_is_algorithm_1_on_the_summed_updates_of_each_client(seed: int) -> None:
    n, d = 3 + seed % 10, 2 + (5 * seed) % 29
    rule, sums = FoolsGold(), {client: torch.zeros(d, dtype=torch.float64) for client in range(n)}
    for number in range(4):
        cohort = [client for client in range(n) if (client + number + seed) % 3 or n == 3]
        matrix = 0.3 + normal(len(cohort), d, seed=10 * seed + number)
        for row, client in zip(matrix, cohort, strict=True):
            sums[client] += row.double()
        found = decide(rule, matrix, clients=tuple(cohort))
        rates = _plain([sums[client] for client in cohort])
        assert found.weights.tolist() == pytest.approx([rate / len(cohort) for rate in rates], rel=1e-5, abs=1e-7)
        expected = sum(rate * row for rate, row in zip(rates, matrix.double(), strict=True)) / len(cohort)
        if max(rates) > 0:
            within("foolsgold", relative(found.vector, torch.as_tensor(expected)), 1e-5)


def test_sybils_lose_their_weight_and_others_keep_it() -> None:
    rule = FoolsGold()
    for number in range(5):
        sybil = normal(1, 40, seed=100) + 0.02 * normal(4, 40, seed=number)
        found = decide(rule, torch.cat([normal(5, 40, seed=50 + number), sybil]))
    assert found.weights[:5].tolist() == pytest.approx([1 / 9] * 5)
    assert found.weights[5:].tolist() == pytest.approx([0.0] * 4, abs=1e-3)


def test_an_honest_client_near_a_sybil_is_pardoned() -> None:
    cosines = torch.tensor([[1.0, 0.6, 0.6], [0.6, 1.0, 0.95], [0.6, 0.95, 1.0]], dtype=torch.float64)
    rates = learning_rates(cosines)
    assert float(rates[0]) == 1.0
    assert float(rates[1]) < 0.1


def test_rates_are_finite_at_the_ends_of_the_logit() -> None:
    """1/0 at a rate of 1, log 0 at one of 0, 0/0 where all are 0."""
    same = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    assert learning_rates(same).tolist() == [0.0, 0.0, 1.0]
    assert learning_rates(torch.eye(3, dtype=torch.float64)).tolist() == [1.0] * 3
    assert learning_rates(torch.ones(3, 3, dtype=torch.float64)).tolist() == [0.0] * 3
    assert learning_rates(-torch.ones(3, 3, dtype=torch.float64)).tolist() == [1.0] * 3


@pytest.mark.parametrize("width", [1, 30, 60_000])
def test_clients_that_are_all_the_same_get_no_trust_but_for_rounding(width: int) -> None:
    """Dividing by the largest rate, which is rounding, would give them all of it."""
    rows = normal(1, width).expand(50, width) * torch.linspace(0.5, 2.0, 50)[:, None]
    assert decide(FoolsGold(), rows.contiguous()).weights.tolist() == [0.0] * 50


def test_a_client_that_sent_nothing_has_no_weight() -> None:
    matrix = torch.cat([torch.zeros(2, 9), normal(4, 9)])
    weights = decide(FoolsGold(), matrix).weights
    assert weights[:2].tolist() == [0.0, 0.0]
    rates = _plain([row.double() for row in matrix[2:]])
    assert weights[2:].tolist() == pytest.approx([rate / 6 for rate in rates])


def _kept(rule: FoolsGold) -> dict[str, torch.Tensor]:
    state = rule.state()
    return dict(zip(state["clients"], state["history"], strict=True))


def test_history_goes_by_client_not_by_place() -> None:
    one, other = FoolsGold(), FoolsGold()
    first, second = normal(5, 9), normal(5, 9, seed=1)
    decide(one, first)
    decide(other, first)
    order = [3, 0, 4, 1, 2]
    kept = decide(one, second).weights
    moved = decide(other, second[order], clients=tuple(order)).weights
    assert moved.tolist() == pytest.approx(kept[order].tolist())


def test_memory_is_one_sum_per_client_however_many_rounds() -> None:
    """FLPoison keeps every round's matrix."""
    rule = FoolsGold()
    for number in range(6):
        decide(rule, normal(4, 9, seed=number), clients=(7, 1, 3, 5))
    history = _kept(rule)
    assert {client: tuple(line.shape) for client, line in history.items()} == dict.fromkeys("7135", (9,))


def test_a_restored_instance_goes_on_and_shares_nothing() -> None:
    rule, restored = FoolsGold(), FoolsGold()
    decide(rule, normal(5, 9))
    kept = {client: line.clone() for client, line in _kept(rule).items()}
    restored.load_state(rule.state())
    found = decide(restored, normal(5, 9, seed=1)).weights
    assert all(torch.equal(line, kept[client]) for client, line in _kept(rule).items())
    assert torch.equal(decide(rule, normal(5, 9, seed=1)).weights, found)


def test_huge_rows_round_after_round_stay_finite() -> None:
    rule = FoolsGold()
    for _ in range(4):
        found = decide(rule, torch.cat([normal(2, 5), torch.full((4, 5), 3e38)]))
        assert bool(found.weights.isfinite().all())
        assert all(bool(line.isfinite().all()) for line in _kept(rule).values())


def test_only_the_output_layer_is_compared_and_kept_if_asked() -> None:
    parameters = (
        ParameterInfo("query", (2, 3), Role.QUERY),
        ParameterInfo("head", (2, 2), Role.HEAD),
        ParameterInfo("tail", (5,), Role.OTHER),
        ParameterInfo("bias", (2,), Role.HEAD),
    )
    layout = Layout(parameters, (0, 6, 10, 15), 17)
    matrix = normal(6, 17)
    rule = FoolsGold(features="head")
    head = torch.cat([matrix[:, 6:10], matrix[:, 15:]], dim=1)
    assert torch.equal(decide(rule, matrix, layout=layout).weights, decide(FoolsGold(), head).weights)
    assert torch.equal(_kept(rule)["3"], head[3])
    with pytest.raises(ValueError, match="set features to all"):
        decide(FoolsGold(features="head"), matrix)


def test_rows_of_one_client_each_are_needed_and_it_says_so() -> None:
    matrix = normal(4, 5)
    scaled = torch.diag(torch.tensor([1.0, 0.5, 2.0, 1.0], dtype=torch.float64))[[0, 1, 3]]
    assert len(decide(FoolsGold(), matrix, mixing=scaled).weights) == 3
    twice = torch.eye(4, dtype=torch.float64)[[0, 0, 1]]
    for mixing in (torch.full((4, 4), 0.25, dtype=torch.float64), twice):
        with pytest.raises(ValueError, match="take filters that average rows"):
            decide(FoolsGold(), matrix, mixing=mixing)


def test_the_precondition_says_what_does_not_go_together() -> None:
    check = registry.defenses().get("foolsgold").precondition
    assert check is not None
    many = Population(clients=7, declared_malicious=5)
    assert check(many, {"features": "all", "geometry": "product"}) is None
    assert "set features to all" in (check(many, {"features": "head", "geometry": "product"}) or "")
    alone = Population(clients=1, declared_malicious=0)
    expected = "FoolsGold compares clients and needs n >= 2, has 1"
    assert check(alone, {"features": "all", "geometry": "raw"}) == expected
