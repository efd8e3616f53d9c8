"""Min-K%, Min-K%++, zlib and ReCaLL, a token at a time; and what they make of texts of few tokens and of refusals."""

import math
import zlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fedsec.api import Candidate, Evidence, Granted, Knowledge
from fedsec.attacks.membership.min_k import MinK
from fedsec.attacks.membership.min_k_plus_plus import MinKPlusPlus, normalised
from fedsec.attacks.membership.recall import Recall, prefix_of
from fedsec.attacks.membership.zlib_ratio import ZlibRatio

from .support import VOCABULARY, evidence, logits, slow_loss, written

TEXTS = written(60)
ANSWERS = logits(TEXTS)


def _tokens(one: Candidate) -> list[tuple[np.ndarray, int]]:
    """The logits before each learned token, and the token."""
    answer = ANSWERS[one.tokens]
    assert answer is not None
    places = range(max(1, one.learned_from or 0), len(one.tokens))
    return [(answer[place - 1].double().numpy(), one.tokens[place]) for place in places]


def _probabilities(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_min_k_and_its_successor_are_those_of_a_loop_over_tokens(share: float) -> None:
    plain, plus = MinK(share).score(TEXTS, evidence(ANSWERS)), MinKPlusPlus(share).score(TEXTS, evidence(ANSWERS))
    for place, one in enumerate(TEXTS):
        logs, scaled = [], []
        for scores, token in _tokens(one):
            sure = _probabilities(scores)
            logs.append(math.log(sure[token]))
            middle = float((sure * np.log(sure)).sum())
            spread = math.sqrt(float((sure * np.log(sure) ** 2).sum()) - middle**2)
            scaled.append((logs[-1] - middle) / spread)
        count = max(1, int(share * len(logs)))
        assert float(plain[place]) == pytest.approx(np.mean(sorted(logs)[:count]), abs=1e-6)
        assert float(plus[place]) == pytest.approx(np.mean(sorted(scaled)[:count]), abs=1e-6)


def test_a_distribution_without_spread_scores_nothing_and_one_without_doubt_no_nan() -> None:
    flat, sure = torch.zeros(1, 5, dtype=torch.float64), torch.tensor([[1e30, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    for scores in (flat, sure):
        assert normalised(scores, torch.tensor([0])).tolist() == [0.0]
    assert normalised(sure, torch.tensor([1])).isfinite().all()
    assert normalised(torch.full((1, 5), torch.nan, dtype=torch.float64), torch.tensor([0])).isnan().all()


class _Words:
    """A tokenizer of the letters' own."""

    def __len__(self) -> int:
        return VOCABULARY

    def decode(self, tokens: list[int], *, skip_special_tokens: bool) -> str:
        assert skip_special_tokens
        return " ".join(f"w{token}é" for token in tokens)


def test_zlib_is_over_what_the_model_learned() -> None:
    shown = replace(evidence(ANSWERS), tokenizer=_Words())
    scores = ZlibRatio().score(TEXTS, shown)
    for place, one in enumerate(TEXTS):
        text = " ".join(f"w{token}é" for token in one.tokens[one.learned_from or 0 :])
        answer = ANSWERS[one.tokens]
        assert answer is not None
        slow = -slow_loss(one, answer) / len(zlib.compress(text.encode()))
        assert float(scores[place]) == pytest.approx(slow, abs=1e-6)


NOBODYS = (Candidate("", 0, "", (1, 2, 3), 0), Candidate("", 0, "", (4, 5), 0), Candidate("", 0, "", (6,) * 40, 0))


def _behind(positions: int) -> Evidence:
    """A model whose answer to a token depends on all before it."""

    def answer(queries: tuple[tuple[int, ...], ...]) -> list[Any]:
        found = []
        for query in queries:
            seeds = [int(np.dot(query[: place + 1], range(1, place + 2))) for place in range(len(query))]
            rows = [torch.randn(VOCABULARY, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
            found.append(torch.stack(rows))
        return found

    config = SimpleNamespace(max_position_embeddings=positions)
    view: Any = SimpleNamespace(model=SimpleNamespace(module=SimpleNamespace(config=config)), answer=answer)
    granted = Granted({Knowledge.CLIENT_TEXTS_DISTRIBUTION: NOBODYS})
    return replace(evidence(ANSWERS), released=lambda: view, granted=granted)


def test_recall_is_the_ratio_of_likelihoods_behind_a_prefix_and_without() -> None:
    shown = _behind(64)
    scores = Recall(2).score(TEXTS, shown)
    assert shown.released is not None
    answer = shown.released().answer
    for place in (0, 3, 11, 40):
        one = TEXTS[place]
        (alone,), (behind,) = answer((one.tokens,)), answer(((1, 2, 3, 4, 5, *one.tokens),))
        assert alone is not None
        assert behind is not None
        slow = -slow_loss(one, behind[5:]) / -slow_loss(one, alone)
        assert float(scores[place]) == pytest.approx(slow, abs=1e-6)


def test_a_prefix_has_as_many_texts_as_fit() -> None:
    assert prefix_of(NOBODYS, 3, 20) == (1, 2, 3, 4, 5)
    assert prefix_of(NOBODYS, 3, 4) == (1, 2, 3)
    assert len(prefix_of(NOBODYS, 3, 100)) == 45
    with pytest.raises(ValueError, match="fits into 1 positions"):
        Recall().score(TEXTS, _behind(10))


@pytest.mark.parametrize("attack", [MinK(), MinKPlusPlus()])
def test_a_refused_text_or_one_that_does_not_line_up_gets_the_mean_of_the_others(attack: MinK) -> None:
    plain = attack.score(TEXTS, evidence(ANSWERS))
    other = ANSWERS[TEXTS[9].tokens]
    assert other is not None
    scores = attack.score(TEXTS, evidence({**ANSWERS, TEXTS[4].tokens: None, TEXTS[9].tokens: other[:-1]}))
    kept = [place for place in range(60) if place not in (4, 9)]
    assert torch.equal(scores[kept], plain[kept])
    torch.testing.assert_close(scores[[4, 9]], plain[kept].mean().expand(2))
    nothing = attack.score(TEXTS, evidence(dict.fromkeys((one.tokens for one in TEXTS), None)))
    assert not nothing.any()
