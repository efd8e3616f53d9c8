"""Loss: minus the cross-entropy of a record under the released model, whatever a defense or a broken model answers."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fedsec import registry
from fedsec.api import Asset, Candidate, Position, Work
from fedsec.attacks.membership import losses
from fedsec.attacks.membership.loss import Loss

from .support import evidence, labelled, logits, slow_loss, small_federation, written


@pytest.mark.parametrize("candidates", [labelled(150), written(150)], ids=["classification", "causal"])
def test_the_score_is_minus_the_loss_that_is_computed_one_by_one(candidates: tuple[Candidate, ...]) -> None:
    answers = logits(candidates)
    scores = Loss().score(candidates, evidence(answers))
    assert scores.dtype == torch.float64
    slow = [-slow_loss(one, answers[one.tokens]) for one in candidates]
    torch.testing.assert_close(scores, torch.tensor(slow, dtype=torch.float64), rtol=1e-5, atol=1e-6)


def test_scores_come_in_the_order_of_the_candidates_though_they_are_asked_by_length() -> None:
    candidates = labelled(100)
    answers = logits(candidates)
    scores = Loss().score(candidates, evidence(answers))
    backwards = Loss().score(candidates[::-1], evidence(answers))
    assert torch.equal(scores.flip(0), backwards)


def test_what_nobody_learns_does_not_count() -> None:
    """Only what predicts a learned token matters: logits at other places may be anything."""
    candidate = Candidate("", 0, "", (4, 5, 6, 7, 8), learned_from=3)
    answers = logits((candidate,))
    other = {candidate.tokens: answers[candidate.tokens].clone()}
    other[candidate.tokens][[0, 1, 4]] = math.nan  # 2 predicts token 3, 3 predicts token 4
    assert torch.equal(Loss().score((candidate,), evidence(answers)), Loss().score((candidate,), evidence(other)))
    changed = {candidate.tokens: answers[candidate.tokens].clone()}
    changed[candidate.tokens][2, 7] += 1.0
    assert Loss().score((candidate,), evidence(changed)) > Loss().score((candidate,), evidence(answers))


def test_where_the_whole_text_is_learned_its_first_token_is_predicted_by_nothing() -> None:
    tokens = (4, 5, 6)
    whole, rest = Candidate("", 0, "", tokens, learned_from=0), Candidate("", 0, "", tokens, learned_from=1)
    answers = logits((whole,))
    assert torch.equal(Loss().score((whole,), evidence(answers)), Loss().score((rest,), evidence(answers)))


@pytest.mark.parametrize("candidates", [labelled(20), written(20)], ids=["classification", "causal"])
def test_a_refused_candidate_gets_the_mean_of_the_others(candidates: tuple[Candidate, ...]) -> None:
    answers = logits(candidates)
    plain = Loss().score(candidates, evidence(answers))
    refused = {**answers, candidates[3].tokens: None, candidates[11].tokens: None}
    scores = Loss().score(candidates, evidence(refused))
    kept = [place for place in range(20) if place not in (3, 11)]
    assert torch.equal(scores[kept], plain[kept])
    assert scores[3] == scores[11] == plain[kept].mean()


def test_where_everything_is_refused_every_score_is_zero() -> None:
    candidates = labelled(5)
    scores = Loss().score(candidates, evidence(dict.fromkeys((one.tokens for one in candidates), None)))
    assert torch.equal(scores, torch.zeros(5, dtype=torch.float64))


def test_answers_that_are_no_numbers_count_as_refused_and_infinite_ones_as_the_surest() -> None:
    candidates = tuple(Candidate("", 1, "", (place, 0)) for place in range(6))
    given = ([0.0, 0.0], [math.nan, 0.0], [0.0, math.inf], [math.inf, 0.0], [0.0, -math.inf], [math.inf, math.inf])
    answers = {one.tokens: torch.tensor(row) for one, row in zip(candidates, given, strict=True)}
    scores = Loss().score(candidates, evidence(answers))
    assert scores.isfinite().all()
    assert scores[0] == scores[5] == -math.log(2)
    assert scores[2] == 0.0
    assert max(scores[3], scores[4]) < -1e38
    assert scores[1] == scores[[0, 2, 3, 4, 5]].mean()


def test_a_text_whose_logits_do_not_line_up_with_its_tokens_counts_as_refused() -> None:
    """A defense before a causal model may answer for a text with tokens taken out."""
    candidates = written(8)
    answers = logits(candidates)
    answers[candidates[2].tokens] = answers[candidates[2].tokens][:-1]
    scores = Loss().score(candidates, evidence(answers))
    assert scores[2] == scores[[0, 1, 3, 4, 5, 6, 7]].mean()


def test_candidates_are_asked_about_in_batches_and_fewer_at_a_time_where_answers_are_large() -> None:
    asked: list[int] = []
    Loss().score(labelled(150), evidence(logits(labelled(150)), asked=asked))
    assert asked == [64, 64, 22]
    candidates = written(20)  # of up to 9 tokens
    asked = []
    Loss().score(candidates, evidence(logits(candidates), asked=asked, vocabulary=losses.MOST_LOGITS // (9 * 6)))
    assert asked == [6, 6, 6, 2]


def test_without_the_released_model_it_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="released model"):
        Loss().score(labelled(2), evidence(None))


def test_it_tells_members_from_others_once_the_model_knows_labels_by_heart(tmp_path: Path) -> None:
    content = small_federation(tmp_path, "loss")
    area, blind = (content["cell"]["metrics"][f"membership/{name}"] for name in ("auc", "blind-auc"))
    assert content["cell"]["status"] == "ok"
    assert area["n"] == 80
    assert area["ci_low"] > 0.65
    assert blind["ci_low"] < 0.5 < blind["ci_high"]


def test_it_tells_nothing_of_a_model_that_was_not_trained_on_any_candidate(tmp_path: Path) -> None:
    """One step of a vanishing rate: members and others are alike to such a model."""
    untrained = {"clients": 1, "rounds": 1, "learning_rate": 1e-9}
    area = small_federation(tmp_path, "loss", federation=untrained)["cell"]["metrics"]["membership/auc"]
    assert area["ci_low"] < 0.5 < area["ci_high"]


def test_the_card_says_what_it_is_and_builds_it() -> None:
    card = registry.attacks().get("loss")
    assert (card.threat.position, card.threat.goal) == (Position.RELEASED_MODEL, "membership")
    assert card.threat.needs == {Asset.RELEASED_MODEL}
    assert not card.threat.knowledge
    assert registry.load_target(card)() == Loss()


def test_candidates_that_no_time_was_left_for_rank_in_the_middle() -> None:
    class Over(Work):
        looks = 1

        def seconds_left(self) -> float:
            self.looks -= 1
            return float(self.looks == 0)

    candidates = labelled(losses.MOST_QUERIES + 20)
    asked: list[int] = []
    seen = replace(evidence(answers := logits(candidates), asked=asked), work=Over())
    scores = Loss().score(candidates, seen)
    assert asked == [losses.MOST_QUERIES]
    whole = Loss().score(candidates, evidence(answers))
    known = scores == whole
    assert int(known.sum()) == losses.MOST_QUERIES
    assert torch.equal(scores[~known], scores[known].mean().expand(20))
