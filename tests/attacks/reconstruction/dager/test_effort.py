"""What is counted, and that every stage ends when the count or the time is over."""

from math import inf

import pytest
import torch

from fedsec.attacks.reconstruction.dager.attack import Dager
from fedsec.attacks.reconstruction.dager.candidates import Scanner
from fedsec.attacks.reconstruction.dager.contexts import told
from fedsec.attacks.reconstruction.dager.effort import Effort
from fedsec.attacks.reconstruction.dager.judge import Judge
from fedsec.attacks.reconstruction.dager.links import attention_links
from fedsec.attacks.reconstruction.dager.pursuit import Pursuit
from fedsec.attacks.reconstruction.dager.settings import Settings
from fedsec.attacks.reconstruction.dager.spaces import layer_space

from ..support import Lab, exact, tiny_lab

TEXTS = ["the chest is clear", "pain in the left knee"]


@pytest.fixture(scope="module")
def lab() -> Lab:
    return tiny_lab(width=128)


def test_tokens_and_their_multiply_adds_are_the_same_effort() -> None:
    one, other = Effort(64, 3), Effort(64, 3)
    one.tokens(32)
    other.products(32 * 12 * 64**2)
    assert one.spent == other.spent == 2
    assert not one.over
    one.decompositions(64**2)
    other.products(64**2)
    assert one.spent > other.spent
    one.tokens(16)
    assert one.over
    assert Effort(64, seconds_left=lambda: 0.0).over


def test_no_stage_goes_on_when_the_effort_is_over(lab: Lab) -> None:
    view, over = lab.view([TEXTS]), Effort(128, 0)
    assert view.rows is not None
    first, second = (layer_space(view, view.rows[0], layer) for layer in (0, 1))
    assert first is not None
    assert second is not None
    candidates = Scanner(view, first, Settings()).scan(4)
    assert told(view, view.rows[0], (first, second), candidates, Settings(), over) is None
    assert attention_links(view, first, candidates, over) is None
    links = attention_links(view, first, candidates, Effort(128))
    assert links is not None
    pursuit = Pursuit(links, Settings(), over)
    assert all(pursuit.follow(seed, beam=1) == () for seed in pursuit.seeds(shared=False))
    judge = Judge(lab.flat.module, second, Settings(), over)
    ids = lab.tokenizer(TEXTS)["input_ids"]
    assert judge.scores(torch.tensor(ids[:1])).tolist() == [inf]
    assert judge.residual(ids[0]) < 1e-2


def test_a_batch_ends_with_what_its_effort_sufficed_for(lab: Lab) -> None:
    view, truth = lab.view([TEXTS]), lab.truth(TEXTS)
    none = Dager(evaluations=1).reconstruct(view)
    assert not any(claim.verified and claim.tokens not in truth for claim in none)
    assert exact(Dager().reconstruct(view), truth) == 2
