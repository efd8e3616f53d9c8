"""FLDetector: L-BFGS against the dense recursion, the gap statistic, and whom it finds when."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedsec import registry
from fedsec.api import Population
from fedsec.defenses.detection.fldetector import FlDetector, clusters, hessian_times

from .support import around, mixed, normal


def _dense(steps: list[torch.Tensor], turns: list[torch.Tensor]) -> np.ndarray:
    """The BFGS matrix by its own recursion, from sigma times the identity."""
    s, y = ([one.double().numpy() for one in part] for part in (steps, turns))
    b = (y[-1] @ s[-1]) / (s[-1] @ s[-1]) * np.eye(len(s[0]))
    for one, other in zip(s, y, strict=True):
        b = b - np.outer(b @ one, b @ one) / (one @ b @ one) + np.outer(other, other) / (other @ one)
    return b


@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_compact_form_is_the_recursion(window: int, sign: float) -> None:
    """Negative curvature as well: differences of updates point against those of gradients."""
    root = normal(8, 8, seed=window)
    hessian = sign * (root @ root.T + torch.eye(8))
    steps = [normal(8, seed=10 + number) for number in range(window)]
    turns = [hessian @ step for step in steps]
    v = normal(8, seed=99)
    assert np.allclose(hessian_times(steps, turns, v).numpy(), _dense(steps, turns) @ v.double().numpy(), atol=1e-3)


def test_a_window_without_a_step_or_with_one_twice_gives_something_finite() -> None:
    step, v = normal(8), normal(8, seed=1)
    assert torch.equal(hessian_times([torch.zeros(8)], [step], v), torch.zeros(8))
    assert bool(hessian_times([step, step], [step, step], v).isfinite().all())
    assert bool(hessian_times([step], [torch.zeros(8)], v).isfinite().all())


def test_the_gap_statistic_tells_one_cluster_from_two() -> None:
    apart = np.array([0.08, 0.081, 0.079, 0.082, 0.08, 0.0805, 0.0795, 0.3, 0.31])
    assert clusters(apart) > 1
    assert clusters(np.full(9, 0.1)) == 1
    assert clusters(np.linspace(0, 1, 9)) == 1


HESSIAN = torch.diag(torch.linspace(0.5, 1.5, 6))


def _rounds(defense: FlDetector, rounds: int, hostile: bool, resumed: bool = False) -> list[list[int]]:
    """Nine clients descend a bowl, the last two of them any way they like; whom each round keeps."""
    model, found = 3 * torch.ones(6), []
    for number in range(rounds):
        rows = -0.2 * (model @ HESSIAN) + 0.01 * normal(9, 6, seed=number)
        if hostile:
            rows[7:] = 2 * normal(2, 6, seed=1000 + number)
        context = around(6, 9, 2, global_parameters=model, round=number + 1)
        mixing = mixed(defense, rows, 2, context=context).mixing
        found.append([int(line.argmax()) for line in mixing])
        model = model + (mixing.float() @ rows).mean(dim=0)
        if resumed:
            state, defense = defense.state(), FlDetector(window=defense.window)
            defense.load_state(state)
    return found


def test_inconsistent_clients_are_found_once_the_window_is_over_and_stay_out() -> None:
    found = _rounds(FlDetector(window=4), 9, hostile=True)
    assert found[:5] == [list(range(9))] * 5  # two rounds to have a step, then four scores
    assert found[6:] == [list(range(7))] * 3
    assert _rounds(FlDetector(window=4), 9, hostile=True, resumed=True) == found


def test_a_training_that_ends_before_the_window_does_is_no_test_of_it() -> None:
    check = registry.defenses().get("fldetector").precondition
    assert check is not None
    short = check(Population(clients=9, declared_malicious=2, rounds=7), {"window": 6})
    assert short is not None
    assert "before round 8" in short
    assert "set window to 5" in short
    assert check(Population(clients=9, declared_malicious=2, rounds=7), {"window": 5}) is None
    assert check(Population(clients=9, declared_malicious=2), {"window": 6}) is None
    assert "n > 2f" in str(check(Population(clients=4, declared_malicious=2, rounds=7), {"window": 5}))


def test_a_client_without_a_whole_window_holds_up_no_judgement_of_the_others() -> None:
    """Nine of ten clients send in every round; the tenth comes late, and has no whole window to the end."""
    defense, model = FlDetector(window=4), 3 * torch.ones(6)
    for number in range(8):
        rows = -0.2 * (model @ HESSIAN) + 0.01 * normal(10, 6, seed=number)
        rows[:2] = 2 * normal(2, 6, seed=1000 + number)
        here = 10 if number >= 4 else 9
        context = around(6, here, 2, global_parameters=model, round=number + 1)
        mixing = mixed(defense, rows[:here], 2, context=context).mixing
        model = model + (mixing.float() @ rows[:here]).mean(dim=0)
    assert set(defense.state()["found"]) == {"0", "1"}


def test_a_cohort_of_found_clients_alone_leaves_no_row_and_no_memory() -> None:
    defense = FlDetector(window=4)
    _rounds(defense, 3, hostile=False)
    defense.load_state({**defense.state(), "found": ["7", "8"]})
    before = defense.state()
    context = replace(around(6, 2, 2), clients=(7, 8))
    found = mixed(defense, normal(2, 6), 2, context=context)
    assert found.mixing.shape == (0, 2)
    assert all(len(defense.state()[name]) == len(before[name]) for name in ("steps", "turns"))
    assert all(torch.equal(defense.state()[name][0], before[name][0]) for name in ("model", "aggregate"))
    assert _rounds(defense, 2, hostile=True) == [list(range(7))] * 2


def test_consistent_clients_all_stay() -> None:
    assert _rounds(FlDetector(window=4), 9, hostile=False) == [list(range(9))] * 9


def test_averaged_rows_have_no_history() -> None:
    from fedsec.maths.rows import Rows

    mixing = torch.full((2, 4), 0.25, dtype=torch.float64)
    with pytest.raises(ValueError, match="take filters that average rows"):
        FlDetector().mix(Rows(normal(4, 6)).mixed(mixing), around(6, 4, 1))
