"""DP-FedAvg: what it bounds and adds, what the ledger counts, and what voids its guarantee."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from fedsec.api import Canary, Position, PrivacyTerms, Unit
from fedsec.defenses.aggregation.norm_bound import NormBound
from fedsec.defenses.privacy.dp_fedavg import DPFedAvg
from fedsec.federation.plugins import Plugin
from fedsec.maths.rows import Rows
from fedsec.privacy.accounting import Spent, epsilon_of

from ...federation.support import CLIENTS, GRADIENT, federation, final

TERMS = PrivacyTerms(sampling_rate=1.0, steps=4, expected_rows=6.0)
SIZE, COHORT = 20_000, 6


def _vector(rows: torch.Tensor, noise: float, clip: float = 1.0, seed: int = 0) -> Any:
    made = DPFedAvg(epsilon=0.0, noise_multiplier=noise, clip=clip)
    made.calibrate(TERMS)
    generator = torch.Generator().manual_seed(seed)
    context: Any = SimpleNamespace(generator=generator, training=SimpleNamespace(cohort=COHORT))
    return made.vector(Rows(rows), context)


def _rows(count: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(count, SIZE, generator=torch.Generator().manual_seed(1))


def test_without_noise_it_is_the_clipped_sum_over_the_expected_number() -> None:
    rows = torch.cat([_rows(3, 0.001), 1e4 * _rows(1)])  # nothing is scaled by what the others are
    norms = rows.double().norm(dim=1)
    expected = (rows.double() * (1 / norms).clamp_max(1.0)[:, None]).sum(dim=0) / COHORT
    found = _vector(rows, 0.0)
    torch.testing.assert_close(found.value.double(), expected, atol=1e-6, rtol=1e-5)
    assert found.measurements["clip-fraction"] == 0.25
    assert (found.spent.noise_multiplier, found.spent.unit) == (0.0, Unit.CLIENT)


def test_a_client_moves_the_mean_by_at_most_the_clip() -> None:
    rows = _rows(5, 3.0)
    apart = _vector(rows, 0.0, 0.5).value - _vector(rows[:-1], 0.0, 0.5).value
    assert float(apart.norm()) <= 0.5 / COHORT * (1 + 1e-5)


def test_the_noise_has_the_variance_that_is_reported() -> None:
    drawn = _vector(torch.zeros(2, SIZE), 1.5, clip=2.0).value.double() * COHORT / 3.0
    low, high = chi2.ppf([1e-4, 1 - 1e-4], SIZE)
    assert low < float(drawn.square().sum()) < high


def _private(training: Any = GRADIENT, above: tuple[Plugin, ...] = (), **settings: Any) -> Any:
    stack = [*above, Plugin("dp-fedavg", partial(DPFedAvg, epsilon=0.0, noise_multiplier=2.0))]
    training = replace(training, cohort=settings.get("cohort", CLIENTS))
    return federation(training=training, stack=stack, rounds=3, **settings)


def test_the_ledger_counts_a_step_for_every_client_and_round() -> None:
    found = final(_private())[0].guarantee
    assert found is not None
    assert found.unit == Unit.CLIENT
    assert found.epsilon == epsilon_of([Spent(2.0, 1.0, 3)], 1e-5)
    assert Position.SERVER not in found.against
    assert Position.CLIENT in found.against


def test_a_round_without_a_client_has_noise_too_and_is_charged() -> None:
    outcome, moved = final(_private(replace(GRADIENT, sampling="poisson"), cohort=1))
    assert () in [one.clients for one in outcome.rounds]
    assert all(one.skipped is None for one in outcome.rounds)
    assert outcome.guarantee is not None
    assert outcome.guarantee.epsilon == epsilon_of([Spent(2.0, 1 / CLIENTS, 3)], 1e-5)
    alone = _vector(torch.zeros(0, SIZE), 2.0)
    assert alone.measurements["clip-fraction"] == 0.0
    torch.testing.assert_close(alone.value, _vector(torch.zeros(2, SIZE), 2.0).value)
    assert moved.isfinite().all()


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: _private(above=(Plugin("norm-bound", NormBound),)), "norm-bound changes updates"),
        (lambda: _private(cohort=2), "federation.sampling"),
    ],
)
def test_what_voids_it(made: Any, reason: str) -> None:
    found = final(made())[0].guarantee
    assert found is not None
    assert found.epsilon is None
    assert reason in "; ".join(found.void)


def test_it_refuses_to_run_before_it_chose_its_noise() -> None:
    with pytest.raises(RuntimeError, match="calibrate"):
        DPFedAvg().vector(Rows(torch.zeros(1, 3)), SimpleNamespace())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="target epsilon or a noise"):
        DPFedAvg(noise_multiplier=1.0)


def test_clients_that_are_canaries_send_their_direction_or_nothing() -> None:
    made = federation(training=GRADIENT, rounds=1, observe=frozenset({1}))
    made.canaries, made.silent = (Canary(1, 17, 5.0, Unit.CLIENT),), frozenset({3})
    rows = final(made)[0].observed[1].rows.numpy()
    assert rows[1].nonzero()[0].tolist() == [17]
    assert rows[1][17] == 5.0
    assert not rows[3].any()
    assert np.abs(rows[[0, 2, 4]]).sum(axis=1).all()
