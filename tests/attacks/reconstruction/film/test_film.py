"""FILM: the batch's tokens read off the gradient, the search and the order against slow references, and the whole."""

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest
import torch
from torch.nn import functional

from fedsec.api import Knowledge, PublicModel, RoundView, ServerView, TrainingSettings
from fedsec.attacks.reconstruction.film.attack import Film
from fedsec.attacks.reconstruction.film.bag import BagReader
from fedsec.attacks.reconstruction.film.beam import DiverseWriter
from fedsec.attacks.reconstruction.film.coverage import FilmCoverage
from fedsec.attacks.reconstruction.film.covering import Covering, CoveringWriter
from fedsec.attacks.reconstruction.film.language import BagModel, begin_token
from fedsec.attacks.reconstruction.film.reorder import (
    Memory,
    Stage,
    middle_norm,
    moved_tokens,
    permuted_spans,
    reordered,
)
from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.cell.training import train
from fedsec.data import clinic_notes
from fedsec.data.corpus import Example
from fedsec.data.tokens import collate, content_ids, tokenise_causal
from fedsec.maths.layers import is_norm
from fedsec.models import tiny_gpt2, tiny_llama, tuning
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer
from fedsec.plan.cells import expand, refusal
from fedsec.seeds import SeedTree
from fedsec.testing import canned

from ..support import Countdown

SEEDS = SeedTree(0)
STAGES = (Stage(permuted_spans, 32, 6, 1), Stage(moved_tokens, 32, 6, 1))
NOTES = [note.text[:40] for note in clinic_notes.generate(64, seed=21)]


class Decoder:
    """A small language model, and views of rounds on it."""

    def __init__(self, kind: Any = tiny_gpt2, **settings: Any) -> None:
        settings = {"layers": 2, "width": 128, "vocabulary": 1000, **settings}
        base = kind.load(labels=0, generator=SEEDS.torch("model"), task="causal-lm", **settings)
        module, setup = tuning.prepare(
            base.module, kind="full", rank=0, train_embeddings=True, dropout=False, generator=SEEDS.torch("t"),
            task="causal-lm",
        )  # fmt: skip
        self.tokenizer, self.flat = base.tokenizer, FlatModel(module, setup)

    def data(self, texts: list[str]) -> Any:
        """As clients train on them."""
        return tokenise_causal([Example(text) for text in texts], self.tokenizer, 64)

    def learn(self, texts: list[str], steps: int) -> None:
        """Fine-tune the model itself, at a rate at which it learns texts by heart."""
        settings = TrainingSettings(
            update="delta", optimizer="adamw", learning_rate=3e-3, local_steps=steps, batch_size=len(texts)
        )
        batches = [collate(self.data(texts), range(len(texts)), self.tokenizer.pad_token_id)] * steps
        out, start = torch.empty(self.flat.layout.size), self.flat.snapshot()
        LocalTrainer(self.flat, settings, dropout=False).update(start, batches, out, SEEDS.torch("d"))
        self.flat.load(start + out)
        self.flat.module.eval()

    def view(
        self, clients: list[list[str]], *, rows: bool = True, update: str = "gradient", learning_rate: float = 0.1,
        noise: float = 0.0, lengths: bool = False,
    ) -> ServerView:  # fmt: skip
        """A round in which each client trains one step on its texts."""
        settings = TrainingSettings(
            update=update, optimizer="sgd", learning_rate=learning_rate, local_steps=1, batch_size=len(clients[0])
        )
        start, found = self.flat.snapshot(), torch.empty(len(clients), self.flat.layout.size)
        for client, texts in enumerate(clients):
            batch = collate(self.data(texts), range(len(texts)), self.tokenizer.pad_token_id)
            LocalTrainer(self.flat, settings, dropout=False).update(start, [batch], found[client], SEEDS.torch("d"))
        found += noise * torch.randn(found.shape, generator=SEEDS.torch("noise"))
        self.flat.load(start)
        self.flat.module.eval()
        cohort = tuple(range(len(clients)))
        known = tuple(tuple(len(ids) for ids in self.data(texts).ids) for texts in clients)
        return ServerView(
            round=1, cohort=cohort, clients=cohort if rows else (), rows=found if rows else None,
            aggregate=found.mean(dim=0), upload_bytes=0, training=settings, generator=SEEDS.torch("attack"),
            model=self.shown(),
            granted={Knowledge.LENGTHS: known} if lengths else {},
        )  # fmt: skip

    def shown(self) -> PublicModel:
        """The model as attackers see it."""
        return PublicModel(module=self.flat.module, tokenizer=self.tokenizer, layout=self.flat.layout)

    def bag(self, texts: list[str]) -> list[int]:
        """The truth."""
        return sorted({token for ids in self.data(texts).ids for token in content_ids(ids, self.tokenizer)})


@pytest.fixture(scope="module")
def random_model() -> Decoder:
    return Decoder()


@pytest.fixture(scope="module")
def learnt() -> Decoder:
    """A model that knows eight texts almost by heart."""
    decoder = Decoder()
    decoder.learn(NOTES[:8], 40)
    return decoder


def _read(view: RoundView, row: int = 0) -> list[int]:
    assert view.rows is not None
    return BagReader().read(view, view.rows[row])


# --- the tokens -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("update", "rate"), [("gradient", 0.1), ("delta", 1.0), ("delta", 0.1)])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_tokens_are_exact_under_a_tied_output_layer(
    random_model: Decoder, batch: int, update: str, rate: float
) -> None:
    clients = [NOTES[i * batch : (i + 1) * batch] for i in range(4)]
    view = random_model.view(clients, update=update, learning_rate=rate)
    for client, texts in enumerate(clients):
        assert _read(view, client) == random_model.bag(texts)


def test_they_are_exact_in_a_model_that_has_learnt(learnt: Decoder) -> None:
    clients = [NOTES[i * 3 : i * 3 + 3] for i in range(4)]  # some learnt, some not
    view = learnt.view(clients)
    for client, texts in enumerate(clients):
        assert _read(view, client) == learnt.bag(texts)


def test_they_are_exact_under_an_untied_output_layer() -> None:
    untied = Decoder(tiny_llama, width=64)
    for noise in (0.0, 1e-7):
        view = untied.view([NOTES[:16], NOTES[16:32]], noise=noise)
        assert [_read(view, client) for client in range(2)] == [untied.bag(NOTES[:16]), untied.bag(NOTES[16:32])]


def test_more_tokens_than_dimensions_leave_most_of_them(random_model: Decoder) -> None:
    view, truth = random_model.view([NOTES[:16]]), set(random_model.bag(NOTES[:16]))
    found = set(_read(view))
    assert len(found & truth) >= 0.95 * len(truth)
    assert len(found - truth) <= 0.2 * len(truth)


@pytest.mark.parametrize("tokens", [20, 56])
def test_hidden_states_that_point_everywhere_hide_no_token_and_invent_none(tokens: int) -> None:
    """As late in training: no common direction, confident mistakes, and a space of almost all dimensions."""
    generator = SEEDS.torch("states")
    width, words = 64, torch.arange(0, 400, 10)
    states = torch.randn(tokens, width, generator=generator)
    chances = (6.0 * torch.randn(400, tokens, generator=generator)).softmax(dim=0)  # [vocabulary, tokens]
    chances[words[torch.arange(tokens) % len(words)], torch.arange(tokens)] -= 1.0  # the targets
    table = chances @ states
    table[words] += 1e-2 * torch.randn(len(words), width, generator=generator)  # what their inputs received
    assert torch.equal(BagReader()._mixed(table.double(), 0.0).nonzero()[:, 0], words)


def test_an_empty_update_tells_nothing(random_model: Decoder) -> None:
    view = random_model.view([NOTES[:1]])
    assert BagReader().read(view, torch.zeros(random_model.flat.layout.size)) == []


# --- the search -----------------------------------------------------------------------------------------------------


def _mean_loss(decoder: Decoder, bag: torch.Tensor, places: tuple[int, ...]) -> float:
    """Of a text and its end token, slowly."""
    ids = torch.tensor([[decoder.tokenizer.bos_token_id, *bag[list(places)].tolist(), decoder.tokenizer.eos_token_id]])
    with torch.no_grad():
        logits = decoder.flat.module(input_ids=ids).logits[0, :-1]
    return float(functional.cross_entropy(logits, ids[0, 1:]))


def test_a_wide_beam_finds_what_trying_everything_finds(learnt: Decoder) -> None:
    bag = torch.tensor(learnt.bag(NOTES[:1])[:4])
    plain = Covering(beams=400, groups=1, diversity=0.0, found_penalty=0.0, unused_bonus=0.0, longest=40)
    found = CoveringWriter(BagModel(learnt.flat.module, learnt.tokenizer, bag), plain).write()

    def repeats(places: tuple[int, ...]) -> bool:
        pairs = list(pairwise(places))
        return len(set(pairs)) < len(pairs)

    tried = [p for length in (1, 2, 3, 4) for p in product(range(4), repeat=length) if not repeats(p)]
    losses = {places: _mean_loss(learnt, bag, places) for places in tried}
    best = min(losses, key=losses.__getitem__)
    assert found[0].doubt <= losses[best] + 1e-4
    for one in found[:20]:
        assert not repeats(one.places)
        assert one.doubt == pytest.approx(_mean_loss(learnt, bag, one.places), abs=1e-4)
    assert [one.doubt for one in found] == sorted(one.doubt for one in found)


def _total(decoder: Decoder, bag: torch.Tensor, places: tuple[int, ...]) -> float:
    """Summed log probability of all tokens of a text but the first, slowly."""
    ids = torch.tensor([[decoder.tokenizer.bos_token_id, *bag[list(places)].tolist()]])
    with torch.no_grad():
        logits = decoder.flat.module(input_ids=ids).logits[0, 1:-1]
    return -float(functional.cross_entropy(logits, ids[0, 2:], reduction="sum"))


def test_films_wide_beam_finds_the_likeliest_text_of_the_length(learnt: Decoder) -> None:
    bag = torch.tensor([t for t in learnt.bag(NOTES[:1]) if "." not in learnt.tokenizer.decode([t])][:4])  # uncut
    model = BagModel(learnt.flat.module, learnt.tokenizer, bag)
    (found,) = DiverseWriter(model, beams=400, groups=1, diversity=0.0, longest=4).write()
    starts = model.starts().tolist()
    tried = [p for p in product(range(4), repeat=4) if p[0] in starts and len(set(pairwise(p))) == 3]
    totals = {places: _total(learnt, bag, places) for places in tried}
    assert totals[found.places] >= max(totals.values()) - 1e-4
    assert found.doubt == pytest.approx(-totals[found.places] / 3, abs=1e-4)


def test_films_groups_keep_apart_and_no_pair_is_written_twice(learnt: Decoder) -> None:
    model = BagModel(learnt.flat.module, learnt.tokenizer, torch.tensor(learnt.bag(NOTES[:4])))
    for diversity, least in ((0.0, 1), (20.0, 3)):
        writer = DiverseWriter(model, beams=4, groups=3, diversity=diversity, longest=8)
        first = writer._search()
        texts = {tuple(first.places[(first.group == group).nonzero()[0, 0]].tolist()) for group in range(3)}
        assert len(texts) == least
        assert all(len(set(pairwise(text))) == 7 for text in first.places.tolist())
    written = [pair for _ in range(3) for pair in pairwise(writer.write()[0].places)]
    assert len(set(written)) == len(written)


def test_film_cuts_behind_the_first_sentence_where_that_is_likelier(learnt: Decoder) -> None:
    ids = learnt.tokenizer("no. pain")["input_ids"][1:]
    stop = next(place for place, token in enumerate(ids, 1) if "." in learnt.tokenizer.decode([token]))
    model = BagModel(learnt.flat.module, learnt.tokenizer, torch.tensor(ids))
    writer = DiverseWriter(model, beams=1, groups=1, diversity=0.0, longest=8)
    places = list(range(len(ids)))
    worse, better = ([-float(step) * rate for step in places] for rate in (1.0, 1.0))
    worse[stop:], better[stop:] = [-99.0] * (len(ids) - stop), [better[stop - 1]] * (len(ids) - stop)
    assert writer._cut(places, worse).places == tuple(places[:stop])
    assert writer._cut(places, better).places == tuple(places)


def test_what_was_found_is_less_welcome(learnt: Decoder) -> None:
    bag = torch.tensor(learnt.bag(NOTES[:4]))
    settings = Covering(beams=16, groups=4, diversity=0.1, found_penalty=5.0, unused_bonus=1.0, longest=24)
    writer = CoveringWriter(BagModel(learnt.flat.module, learnt.tokenizer, bag), settings)
    texts = [writer.write()[0].places for _ in range(4)]
    assert len(set(texts)) == 4
    assert all(len(places) <= 24 for places in texts)


# --- the order ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moves", [permuted_spans, moved_tokens])
@pytest.mark.parametrize("length", [3, 4, 9])
def test_moves_are_permutations_and_not_all_the_same(moves: Any, length: int) -> None:
    orders = moves(length, 40, torch.Generator().manual_seed(0))
    assert orders.shape == (40, length)
    assert torch.equal(orders.sort(dim=1).values, torch.arange(length).expand(40, length))
    assert len({tuple(order.tolist()) for order in orders}) > 3


def test_token_moves_exchange_two_or_insert_one() -> None:
    orders = moved_tokens(7, 60, torch.Generator().manual_seed(0)).tolist()
    for place, order in enumerate(orders):
        moved = [i for i in range(7) if order[i] != i]
        if place % 2 == 0:
            assert len(moved) in (0, 2)
        elif moved:  # without one token the others keep their order
            assert any([t for t in order if t != one] == [t for t in range(7) if t != one] for one in range(7))


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("kind", [tiny_gpt2, tiny_llama])
def test_memory_is_perplexity_and_gradient_norm_one_candidate_at_a_time(kind: Any, begins: bool) -> None:
    decoder = Decoder(kind, width=32, layers=3)
    module: Any = decoder.flat.module.eval()
    with torch.no_grad():  # weights of a normalisation that are not all one
        for part in module.modules():
            if is_norm(part):
                part.weight.uniform_(0.5, 1.5)
    bag = torch.tensor(decoder.bag(NOTES[:2]))
    places = torch.stack([torch.randperm(len(bag), generator=SEEDS.torch(f"{i}"))[:6] for i in range(5)])
    begin, end = begin_token(decoder.tokenizer), decoder.tokenizer.eos_token_id
    assert begin == decoder.tokenizer.bos_token_id
    norm: Any = middle_norm(decoder.shown()).weight
    found = Memory(module, middle_norm(decoder.shown()), bag, (begin if begins else None, end), 2.0)(places)
    for candidate, value in zip(places, found, strict=True):
        loss = _order_loss(bag, candidate, end, begin if begins else None, module)
        (gradient,) = torch.autograd.grad(loss, norm)
        assert float(value) == pytest.approx(float(2.0 * loss.detach().exp() + gradient.norm()), rel=1e-4)
    assert not any(part._forward_hooks for part in module.modules())


def _order_loss(bag: torch.Tensor, places: torch.Tensor, end: int, begin: int | None, module: Any) -> torch.Tensor:
    """Of one order among a bag's tokens, slowly."""
    words, first = torch.tensor([*bag.tolist(), end]), [] if begin is None else [begin]
    logits = module(input_ids=torch.tensor([[*first, *bag[places].tolist()]])).logits[0][:, words]
    said = places if begin is not None else places[1:]
    return functional.cross_entropy(logits, torch.tensor([*said.tolist(), len(bag)]))


def test_the_first_token_counts(learnt: Decoder) -> None:
    """Or what fits nowhere would be put to the front, where nothing foretells it."""
    begin, end = learnt.tokenizer.bos_token_id, learnt.tokenizer.eos_token_id
    text = list(content_ids(learnt.data(NOTES[:1]).ids[0], learnt.tokenizer))
    bag = torch.tensor(sorted(set(text)))
    true = [bag.tolist().index(token) for token in text]
    moved = [true[-1], *true[:-1]]
    memory = Memory(learnt.flat.module, middle_norm(learnt.shown()), bag, (begin, end), 1.0)
    best, last_to_the_front = memory(torch.tensor([true, moved])).tolist()
    assert best < last_to_the_front


def test_an_order_is_only_given_up_for_a_better_one(learnt: Decoder) -> None:
    bag = torch.tensor(learnt.bag(NOTES[:2]))
    frame = learnt.tokenizer.bos_token_id, learnt.tokenizer.eos_token_id
    memory = Memory(learnt.flat.module, middle_norm(learnt.shown()), bag, frame, 1.0)
    start = tuple(torch.randperm(len(bag), generator=SEEDS.torch("start"))[:8].tolist())
    before = float(memory(torch.tensor([start]))[0])
    places, after = reordered(start, memory, STAGES, SEEDS.torch("moves"))
    assert sorted(places) == sorted(start)
    assert after < before
    assert after == pytest.approx(float(memory(torch.tensor([places]))[0]), rel=1e-5)


# --- the whole ------------------------------------------------------------------------------------------------------


def test_it_reads_texts_that_the_model_has_learnt(learnt: Decoder) -> None:
    clients = [NOTES[:2], NOTES[2:4], NOTES[4:6]]
    claims = FilmCoverage().reconstruct(learnt.view(clients))
    truth = {content_ids(ids, learnt.tokenizer) for texts in clients for ids in learnt.data(texts).ids}
    assert sum(claim.tokens in truth for claim in claims) >= 2
    assert all(sum(claim.client == client for claim in claims) <= 2 for client in range(3))
    assert not any(claim.verified for claim in claims)


def test_film_reads_a_text_that_the_model_has_learnt(learnt: Decoder) -> None:
    (claim,) = Film(beams=4, groups=2, rounds=1).reconstruct(learnt.view([NOTES[:1]]))
    truth = set(learnt.bag(NOTES[:1]))
    assert claim.client == 0
    assert len(set(claim.tokens) & truth) > 0.5 * len(truth)
    assert not claim.verified


def test_chance_orders_the_same_tokens_worse(learnt: Decoder) -> None:
    view = learnt.view([NOTES[:2]])
    claims = FilmCoverage(order="random").reconstruct(view)
    assert sorted(token for claim in claims for token in claim.tokens) == learnt.bag(NOTES[:2])
    truth = {content_ids(ids, learnt.tokenizer) for ids in learnt.data(NOTES[:2]).ids}
    assert not any(claim.tokens in truth for claim in claims)


def test_from_a_sum_it_claims_texts_of_all_clients_together(learnt: Decoder) -> None:
    claims = FilmCoverage(beams=8, groups=2, rounds=1).reconstruct(learnt.view([NOTES[:1], NOTES[1:2]], rows=False))
    assert 0 < len(claims) <= 2
    assert all(claim.client is None for claim in claims)


@pytest.mark.parametrize("attack", [Film(rounds=0, beams=4), FilmCoverage(rounds=0)])
def test_granted_lengths_bound_the_texts(learnt: Decoder, attack: Any) -> None:
    view = learnt.view([NOTES[:2]], lengths=True)
    longest = max(view.granted[Knowledge.LENGTHS][0])
    assert all(len(claim.tokens) <= longest for claim in attack.reconstruct(view))


def test_frozen_embeddings_block_it_and_classifiers_are_nothing_for_it() -> None:
    with canned.registered():
        model = ["model={name: tiny-gpt2, task: causal-lm, layers: 1, dropout: false}"]
        scenario = canned.reconstruction("film", "frozen-embeddings", overrides=model)
        cells = {cell.defense_label: cell for cell in expand(scenario) if cell.asked}
        blocked = cells["frozen-embeddings"]
        content = score(blocked, train(blocked, frozenset({1}), Resources(), lambda _: None))["cell"]
        assert content["status"] == "blocked"
        assert content["metrics"]["leakage/best-rouge-l"]["value"] == pytest.approx(
            content["metrics"]["leakage/best-rouge-l"]["baseline"]
        )
        classifier = next(cell for cell in expand(canned.reconstruction("film")) if cell.asked)
        assert (
            refusal(classifier) == "film is for models that learn causal-lm, and model.task is sequence-classification"
        )


def test_time_that_is_over_ends_the_search_with_the_texts_that_are_written(random_model: Decoder) -> None:
    view = random_model.view([NOTES[:3], NOTES[3:6]])
    for looks in (4, 10**6):
        claims = FilmCoverage(rounds=0, beams=8).reconstruct(replace(view, work=Countdown(looks)))
        clients = [claim.client for claim in claims]
        assert clients == ([0] if looks < 10**6 else [0, 0, 0, 1, 1, 1])
    assert FilmCoverage().reconstruct(replace(view, work=Countdown(0))) == []
    assert Film().reconstruct(replace(view, work=Countdown(0))) == []
    found = Film(beams=2, groups=1, rounds=0).reconstruct(replace(view, work=Countdown(6)))
    assert [claim.client for claim in found] == [0]
