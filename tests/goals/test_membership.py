"""What the goal membership takes for an answer, and which truth it holds it against."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fedsec.api import Truth
from fedsec.errors import WrongAnswerError
from fedsec.goals.membership import TellMembers


def _ask(answer: Any, clients: tuple[int, ...] = (3, 7)) -> np.ndarray:
    attack = SimpleNamespace(score=lambda candidates, evidence: answer)
    evidence: Any = SimpleNamespace(question=tuple(range(5)), clients=clients)
    return TellMembers().ask(attack, evidence)


@pytest.mark.parametrize(
    ("shape", "clients"), [((5,), (3, 7)), ((5, 2), (3, 7)), ((5, 1), ()), ((5,), ())], ids=lambda one: str(one)
)
def test_scores_are_about_anybody_or_about_each_client_that_is_seen(shape: Any, clients: tuple[int, ...]) -> None:
    assert _ask(torch.zeros(shape, dtype=torch.float64), clients).shape == shape


@pytest.mark.parametrize("shape", [(5, 3), (4,), (2, 5), (5, 1), ()])
def test_another_shape_is_an_error_that_says_which_ones_fit(shape: Any) -> None:
    with pytest.raises(WrongAnswerError, match=r"fp64 \[5\].*\[5, 2\], about each of evidence.clients"):
        _ask(torch.zeros(shape, dtype=torch.float64))
    with pytest.raises(WrongAnswerError, match="2 of 10 scores are NaN"):
        _ask(torch.tensor([[0.0, 1.0]] * 4 + [[torch.nan, torch.nan]], dtype=torch.float64))


def _truth(clients: tuple[int, ...]) -> Truth:
    """Six candidates in rows 10 to 15: client 3 holds the first two, 7 the next two, of which each drew one."""
    empty: Any = dict.fromkeys(Truth.__slots__, ())
    drawn = {1: {3: SimpleNamespace(rows=(10, 99, None))}, 2: {3: SimpleNamespace(rows=(10,)), 7: _DREW}}
    return Truth(
        **{
            **empty,
            "secrets": drawn,
            "members": (True, True, True, True, False, False),
            "candidate_rows": (10, 11, 12, 13, 14, 15),
            "holders": (3, 3, 7, 7, None, None),
            "clients": clients,
        }
    )


_DREW = SimpleNamespace(rows=(13,))


def test_an_attack_on_updates_is_held_against_what_each_client_drew() -> None:
    scores = np.zeros((6, 2))
    scores[0, 0] = scores[3, 1] = 1.0  # exactly what was drawn
    found = TellMembers().score(_truth((3, 7)), scores, np.zeros(6), lambda _: None).metrics
    assert found["membership/auc"].value == 1.0
    assert found["membership/auc"].detail == {"members": 2.0, "others": 4.0, "clients": 2.0}
    assert found["membership/holdings-auc"].value == 0.75


def test_of_a_sum_it_is_what_anybody_drew_and_of_a_released_model_what_anybody_holds() -> None:
    drawn = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    of_sum = TellMembers().score(_truth(()), drawn[:, None], np.zeros(6), lambda _: None).metrics
    assert of_sum["membership/auc"].value == 1.0
    assert of_sum["membership/holdings-auc"].value == 0.75
    released = TellMembers().score(_truth(()), drawn, np.zeros(6), lambda _: None).metrics
    assert released["membership/auc"].value == 0.75
    assert "membership/holdings-auc" not in released
