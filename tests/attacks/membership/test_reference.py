"""Reference: the base model's loss less the released model's."""

from pathlib import Path
from typing import Any

import pytest
import torch

from fedsec import registry
from fedsec.api import Knowledge
from fedsec.attacks.membership.loss import Loss
from fedsec.attacks.membership.reference import Reference

from .support import evidence, logits, slow_loss, small_federation, written

WRITES: dict[str, Any] = {
    "model": {"name": "tiny-llama", "task": "causal-lm", "layers": 1, "vocabulary": 600, "dropout": False}
}


def test_the_score_is_the_difference_of_two_losses_that_are_computed_one_by_one() -> None:
    candidates = written(80)
    released, base = logits(candidates, seed=1), logits(candidates, seed=2)
    scores = Reference().score(candidates, evidence(released, base))
    slow = [slow_loss(one, base[one.tokens]) - slow_loss(one, released[one.tokens]) for one in candidates]
    assert scores.dtype == torch.float64
    torch.testing.assert_close(scores, torch.tensor(slow, dtype=torch.float64), rtol=1e-5, atol=1e-6)


def test_of_a_model_that_has_not_moved_it_says_nothing() -> None:
    candidates = written(20)
    answers = logits(candidates)
    assert not Reference().score(candidates, evidence(answers, answers)).any()


def test_a_refused_candidate_gets_the_mean_of_the_others() -> None:
    candidates = written(20)
    released, base = logits(candidates, seed=1), logits(candidates, seed=2)
    plain = Reference().score(candidates, evidence(released, base))
    released[candidates[7].tokens] = None
    scores = Reference().score(candidates, evidence(released, base))
    others = [place for place in range(20) if place != 7]
    assert torch.equal(scores[others], plain[others])
    assert scores[7] == plain[others].mean()


def test_where_everything_is_refused_every_score_is_zero() -> None:
    candidates = written(5)
    refused = dict.fromkeys((one.tokens for one in candidates), None)
    assert not Reference().score(candidates, evidence(refused, logits(candidates))).any()


def test_it_uses_the_base_model_and_cannot_do_without() -> None:
    candidates = written(5)
    shown = evidence(logits(candidates), logits(candidates))
    Reference().score(candidates, shown)
    assert shown.granted.used == {Knowledge.BASE_MODEL}  # type: ignore[attr-defined]
    with pytest.raises(KeyError):
        Reference().score(candidates, evidence(logits(candidates)))


def test_it_tells_members_from_others_once_the_model_knows_texts_by_heart(tmp_path: Path) -> None:
    content = small_federation(tmp_path, "reference", ["base-model"], **WRITES)
    assert content["cell"]["status"] == "ok"
    assert content["cell"]["metrics"]["membership/auc"]["ci_low"] > 0.8


def test_of_texts_that_differ_in_how_hard_they_are_it_tells_more_than_loss() -> None:
    """Texts whose losses differ by nature, and members whose loss training lowered a little."""
    candidates = written(200, seed=4)
    members = torch.arange(200) % 2 == 0
    base = logits(candidates)
    released = {}
    for one, member in zip(candidates, members.tolist(), strict=True):
        released[one.tokens] = base[one.tokens].clone()
        if member:
            places = torch.arange(len(one.tokens) - 1)
            released[one.tokens][places, list(one.tokens[1:])] += 0.3
    of_loss = Loss().score(candidates, evidence(released))
    of_reference = Reference().score(candidates, evidence(released, base))
    assert _auc(of_reference, members) > 0.99
    assert _auc(of_loss, members) < 0.75


def _auc(scores: torch.Tensor, members: torch.Tensor) -> float:
    pairs = scores[members][:, None] - scores[~members][None]  # [members, others]
    return float((pairs > 0).double().mean() + (pairs == 0).double().mean() / 2)


def test_it_is_for_causal_models_and_needs_the_base_model() -> None:
    card = registry.attacks().get("reference")
    assert card.tasks == ("causal-lm",)
    assert card.threat.knowledge == {Knowledge.BASE_MODEL}
    assert any("random" in limit and "classifier" in limit for limit in card.limits)
    assert registry.load_target(card)() == Reference()
