from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import Knowledge
from fedsec.attacks.reconstruction.matching.claims import Reading, claims
from fedsec.attacks.reconstruction.matching.descent import Descent, Schedule, best_start
from fedsec.attacks.reconstruction.matching.dlg import Dlg
from fedsec.attacks.reconstruction.matching.known import Matching, problem_of
from fedsec.attacks.reconstruction.matching.lamp import Lamp
from fedsec.attacks.reconstruction.matching.lamp_search import LampSearch
from fedsec.attacks.reconstruction.matching.moves import sampled_orders
from fedsec.attacks.reconstruction.matching.objective import Objective, Problem
from fedsec.attacks.reconstruction.matching.polish import Judge, polish
from fedsec.attacks.reconstruction.matching.prior import Prior
from fedsec.attacks.reconstruction.matching.seats import seated
from fedsec.attacks.reconstruction.matching.tag import Tag

from ..support import Countdown, Lab, exact, tiny_lab

TEXT = "the chest pain is better"
TEXTS = [TEXT, "no fever and no cough"]
COSINE = Objective("cosine")
SETTINGS = Matching()
LAYERS = 2


class Bigrams(torch.nn.Module):
    """Predicts the tokens of TEXTS from the one before, and everything else evenly; stands in for a language model."""

    def __init__(self, rows: list[list[int]], words: int) -> None:
        super().__init__()
        self.table = torch.zeros(words, words)
        for row in rows:
            for one, other in pairwise(row):
                self.table[one, other] = 10.0

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        return type("Output", (), {"logits": self.table[input_ids]})()


class Auxiliary:
    """The interface of what `auxiliary-text` grants."""

    texts = tuple(TEXTS)

    def __init__(self, lab: Lab) -> None:
        self.model = Bigrams(lab.tokenizer(TEXTS)["input_ids"], len(lab.tokenizer))

    def language_model(self) -> torch.nn.Module:
        return self.model


@pytest.fixture(scope="module")
def lab() -> Lab:
    return tiny_lab()


def granted(lab: Lab, clients: list[list[str]]) -> dict[Knowledge, Any]:
    return {
        Knowledge.LABELS: tuple(tuple(i % 2 for i, _ in enumerate(texts)) for texts in clients),
        Knowledge.LENGTHS: tuple(tuple(map(len, lab.tokenizer(texts)["input_ids"])) for texts in clients),
        Knowledge.AUXILIARY_TEXT: Auxiliary(lab),
    }


def view(lab: Lab, clients: list[list[str]], **rest: Any) -> Any:
    return lab.view(clients, granted=granted(lab, clients), **rest)


def posed(seen: Any) -> list[Problem]:
    """The problems of all clients."""
    found = [problem_of(seen, place, SETTINGS) for place in range(len(seen.clients))]
    return [one for one in found if one is not None]


@settings(max_examples=50, deadline=None)
@given(free=st.integers(0, 9), before=st.integers(0, 2), count=st.integers(1, 12), seed=st.integers(0, 99))
def test_moves_permute_free_places_only_and_keep_the_first(free: int, before: int, count: int, seed: int) -> None:
    places = torch.arange(before, before + free)
    length = before + free + 1
    orders = sampled_orders(places, length, count, torch.Generator().manual_seed(seed))
    assert torch.equal(orders[0], torch.arange(length))
    assert torch.equal(orders.sort(dim=1).values, torch.arange(length).expand(count, -1))
    fixed = [place for place in range(length) if place not in places.tolist()]
    assert torch.equal(orders[:, fixed], torch.tensor(fixed, dtype=torch.long).expand(count, -1))


def test_all_four_moves_occur() -> None:
    orders = sampled_orders(torch.arange(5), 5, 400, torch.Generator().manual_seed(0)).tolist()
    assert [0, 3, 2, 1, 4] in orders  # a swap
    assert [1, 2, 3, 0, 4] in orders  # a token
    assert [3, 0, 1, 2, 4] in orders or [1, 2, 0, 3, 4] in orders
    assert [2, 3, 4, 0, 1] in orders  # a prefix


def test_the_truth_is_at_the_floor_and_nothing_else_is(lab: Lab) -> None:
    (problem,) = posed(view(lab, [TEXTS]))
    ids = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in lab.tokenizer(TEXTS)["input_ids"]], True, lab.tokenizer.pad_token_id
    )
    assert problem.residual(ids) < 1e-5
    assert float(problem.scores(COSINE, problem.embed(ids)[None])[0]) < 2e-6
    swapped = ids.clone()
    swapped[0, [1, 2]] = swapped[0, [2, 1]]
    assert problem.residual(swapped) > 1e-2


def test_what_is_known_stands_in_the_frame(lab: Lab) -> None:
    (problem,) = posed(view(lab, [["no fever", TEXT]]))
    specials = lab.tokenizer.cls_token_id, lab.tokenizer.sep_token_id, lab.tokenizer.pad_token_id
    ids = problem.read(torch.randn(*problem.mask.shape, 64, generator=torch.Generator().manual_seed(0)))
    assert ids[0, 0] == specials[0]
    assert ids[0, 3] == specials[1]
    assert set(ids[0, 4:].tolist()) == {specials[2]}
    assert not set(ids[problem.free].tolist()) & set(lab.tokenizer.all_special_ids)


def test_lengths_and_label_of_one_text_follow_from_the_gradient(lab: Lab) -> None:
    told = posed(view(lab, [[TEXT]]))[0]
    alone = posed(lab.view([[TEXT]]))[0]
    assert torch.equal(alone.frame, told.frame)
    assert torch.equal(alone.labels, told.labels)


def test_differences_are_turned_into_gradients(lab: Lab) -> None:
    as_gradient, as_difference = (
        posed(view(lab, [[TEXT]], update=update))[0].observed.gradients for update in ("gradient", "delta")
    )
    name = "bert.encoder.layer.0.attention.self.query.weight"
    close = as_gradient[name] - as_difference[name]
    assert close.norm() < 1e-2 * as_gradient[name].norm()  # rounding of a difference of weights


def test_a_gradient_that_vanishes_in_the_softmax_is_not_matched(lab: Lab) -> None:
    (problem,) = posed(view(lab, [[TEXT]]))
    names = {name for name, _ in lab.flat.module.named_parameters()} - set(problem.observed.gradients)
    words = "bert.embeddings.word_embeddings.weight"
    assert names == {words, *(f"bert.encoder.layer.{layer}.attention.self.key.bias" for layer in range(LAYERS))}


def test_lamp_starts_from_one_draw_reordered_and_scaled(lab: Lab) -> None:
    (problem,) = posed(view(lab, [[TEXT]]))
    start = Lamp(starts=20)._start(problem, COSINE, 1.5)
    again = posed(view(lab, [[TEXT]]))[0]
    drawn = best_start(again, COSINE, 20, 0.0)
    assert torch.allclose(start.norm(dim=-1), torch.tensor(1.5))
    free = problem.free[0]
    unit = [(one / one.norm(dim=-1, keepdim=True))[0, free] for one in (start, drawn)]
    assert torch.equal((unit[0] @ unit[1].T).argmax(dim=1).sort().values, torch.arange(int(free.sum())))


def test_slots_are_read_where_they_belong(lab: Lab) -> None:
    (problem,) = posed(view(lab, [[TEXT]]))
    ids = torch.tensor([lab.tokenizer(TEXT)["input_ids"]])
    positions = lab.flat.module.get_parameter("bert.embeddings.position_embeddings.weight").detach()[: ids.shape[1]]
    order = torch.tensor([0, 3, 1, 5, 2, 4, 6])
    moved = problem.embed(ids)[0, order] + positions[order] - positions  # another order that the model cannot tell
    assert not torch.equal(problem.read(moved[None]), ids)
    assert torch.equal(seated(problem, moved[None], 4).ids, ids)


def test_search_among_tokens_repairs_order_and_words(lab: Lab) -> None:
    (problem,) = posed(view(lab, [[TEXT]]))
    ids = torch.tensor([lab.tokenizer(TEXT)["input_ids"]])
    wrong = ids.clone()
    wrong[0, [2, 4]] = wrong[0, [4, 2]]
    wrong[0, 3] = 200
    choices = torch.stack([ids, ids + 1, wrong], dim=-1)
    for prior in (None, Prior(Auxiliary(lab).language_model())):
        assert torch.equal(polish(Judge(problem, prior, 0.2), wrong, choices, 400), ids)


def test_the_prior_judges_by_the_model_and_not_by_padding(lab: Lab) -> None:
    prior = Prior(Auxiliary(lab).language_model())
    row = torch.tensor([lab.tokenizer(TEXT)["input_ids"]])
    padded = torch.cat([row, torch.zeros(1, 3, dtype=torch.long)], dim=1)
    mask = (torch.arange(10) < 7).long()[None]
    fluent = prior.surprise(padded, mask)
    assert torch.allclose(fluent, prior.surprise(row, torch.ones_like(row)))
    assert float(fluent) < float(prior.surprise(row[:, [0, 2, 1, 4, 3, 5, 6]], torch.ones_like(row)))
    likely = prior.likely(row, torch.ones_like(row), 2, torch.ones(len(lab.tokenizer), dtype=torch.bool))
    assert torch.equal(likely[0, 2:, 0], row[0, 2:])  # either text begins after [CLS]


def test_adams_memory_moves_with_the_embeddings(lab: Lab) -> None:
    """Steps after a move are those of an optimisation that had the tokens there all along, where places are alike."""
    (problem,) = posed(view(lab, [[TEXT]]))
    start = best_start(problem, COSINE, 1, 1.0)
    descent = Descent(problem, COSINE, Schedule(rate=0.01), start)
    descent.run(2)
    before = descent._mean.clone(), descent._square.clone(), descent.current.clone()
    order = torch.tensor([0, 3, 1, 5, 2, 4, 6])
    descent.permute(0, order)
    for one, now in zip(before, (descent._mean, descent._square, descent.current), strict=True):
        assert torch.equal(now[0], one[0, order])


def test_a_descent_keeps_its_best(lab: Lab) -> None:
    (problem,) = posed(view(lab, [[TEXT]]))
    for schedule in (Schedule(rate=0.5), Schedule("lbfgs")):
        descent = Descent(problem, COSINE, schedule, best_start(problem, COSINE, 4, 1.0))
        first = float(problem.scores(COSINE, descent.current[None])[0])
        descent.run(15)
        assert descent.best_value < first
        assert descent.best_value == pytest.approx(float(problem.scores(COSINE, descent.best[None])[0]), abs=1e-4)


def test_lamp_search_reads_one_text_and_verifies_it(lab: Lab) -> None:
    found = LampSearch(steps=300).reconstruct(view(lab, [[TEXT]]))
    assert exact(found, lab.truth([TEXT])) == 1
    assert found[0].verified
    assert found[0].client == 0


def test_lamp_search_reads_a_sum_without_naming_clients(lab: Lab) -> None:
    seen = view(lab, [[TEXT], ["no fever and no cough"]])
    found = LampSearch(steps=30, search=50).reconstruct(replace(seen, rows=None, clients=()))
    assert len(found) == 2
    assert all(claim.client is None for claim in found)


@pytest.mark.parametrize(
    "attack", [Dlg(steps=20), Tag(steps=10), Lamp(steps=20, starts=10, candidates=20), LampSearch(steps=20, search=20)]
)
def test_same_view_same_claims_and_nothing_is_changed(lab: Lab, attack: Any) -> None:
    before, state = lab.flat.values.clone(), torch.get_rng_state()
    first, second = (attack.reconstruct(view(lab, [[TEXT], ["no fever"]])) for _ in range(2))
    assert first == second
    assert [claim.client for claim in first] == [0, 1]
    truth = lab.truth([TEXT, "no fever"])
    assert all(claim.tokens == truth[claim.client] for claim in first if claim.verified)
    assert torch.equal(lab.flat.values, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not lab.flat.module.training


def test_noise_leaves_nothing_verified(lab: Lab) -> None:
    found = LampSearch(steps=40, search=100).reconstruct(view(lab, [[TEXT]], noise=0.1))
    assert len(found) == 1
    assert not found[0].verified


@pytest.mark.parametrize("name", ["gaussian-noise", "gradient-pruning", "quantization"])
def test_who_knows_the_defense_matches_what_is_nearer_to_the_gradient(lab: Lab, name: str) -> None:
    clear = posed(view(lab, [[TEXT]]))[0].observed.gradients
    settings = [{"name": name, "params": {"sigma": 0.3, "relative": True} if name == "gaussian-noise" else {}}]
    told = {**granted(lab, [[TEXT]]), Knowledge.DEFENSE_SETTINGS: settings}
    blurred = view(lab, [[TEXT]], noise=0.3)
    plain, adaptive = (posed(replace(blurred, granted=one))[0] for one in (blurred.granted, told))
    weight = "bert.encoder.layer.0.output.dense.weight"
    misses = [float((one.observed.gradients[weight] - clear[weight]).norm()) for one in (plain, adaptive)]
    assert misses[1] < 0.7 * misses[0]
    key = "bert.encoder.layer.0.attention.self.key.bias"  # 0 but for the noise
    assert (key in adaptive.observed.gradients) == (name != "gaussian-noise")


def test_a_text_that_is_learnt_already_is_not_verified_whatever_fits() -> None:
    """It leaves hardly a gradient, so that other words explain the update as well."""
    lab = tiny_lab()
    with torch.no_grad():
        lab.flat.module.classifier.bias[0] += 12.0  # label 0 is certain, label 1 a surprise
    (problem,) = posed(view(lab, [TEXTS]))
    truth = torch.tensor(lab.tokenizer(TEXTS)["input_ids"])
    other = truth.clone()
    other[0, 1:-1] = truth[1, 1:-1]
    for ids in (truth, other):
        reading = Reading.of(problem, ids)
        assert reading.exact
        assert [claim.verified for claim in claims(problem, reading, lab.tokenizer)] == [False, True]


def test_one_swap_in_a_batch_is_not_verified(lab: Lab) -> None:
    (problem,) = posed(view(lab, [TEXTS]))
    truth = torch.tensor(lab.tokenizer(TEXTS)["input_ids"])
    assert all(claim.verified for claim in claims(problem, Reading.of(problem, truth), lab.tokenizer))
    swapped = truth.clone()
    swapped[0, [2, 3]] = truth[0, [3, 2]]
    assert not any(claim.verified for claim in claims(problem, Reading.of(problem, swapped), lab.tokenizer))


def test_a_text_of_special_tokens_alone_is_not_verified(lab: Lab) -> None:
    (problem,) = posed(view(lab, [["", TEXT]]))
    ids = torch.tensor(lab.tokenizer(["", TEXT], padding=True)["input_ids"])
    assert [claim.verified for claim in claims(problem, Reading.of(problem, ids), lab.tokenizer)] == [False, True]


def test_labels_alone_say_how_many_texts_there_are(lab: Lab) -> None:
    seen = view(lab, [TEXTS])
    told = {Knowledge.LABELS: seen.granted[Knowledge.LABELS]}
    larger = replace(seen, granted=told, training=replace(seen.training, batch_size=16))
    assert [len(problem.labels) for problem in posed(larger)] == [2]


def test_a_gradient_of_full_rank_says_nothing_of_lengths(lab: Lab) -> None:
    seen = lab.view([[TEXT]], noise=0.5, granted={})
    (problem,) = posed(seen)
    assert problem.mask.shape[1] <= 64


def test_a_prior_with_few_positions_judges_the_beginning(lab: Lab) -> None:
    model = Bigrams(lab.tokenizer(TEXTS)["input_ids"], len(lab.tokenizer))
    model.config = SimpleNamespace(max_position_embeddings=4)
    ids = torch.tensor(lab.tokenizer([TEXT])["input_ids"])
    allowed = torch.ones(len(lab.tokenizer), dtype=torch.bool)
    prior = Prior(model)
    assert prior.surprise(ids, torch.ones_like(ids)).isfinite().all()
    assert prior.likely(ids, torch.ones_like(ids), 3, allowed).shape == (*ids.shape, 3)


def test_an_update_of_zeros_tells_nothing(lab: Lab) -> None:
    seen = view(lab, [[TEXT]])
    assert LampSearch(steps=1).reconstruct(replace(seen, rows=torch.zeros_like(seen.rows))) == []


def test_refuses_what_it_cannot_read(lab: Lab) -> None:
    with pytest.raises(ValueError, match="neither"):
        Dlg().reconstruct(replace(view(lab, [[TEXT]]), rows=None, aggregate=None))


@pytest.mark.parametrize(
    "attack",
    [
        Dlg(steps=10**6),
        Tag(steps=10**6, optimizer="lbfgs"),
        Lamp(steps=10**6, starts=1),
        LampSearch(steps=10**6, starts=1),
    ],
    ids=["adam", "lbfgs", "lamp", "lamp-search"],
)
def test_time_that_is_over_ends_a_descent_with_what_it_has_read(lab: Lab, attack: Any) -> None:
    seen = replace(view(lab, [[TEXT], [TEXT]]), work=(clock := Countdown(30)))
    (claim,) = attack.reconstruct(seen)
    assert claim.client == 0, "nothing of the second client is claimed"
    assert len(claim.tokens) == len(lab.truth([TEXT])[0])
    assert -20 < clock.looks < 0, "it goes on no more"
