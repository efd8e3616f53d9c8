"""Adaptive: what it sends is the worst that it tried, and its arithmetic on products is the direct one."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.api import Knowledge, Rehearsal
from fedsec.attacks.byzantine.adaptive import DECADES, REACH, Adaptive, search
from fedsec.attacks.byzantine.alie import ALittleIsEnough
from fedsec.attacks.byzantine.ipm import InnerProductManipulation
from fedsec.attacks.byzantine.known_rows import mean_and_deviation
from fedsec.attacks.byzantine.min_max import MinMax
from fedsec.attacks.byzantine.min_sum import MinSum
from fedsec.attacks.byzantine.stage import Stage
from fedsec.defenses.aggregation.geometric_median import GeometricMedian
from fedsec.defenses.aggregation.krum import Krum
from fedsec.defenses.aggregation.mda import MinimumDiameterAveraging
from fedsec.defenses.aggregation.multi_krum import MultiKrum
from fedsec.defenses.detection.dnc import DivideAndConquer
from fedsec.defenses.detection.flame import Flame
from fedsec.defenses.detection.sign_majority import SignMajority
from fedsec.defenses.detection.weak_dp import WeakDp
from fedsec.maths.coordinates import coordinate_wise, trimmed_mean
from fedsec.maths.rows import Rows

from .colluders import Rehearse, by_vector, by_weights, filtered, honest, mean, median, sent, update, view

OWN, BENIGN = honest(3, 30, seed=1), honest(7, 30, seed=2)
RULES: dict[str, Rehearse] = {"krum": by_weights(Krum(), 3), "mean": mean, "median": median}
DETECTION: dict[str, Rehearse] = {
    "dnc": filtered(DivideAndConquer, 3),
    "flame": filtered(Flame, 3),
    "sign-majority": by_vector(SignMajority(), 3),
    "weak-dp": filtered(WeakDp, 3),
}


def _harm(rule: Rehearse, vector: torch.Tensor, honest_rows: torch.Tensor, colluders: int) -> float:
    """|F - mu| with the very fp32 vector that is sent, from the rows themselves."""
    rows = torch.cat([vector.repeat(colluders, 1), honest_rows])
    found = rule(Rows(rows))
    moved = found.weights @ rows.double() if found.weights is not None else found.vector.double()
    return float((moved - honest_rows.double().mean(dim=0)).norm())


def _grid(most: float, points: int = 60) -> list[float]:
    return [most * 10 ** (-DECADES * (1 - place / (points - 1))) for place in range(points)]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_it_is_at_least_as_bad_as_every_fixed_factor_that_it_tried(rule: Rehearse) -> None:
    tried: list[tuple[float, float, float]] = []

    def spied(rows: Rows) -> Rehearsal:
        last = rows.mixing[0]  # colluder 0's line: factors of the 7 known rows, of sigma and of sign(mu) sigma
        tried.append((float(last[:7].sum()), float(last[7]), float(last[8])))
        return rule(rows)

    worst = _harm(rule, sent(Adaptive(objective="distance"), view(OWN, BENIGN, rehearse=spied)), BENIGN, 3)
    assert len(tried) == 72
    stage = Stage(BENIGN, view(OWN, BENIGN), rule)
    for of_mean, of_sigma, of_opposed in tried:
        vector = stage.crafted(of_mean, of_sigma / stage._unit, of_opposed / stage._unit)
        assert worst >= _harm(rule, vector, BENIGN, 3) * (1 - 1e-5)


@pytest.mark.parametrize("name", [*RULES, "multi-krum", "mda", "trimmed-mean", "geometric-median", *DETECTION])
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_no_attack_that_does_not_know_the_rule_does_more_harm(name: str, seed: int) -> None:
    """Rows around a common step, as clients' are."""
    others = {
        "multi-krum": by_weights(MultiKrum(), 3),
        "mda": by_weights(MinimumDiameterAveraging(), 3),
        "geometric-median": by_weights(GeometricMedian(), 3),
        "trimmed-mean": lambda rows: Rehearsal(None, coordinate_wise(rows, partial(trimmed_mean, f=3))),
    }
    rule = {**RULES, **others, **DETECTION}[name]
    benign = 0.7 * honest(9, 200, seed=seed) + honest(1, 200, seed=10 + seed)
    center = benign.double().mean(dim=0)

    def against(vector: torch.Tensor) -> float:
        rows = torch.cat([vector.repeat(3, 1), benign])
        found = rule(Rows(rows))
        result = found.weights @ rows.double() if found.weights is not None else found.vector.double()
        return float((center - result) @ center / center.square().sum())

    found = against(sent(Adaptive(), view(honest(3, 200, seed=1), benign, rehearse=rule, cohort=12)))
    plain = [InnerProductManipulation(epsilon=e) for e in (0.1, 0.5, 3.0)]
    plain += [ALittleIsEnough(z=1.5), MinMax(), MinSum(), MinMax(direction="sign"), MinMax(direction="std")]
    for attack in plain:
        other = against(sent(attack, view(honest(3, 200, seed=1), benign, cohort=12)))
        assert found >= other - 0.02, f"{attack}: {other:.3f}, adaptive: {found:.3f}"


def test_the_other_objective_prefers_a_short_way_back_to_a_long_one_sideways() -> None:
    """A rule that lets through a long ALIE, or a short step against the mean: each objective takes its own."""
    center, deviation = mean_and_deviation(BENIGN)

    def rule(rows: Rows) -> Rehearsal:
        crafted = torch.cat(list(rows.chunks()), dim=1)[0].double()
        if float(crafted @ center) < 0:
            return Rehearsal(weights=None, vector=(-0.5 * center).float())
        return Rehearsal(
            weights=None, vector=(center + 3 * (deviation - (deviation @ center) / (center @ center) * center)).float()
        )

    chosen = {one: sent(Adaptive(objective=one), view(OWN, BENIGN, rehearse=rule)) for one in ("distance", "against")}
    assert float(chosen["against"].double() @ center) < 0 < float(chosen["distance"].double() @ center)


@pytest.mark.parametrize("name", RULES)
def test_a_grid_five_times_as_fine_finds_hardly_more(name: str) -> None:
    rule, typical = RULES[name], float(BENIGN.norm(dim=1).sort().values[3])
    most = REACH * typical / float(BENIGN.mean(dim=0).norm())
    fixed = [InnerProductManipulation(epsilon=one) for one in _grid(most)] + [
        ALittleIsEnough(z=one) for one in _grid(REACH)
    ]
    best = max(_harm(rule, sent(one, view(OWN, BENIGN)), BENIGN, 3) for one in fixed)
    found = _harm(rule, sent(Adaptive(), view(OWN, BENIGN, rehearse=rule)), BENIGN, 3)
    assert found >= 0.95 * best


def test_against_the_mean_it_goes_as_far_as_it_may_and_against_krum_stays_small() -> None:
    norms = {name: sent(Adaptive(), view(OWN, BENIGN, rehearse=rule)).norm() for name, rule in RULES.items()}
    typical = BENIGN.norm(dim=1).sort().values[3]
    assert norms["mean"] == pytest.approx(float(REACH * typical), rel=1e-5)
    assert norms["krum"] < 3 * typical
    rows = torch.cat([sent(Adaptive(), view(OWN, BENIGN, rehearse=RULES["krum"])).repeat(3, 1), BENIGN])
    assert int(by_weights(Krum(), 3)(Rows(rows)).weights.argmax()) < 3  # type: ignore[union-attr]


@settings(deadline=None, max_examples=40)
@given(
    st.integers(2, 8), st.integers(1, 4), st.floats(-20, 20), st.floats(-20, 20), st.integers(0, 10_000), st.booleans()
)
def test_harm_from_products_is_harm_from_the_rows(
    known: int, colluders: int, of_mean: float, of_deviation: float, seed: int, told: bool
) -> None:
    rows = honest(known, 25, seed)
    generator = torch.Generator().manual_seed(seed)
    seen = view(
        rows if not told else rows[:1], rows if told else None, colluders=range(colluders), cohort=known + colluders + 2
    )
    stage = Stage(rows, seen, lambda given: _drawn(given, generator))
    mixing = stage.mixing(of_mean, of_deviation)
    state = generator.get_state()
    distance, against = stage.harm(of_mean, of_deviation)
    generator.set_state(state)
    weights = _drawn(stage.base.mixed(mixing), generator).weights
    assert weights is not None
    beside = torch.stack([stage.deviation, stage.opposed]) / stage._unit
    base = torch.cat([rows.double(), beside.float().double()])
    center = rows.double().mean(dim=0)
    direct = weights @ (mixing @ base) - center
    assert distance == pytest.approx(float(direct.norm()), rel=1e-9)
    assert against == pytest.approx(-float(direct @ center / center.norm()), rel=1e-9, abs=1e-9 * distance)


def _drawn(rows: Rows, generator: torch.Generator) -> Rehearsal:
    weights = torch.rand(len(rows), dtype=torch.float64, generator=generator)
    return Rehearsal(weights=weights / weights.sum(), vector=None)


def test_a_vector_counts_as_it_is_and_a_skipped_round_as_no_step() -> None:
    target = torch.arange(30.0)
    stage = Stage(BENIGN, view(OWN, BENIGN), lambda _: Rehearsal(weights=None, vector=target))
    center = BENIGN.double().mean(dim=0)
    back = -float((target - center) @ center / center.norm())
    assert stage.harm(-1.0, 0.0) == pytest.approx((float((target - center).norm()), back), rel=1e-12)
    stage = Stage(BENIGN, view(OWN, BENIGN), lambda _: Rehearsal(weights=None, vector=None))
    assert stage.harm(-1.0, 0.0) == pytest.approx((float(center.norm()), float(center.norm())), rel=1e-9)


def test_forged_rows_stand_where_the_colluders_do() -> None:
    told = Stage(BENIGN, view(OWN, BENIGN, colluders=(2, 5, 9)), mean).mixing(-0.5, 0.0)
    assert told.shape == (10, 9)
    crafted = [place for place in range(10) if float(told[place].min()) < 0]
    assert crafted == [2, 5, 9]
    assert torch.equal(told[[0, 1, 3, 4, 6, 7, 8], :7], torch.eye(7).double())
    unknown = Stage(BENIGN, view(OWN, BENIGN, colluders=(2, 5, 90)), mean).mixing(-0.5, 0.0)
    assert [place for place in range(10) if float(unknown[place].min()) < 0] == [7, 8, 9]
    alone = Stage(OWN, view(OWN), mean).mixing(-0.5, 0.0)  # 3 own rows stand for 7 others
    assert alone.shape == (10, 5)
    assert torch.equal(alone[3:, :3].argmax(dim=1), torch.tensor([0, 1, 2, 0, 1, 2, 0]))


def test_the_rehearsed_rows_are_those_that_will_be_sent() -> None:
    attack, seen = Adaptive(), view(OWN, BENIGN, rehearse=RULES["krum"])
    crafted, stage = sent(attack, seen), Stage(BENIGN, seen, RULES["krum"])
    rows = stage.base.mixed(stage.mixing(-0.7, 0.0))
    center = BENIGN.double().mean(dim=0)
    whole = torch.cat(list(rows.chunks()), dim=1)
    torch.testing.assert_close(whole[0], (-0.7 * center).float())
    torch.testing.assert_close(whole[3:], BENIGN)
    assert crafted.isfinite().all()


def test_the_search_zooms_in_on_a_cliff_and_keeps_to_its_budget() -> None:
    asked: list[float] = []

    def harm(factor: float) -> float:
        asked.append(factor)
        return factor if factor <= 3.0 else 0.0

    tried = search(harm, 0.1, 100.0, 24)
    assert len(asked) == len(set(asked)) == len(tried) == 24
    assert 2.9 <= max(tried, key=lambda one: tried[one]) <= 3.0
    assert list(tried) == sorted(tried)
    assert (0.1 in tried, 100.0 in tried) == (True, True)
    assert len(search(harm, 0.0, 100.0, 4)) == 4
    flat = search(lambda _: 1.0, 0.0, 100.0, 10)
    assert max(flat, key=lambda one: flat[one]) == min(flat)  # ties go to the smaller factor


def test_ties_between_directions_go_to_ipm() -> None:
    crafted = sent(Adaptive(), view(OWN, BENIGN, rehearse=lambda _: Rehearsal(weights=None, vector=torch.zeros(30))))
    center = BENIGN.double().mean(dim=0)
    assert abs(float(crafted.double() @ center)) == pytest.approx(float(crafted.norm() * center.norm()), rel=1e-6)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_it_is_repeatable_shared_and_leaves_everything_alone(rule: Rehearse) -> None:
    own, benign = OWN.clone(), BENIGN.clone()
    seen = view(own, benign, rehearse=rule)
    first = Adaptive().on_update(update(own[0]), seen).vector
    calls: list[int] = []

    def counting(rows: Rows) -> Rehearsal:
        calls.append(len(rows))
        return rule(rows)

    shared = view(own, benign, rehearse=counting, blackboard=seen.blackboard)
    assert torch.equal(Adaptive().on_update(update(own[1]), shared).vector, first)
    assert calls == []
    assert torch.equal(sent(Adaptive(), view(own, benign, rehearse=rule)), first)
    assert torch.equal(own, OWN)
    assert torch.equal(benign, BENIGN)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_odd_rows_are_met(rule: Rehearse) -> None:
    for rows in (OWN[:1], OWN[:1].repeat(3, 1), torch.zeros(2, 30), torch.cat([OWN, 1e6 * OWN[:1]])):
        for told in (None, rows):
            crafted = sent(Adaptive(evaluations=4), view(OWN[:1] if told is not None else rows, told, rehearse=rule))
            assert crafted.isfinite().all()
    everybody = view(OWN, cohort=3, rehearse=rule)
    assert sent(Adaptive(evaluations=4), everybody).isfinite().all()


def test_without_the_defenses_settings_it_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="defense-settings"):
        Adaptive().on_update(update(OWN[0]), view(OWN))


UNKNOWN_TO_IT = {"fldetector", "zeno"}
"""They remember rounds, or ask a model: the search has not been shown to find its way there, so that scorecards say
that they met no attack that knows them."""


def test_the_card_names_every_other_rule_and_asks_for_the_settings() -> None:
    card: Any = registry.attacks().get("adaptive")
    assert card.threat.knowledge == {Knowledge.DEFENSE_SETTINGS}
    robust = [one for one in registry.defenses() if one.protects == "robustness" and (one.needs_rows or one.is_rule)]
    names = {one.name for one in robust if one.target.startswith("fedsec.")}
    assert names - set(card.adaptive_to) == UNKNOWN_TO_IT
    assert registry.load_target(card)(**card.resolve({"evaluations": 30})) == Adaptive(evaluations=30)
