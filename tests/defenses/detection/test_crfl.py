"""CRFL: the model is clipped and blurred, copies vote, and the certificate is no larger than an attack's reach."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from scipy.stats import norm

from fedsec.api import Measured, QueryView
from fedsec.defenses.detection.crfl import Crfl, certified_radius

from .support import around, normal


def _model(defense: Crfl, parameters: torch.Tensor, number: int = 1) -> torch.Tensor:
    found = defense.on_model(parameters, around(len(parameters), 3, 1, round=number))
    assert isinstance(found, Measured)
    return found.value  # type: ignore[no-any-return]


def test_the_model_is_clipped_and_not_the_update() -> None:
    """Elsewhere the update is clipped, and the model grows without bound."""
    quiet = Crfl(norm=2.0, growth=0.5, sigma=0.0)
    assert float(_model(quiet, torch.full((10_000,), 1.0), 3).norm()) == pytest.approx(3.5, rel=1e-5)
    short = normal(20) * 0.01
    assert torch.equal(_model(quiet, short), short)


def test_every_round_adds_noise_and_the_last_one_none() -> None:
    plain = torch.zeros(20_000)
    assert float(_model(Crfl(), plain, 4).std()) == pytest.approx(0.01, rel=0.03)
    assert torch.equal(_model(Crfl(), plain, 5), plain)


def _view(parameters: torch.Tensor | None) -> QueryView:
    """A linear classifier: query (i,) is e_i, class 1 where its parameter is above 0."""

    def ask(vector: torch.Tensor, queries: Any) -> list[torch.Tensor]:
        return [torch.stack([-vector[query[0]], vector[query[0]]]) for query in queries]

    return QueryView(
        tokenizer=None,
        generator=torch.Generator().manual_seed(0),
        parameters=parameters,
        ask=None if parameters is None else ask,
    )


def test_copies_vote_and_each_class_has_one_vote_more() -> None:
    parameters, defense = torch.tensor([1.0, -1.0, 0.005]), Crfl(copies=400, sigma=0.01)
    found = defense.on_query(((0,), (1,), (2,)), lambda queries: [None] * 3, _view(parameters))
    votes = [one.exp() * 402 - 1 for one in found if one is not None]
    assert [one.round().tolist() for one in votes[:2]] == [[0, 400], [400, 0]]
    assert float(votes[2][1]) / 400 == pytest.approx(float(norm.cdf(0.5)), abs=0.1)
    with pytest.raises(ValueError, match="run it in a federation"):
        defense.on_query(((0,),), lambda queries: [None], _view(None))


@pytest.mark.parametrize("margin", [0.002, 0.01, 0.03])
def test_the_certified_radius_never_exceeds_what_an_attack_reaches(margin: float) -> None:
    """Of a linear classifier the nearest parameters with another answer lie `margin` away, against the query."""
    defense, query = Crfl(copies=500, sigma=0.01), ((0,),)
    parameters = torch.tensor([margin, 5.0, -3.0])
    (found,) = defense.on_query(query, lambda queries: [None], _view(parameters))
    assert found is not None
    votes = (found.exp() * 502 - 1).round().int().tolist()
    radius = certified_radius(votes, 0.01)
    assert radius <= margin  # the attack that turns the answer has this length
    assert radius > 0 or margin < 0.005
    moved = replace(_view(parameters - torch.tensor([margin + 0.03, 0.0, 0.0])))
    (turned,) = defense.on_query(query, lambda queries: [None], moved)
    assert turned is not None
    assert int(turned.argmax()) == 0


def test_votes_without_a_majority_certify_nothing_and_more_copies_certify_more() -> None:
    assert certified_radius([50, 50], 0.01) == 0.0
    assert certified_radius([52, 48], 0.01) == 0.0
    assert certified_radius([40, 30, 30], 0.01) == 0.0
    few, many = certified_radius([0, 100], 0.01), certified_radius([0, 1000], 0.01)
    assert 0 < few < many
    assert certified_radius([0, 100], 0.02) == pytest.approx(2 * few)
    assert many == pytest.approx(0.01 * float(norm.ppf((0.001 / 2) ** (1 / 1000))))
