"""Calibrated loss, LiRA, RMIA and the shadow classifier, against plain references and on models without members."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

from fedsec.api import Candidate, Evidence, Granted, Knowledge, Tokens
from fedsec.attacks.membership.calibrated_loss import CalibratedLoss
from fedsec.attacks.membership.lira import Lira
from fedsec.attacks.membership.rmia import Rmia
from fedsec.attacks.membership.shadow_classifier import ShadowClassifier
from fedsec.attacks.membership.shadows import confidence, halves

from .support import evidence, labelled

COUNT, SHADOWS = 240, 8
RECORDS = labelled(COUNT)
PEOPLE = tuple(replace(one, tokens=(9_000 + place,)) for place, one in enumerate(labelled(60, seed=9)))
MEMBERS = torch.arange(COUNT) % 2 == 0


def _world(gain: float = 1.0, refused: tuple[int, ...] = ()) -> Evidence:
    """Models whose logits differ by how hard a record is and, where they were trained on it, by a gain."""
    draw = torch.Generator().manual_seed(0)
    everybody = (*RECORDS, *PEOPLE)
    base = 2 * torch.randn(len(everybody), 3, generator=draw)

    def table(included: torch.Tensor, seed: int) -> dict[Tokens, torch.Tensor]:
        own = base + 0.3 * torch.randn(base.shape, generator=torch.Generator().manual_seed(seed))
        for place in included.nonzero()[:, 0].tolist():
            own[place, everybody[place].label] += gain
        return {one.tokens: own[place] for place, one in enumerate(everybody)}

    victim: dict[Tokens, Any] = dict(table(MEMBERS, 1))
    for place in refused:
        victim[RECORDS[place].tokens] = None
    tables: list[Mapping[Tokens, torch.Tensor]] = []

    def shadows(included: torch.Tensor, like: float) -> torch.Tensor:
        known = [math.exp(-_loss(victim, one)) for one in RECORDS if victim[one.tokens] is not None]
        assert like == pytest.approx(float(np.mean(known)))
        tables[:] = [table(own, 100 + place) for place, own in enumerate(included)]
        return torch.arange(float(len(included)))[:, None]

    granted = Granted({Knowledge.BASE_MODEL: torch.zeros(1), Knowledge.CLIENT_TEXTS_DISTRIBUTION: PEOPLE})
    return replace(
        evidence(victim),
        shadows=shadows,
        granted=granted,
        ask=lambda vector, queries: [tables[int(vector[0])][query] for query in queries],
        generator=torch.Generator().manual_seed(7),
    )


def _loss(table: Mapping[Tokens, Any], one: Candidate) -> float:
    return float(torch.nn.functional.cross_entropy(table[one.tokens][None].double(), torch.tensor([one.label])))


def _plain(world: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Who is in which shadow, the shadows' and the victim's losses of candidates, and both of the population."""
    assert world.shadows is not None
    assert world.released is not None
    assert world.ask is not None
    included = halves(COUNT, SHADOWS, torch.Generator().manual_seed(7))
    answers = world.released().answer(tuple(one.tokens for one in (*RECORDS, *PEOPLE)))
    victim = {one.tokens: logits for one, logits in zip((*RECORDS, *PEOPLE), answers, strict=True)}
    own = np.array([_loss(victim, one) for one in RECORDS])
    vectors = world.shadows(included, float(np.exp(-own).mean()))

    def under(vector: torch.Tensor, one: Candidate) -> float:
        assert world.ask is not None
        return _loss({one.tokens: world.ask(vector, (one.tokens,))[0]}, one)

    losses = np.array([[under(vector, one) for one in (*RECORDS, *PEOPLE)] for vector in vectors])
    theirs = np.array([_loss(victim, one) for one in PEOPLE])
    return included.numpy(), losses[:, :COUNT], own, losses[:, COUNT:], theirs


def test_each_candidate_is_in_half_of_the_shadows() -> None:
    included = halves(COUNT, SHADOWS, torch.Generator().manual_seed(7))
    assert set(included.sum(dim=0).tolist()) == {SHADOWS // 2}
    assert included.any(dim=1).all()


def test_every_statistic_is_that_of_a_plain_loop() -> None:
    world = _world()
    included, losses, own, beside, theirs = _plain(world)
    out = [losses[~included[:, place], place] for place in range(COUNT)]
    within = [losses[included[:, place], place] for place in range(COUNT)]
    again = lambda attack: attack.score(RECORDS, _world()).numpy()  # noqa: E731
    calibrated = [row.mean() - mine for row, mine in zip(out, own, strict=True)]
    np.testing.assert_allclose(again(CalibratedLoss()), calibrated, atol=1e-6)

    logit = lambda loss: np.log(np.exp(-loss) / (1 - np.exp(-loss)))  # noqa: E731
    spread_out = np.mean([logit(row).var(ddof=1) for row in out]) ** 0.5
    spread_in = np.mean([logit(row).var(ddof=1) for row in within]) ** 0.5
    means_out, means_in = (np.array([logit(row).mean() for row in rows]) for rows in (out, within))
    np.testing.assert_allclose(again(Lira()), (logit(own) - means_out) / spread_out, atol=1e-6, rtol=1e-6)
    online = norm.logpdf(logit(own), means_in, spread_in) - norm.logpdf(logit(own), means_out, spread_out)
    np.testing.assert_allclose(again(Lira(mode="online")), online, atol=1e-6, rtol=1e-6)
    each_in, each_out = (np.array([logit(row).std(ddof=1) for row in rows]) for rows in (within, out))
    apart = norm.logpdf(logit(own), means_in, each_in) - norm.logpdf(logit(own), means_out, each_out)
    np.testing.assert_allclose(again(Lira(mode="online", variance="own")), apart, atol=1e-6, rtol=1e-6)

    mean = lambda p: ((1 + 0.3) * p + 1 - 0.3) / 2  # noqa: E731
    ratio = np.exp(-own) / mean(np.array([np.exp(-row).mean() for row in out]))
    others = np.exp(-theirs) / mean(np.exp(-beside).mean(axis=0))
    np.testing.assert_allclose(again(Rmia()), [(one / others >= 1).mean() for one in ratio], atol=1e-6)
    both = np.exp(-own) / np.array([np.exp(-losses[:, place]).mean() for place in range(COUNT)])
    others = np.exp(-theirs) / np.exp(-beside).mean(axis=0)
    found = again(Rmia(mode="online", gamma=1.1))
    np.testing.assert_allclose(found, [(one / others >= 1.1).mean() for one in both], atol=1e-6)


ATTACKS = [CalibratedLoss(), Lira(), Lira(mode="online"), Rmia(), Rmia(mode="online"), ShadowClassifier()]


def _auc(scores: torch.Tensor) -> float:
    pairs = scores[MEMBERS][:, None] - scores[~MEMBERS][None]
    return float((pairs > 0).double().mean() + (pairs == 0).double().mean() / 2)


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_tells_members_apart_where_models_fit_them_and_nothing_where_they_do_not(attack: CalibratedLoss) -> None:
    least = 0.55 if isinstance(attack, ShadowClassifier) else 0.6 if attack == Rmia() else 0.85
    assert _auc(attack.score(RECORDS, _world())) > least
    assert 0.4 < _auc(attack.score(RECORDS, _world(gain=0.0))) < 0.6


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_refused_candidate_gets_the_mean_of_the_others(attack: CalibratedLoss) -> None:
    scores = attack.score(RECORDS, _world(refused=(3, 50)))
    kept = torch.ones(COUNT, dtype=torch.bool)
    kept[[3, 50]] = False
    assert scores.isfinite().all()
    torch.testing.assert_close(scores[~kept], scores[kept].mean().expand(2))


def test_without_what_they_need_they_say_so() -> None:
    bare = replace(_world(), shadows=None)
    with pytest.raises(ValueError, match="base-model"):
        CalibratedLoss().score(RECORDS, bare)
    alone = replace(_world(), granted=Granted({Knowledge.CLIENT_TEXTS_DISTRIBUTION: ()}))
    with pytest.raises(ValueError, match=r"lower data\.train"):
        Rmia().score(RECORDS, alone)


def test_confidence_is_finite_for_the_surest_and_the_least_sure() -> None:
    losses = torch.tensor([0.0, 1e-300, 1e-3, 0.7, 30.0, 1e4], dtype=torch.float64)
    found = confidence(losses)
    assert found.isfinite().all()
    assert (found.diff() <= 0).all()
    assert float(found[3]) == pytest.approx(math.log(math.exp(-0.7) / (1 - math.exp(-0.7))))
