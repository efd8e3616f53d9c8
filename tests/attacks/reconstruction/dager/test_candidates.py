"""The first layer's test under noise: what it lets pass, what it misses, and that more noise never makes it surer."""

from dataclasses import replace

import pytest
import torch

from fedsec.api import Granted, Knowledge, ServerView
from fedsec.attacks.reconstruction.dager import candidates
from fedsec.attacks.reconstruction.dager.candidates import Candidates, Scanner
from fedsec.attacks.reconstruction.dager.settings import Settings
from fedsec.attacks.reconstruction.dager.spaces import LayerSpace, layer_space
from fedsec.models import tiny_bert

from ..support import SEEDS, Lab

TEXTS = ["the chest is clear", "no fever and no cough today"]
WIDTH = 128
SLACK = 6.0


@pytest.fixture(scope="module")
def lab() -> Lab:
    """Attention of trained strength, and a hidden size that leaves room around the batch's tokens."""
    base = tiny_bert.load(labels=2, generator=SEEDS.torch("model"), layers=2, width=WIDTH)
    with torch.no_grad():
        for name, weight in base.module.named_parameters():
            if "layer" in name and weight.dim() == 2:
                weight.mul_(6.0)
    return Lab(base)


def scanned(lab: Lab, sigma: float, seed: int, *, known: bool = True) -> tuple[Candidates, ServerView, LayerSpace]:
    """What the scanner makes of both texts under noise of `sigma` times the update's norm."""
    told = {"name": "gaussian-noise", "params": {"sigma": sigma, "relative": True}}
    view = lab.view([TEXTS], noise=sigma, seed=seed)
    view = replace(view, granted=Granted({Knowledge.DEFENSE_SETTINGS: [told]} if known else {}))
    assert view.rows is not None
    first = layer_space(view, view.rows[0], 0)
    assert first is not None
    return Scanner(view, first, Settings(slack=SLACK)).scan(4), view, first


@pytest.mark.parametrize("sigma", [0.0, 1e-5, 1e-3])
def test_inputs_that_are_not_formed_admit_what_formed_ones_do(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, sigma: float
) -> None:
    factored = scanned(lab, sigma, 0)[0]
    monkeypatch.setattr(candidates, "normalised_sums", lambda *_: None)
    formed = scanned(lab, sigma, 0)[0]
    assert factored.ends == formed.ends
    assert factored.admitted == formed.admitted
    sets = zip(factored.tokens, formed.tokens, factored.admitted, strict=True)
    assert all(set(one[:count].tolist()) == set(other[:count].tolist()) for one, other, count in sets)


def test_the_quick_look_orders_tokens_as_the_exact_one_does(lab: Lab) -> None:
    _, view, first = scanned(lab, 1e-3, 0)
    scanner = Scanner(view, first, Settings(slack=SLACK))
    ids = torch.arange(100, 400)
    quick = scanner._rough(ids, 8)[1].sqrt()
    exact = scanner._judge(scanner._inputs(ids, 8)).doubts  # [tokens, places]
    assert torch.allclose(quick, exact, rtol=1e-3)


def rates(lab: Lab, found: Candidates) -> tuple[float, float]:
    """Share of true (token, position) pairs that were missed, and wrong ones admitted per true one."""
    true = {(token, place + 1) for ids in lab.truth(TEXTS) for place, token in enumerate(ids)}
    ids, places = found.pairs()
    seen = {pair for pair in zip(ids.tolist(), places.tolist(), strict=True) if pair[0] != found.last and pair[1] > 0}
    return len(true - seen) / len(true), len(seen - true) / len(true)


def test_without_noise_exactly_the_texts_tokens(lab: Lab) -> None:
    found, _, _ = scanned(lab, 0.0, seed=0)
    assert rates(lab, found)[0] == 0.0
    # "no" stands at two places: the difference of their vectors lets the batch's own tokens pass at wrong places too.
    passed = {int(token) for choice in found.tokens[1:] for token in choice}
    assert passed == {token for ids in lab.truth(TEXTS) for token in ids}
    assert found.sharp
    assert not found.blurred
    assert found.ends == tuple(sorted(len(ids) + 1 for ids in lab.truth(TEXTS)))


@pytest.mark.parametrize("sigma", [1e-5, 1e-4, 1e-3])
def test_known_noise_keeps_true_tokens_and_lets_few_others_pass(lab: Lab, sigma: float) -> None:
    found = [rates(lab, scanned(lab, sigma, seed)[0]) for seed in range(4)]
    assert sum(missed for missed, _ in found) / 4 <= 0.1
    assert sum(wrong for _, wrong in found) / 4 <= 1.0


def test_true_tokens_are_off_by_what_the_noise_explains(lab: Lab) -> None:
    ratios = []
    for seed in range(4):
        _, view, first = scanned(lab, 1e-4, seed)
        scanner = Scanner(view, first, Settings(slack=SLACK))
        for ids in lab.truth(TEXTS):
            inputs = scanner._inputs(torch.tensor(ids), len(ids) + 1)
            seen = scanner._judge(torch.stack([inputs[i, i + 1] for i in range(len(ids))]))
            ratios += (seen.doubts * SLACK).tolist()
    assert sum(0.6 < ratio < 1.5 for ratio in ratios) >= 0.9 * len(ratios)


def test_tokens_come_in_the_order_of_their_doubt_not_of_their_residual(lab: Lab) -> None:
    found, view, first = scanned(lab, 0.05, seed=1)
    scanner = Scanner(view, first, Settings(slack=SLACK))
    assert found.blurred
    for place in range(1, len(found.tokens)):
        inputs = scanner._inputs(found.tokens[place], len(found.tokens))[:, place]
        doubts = scanner._judge(inputs).doubts
        assert bool((doubts[1:] >= doubts[:-1]).all())
        assert 4 <= len(found.tokens[place]) <= 16
        torch.testing.assert_close(first.space.residuals(inputs.double()), found.residuals[place])


def test_noise_that_drowns_everything_leaves_no_certainty(lab: Lab) -> None:
    found, _, first = scanned(lab, 30.0, seed=0)
    assert first.space.rank <= 2 or not found.sharp
    assert not found.sharp or found.blurred
