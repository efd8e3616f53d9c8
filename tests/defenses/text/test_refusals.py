"""STRIP and RAP: entropies and falls against plain references, and thresholds by false refusals."""

from math import inf, log2
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsec.api import QueryView, Sample
from fedsec.defenses.text.clean_bar import bar
from fedsec.defenses.text.rap import Rap
from fedsec.defenses.text.strip import Strip, mean_entropy
from fedsec.federation.release import Known, released
from fedsec.models import tiny_bert
from fedsec.models.flat import FlatModel
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree

from .test_onion import pieces

CLEAN = ("good", "bad", "fine", "dull", "film", "plot")
TOKENIZER = pieces(*CLEAN, "cf", "mb")
IDS = {word: place for place, word in enumerate(CLEAN, 4)} | {"cf": 10, "mb": 11}
TRUSTED = tuple(
    Sample(f"{one} {two} {three}", int(one in ("good", "fine")))
    for one in CLEAN[:4] for two in CLEAN[4:] for three in CLEAN[4:]
)  # fmt: skip


def encode(texts: Any) -> tuple[tuple[int, ...], ...]:
    return tuple((2, *(IDS[word] for word in text.split()), 3) for text in texts)


@given(st.lists(st.floats(-5, 5), max_size=60), st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_few_clean_texts_lie_below_the_bar(scores: list[float], refused: float) -> None:
    assert sum(one < bar(scores, refused) for one in scores) <= refused * len(scores)
    assert bar([], refused) == -inf


def test_a_querys_copies_make_up_its_own_entropy() -> None:
    """Elsewhere copies of different queries are averaged: entropies are grouped the wrong way round."""
    table = torch.zeros(12, 2)
    table[IDS["good"]], table[IDS["bad"]], table[IDS["cf"]] = (
        torch.tensor(row) for row in ([-2.0, 2.0], [2.0, -2.0], [0.0, 50.0])
    )

    def answer(queries: Any) -> list[Any]:
        return [table[list(query)].sum(dim=0) for query in queries]

    defense, texts = Strip(copies=3, swap=0.0, refused=0.5), ["cf film", "good film plot", "film plot"]
    view = QueryView(tokenizer=TOKENIZER, generator=torch.Generator().manual_seed(0), trusted=TRUSTED, encode=encode)
    found = defense._entropies([text.split() for text in texts], [["film"]], answer, view)
    for entropy, text in zip(found, texts, strict=True):  # one word of each is film now, or still is
        assert 0 <= entropy <= 1, text
    assert found[0] <= found[1] + 1e-9 <= found[2] + 2e-9

    chances = torch.tensor([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64)
    plain = sum(-sum(p * log2(p) for p in row) for row in chances.tolist()) / 2
    assert mean_entropy([chances[0].log(), None, chances[1].log()]) == pytest.approx(plain)
    assert mean_entropy([None]) == inf


def test_strip_refuses_what_stays_sure_and_few_clean_texts() -> None:
    table = torch.zeros(12, 2)
    table[IDS["good"], 1] = table[IDS["fine"], 1] = table[IDS["bad"], 0] = table[IDS["dull"], 0] = 1.0
    table[IDS["cf"], 1] = 30.0

    def answer(queries: Any) -> list[Any]:
        return [table[list(query)].sum(dim=0) for query in queries]

    triggered = [f"{' '.join(['cf'] * 6)} {one} film" for one in CLEAN[:4]]  # some of many stay in every copy
    view = QueryView(tokenizer=TOKENIZER, generator=torch.Generator().manual_seed(0), trusted=TRUSTED, encode=encode)
    defense = Strip(refused=0.01)
    assert defense.on_query(encode(triggered), answer, view) == [None] * 4
    again = defense.on_query(encode([one.text for one in TRUSTED]), answer, view)
    assert sum(one is None for one in again) <= 2, "other draws than those that the threshold is set on"
    with pytest.raises(ValueError, match=r"data\.trusted"):
        defense.on_query((), answer, QueryView(tokenizer=TOKENIZER, generator=torch.Generator(), encode=encode))


def test_rap_moves_clean_texts_a_little_and_refuses_what_stays() -> None:
    width = 6
    table = torch.randn(12, width, generator=torch.Generator().manual_seed(3)) * 0.1
    table[:, 0] = 0.0
    for word, value in (("good", 1.0), ("fine", 1.0), ("bad", -1.0), ("dull", -1.0), ("cf", 60.0)):
        table[IDS[word], 0] = value

    def head(embedded: torch.Tensor) -> torch.Tensor:
        along = embedded[:, 0].sum()
        return torch.stack([-along, along])

    view = QueryView(
        tokenizer=TOKENIZER,
        generator=torch.Generator().manual_seed(0),
        trusted=TRUSTED,
        encode=encode,
        parameters=torch.zeros(1),
        ask=lambda vector, queries: [head(table[list(query)]) for query in queries],
        embed=lambda queries: [table[list(query)].clone() for query in queries],
        ask_embedded=lambda texts: [head(text) for text in texts],
    )

    def answer(queries: Any) -> list[Any]:
        return [head(table[list(query)]) for query in queries]

    defense, kept = Rap(), table.clone()
    clean = encode([one.text for one in TRUSTED])
    refused = sum(one is None for one in defense.on_query(clean, answer, view))
    assert refused <= 0.01 * len(TRUSTED)
    assert torch.equal(table, kept), "the model's own embeddings stay"
    assert defense._words is not None
    assert set(defense._words) == {0, 1}
    before = torch.tensor([1.0, -1.0]).mul(2.0).sigmoid()[0]
    fall = before - torch.sigmoid(torch.tensor(2.0 * (1.0 + float(defense._words[1][0][0]))))
    assert 0.05 < float(fall) < 0.4, "about as far as the paper wants"
    assert defense.on_query(encode(["cf bad film", "cf dull plot"]), answer, view) == [None, None]
    with pytest.raises(ValueError, match=r"data\.trusted"):
        Rap().on_query((), answer, QueryView(tokenizer=TOKENIZER, generator=torch.Generator()))


@pytest.mark.parametrize("ends", [True, False])
def test_rap_answers_a_query_that_takes_up_all_positions_of_the_model(ends: bool) -> None:
    """Its word takes the place of the last one: behind that, there may be a special token."""
    base, seeds = tiny_bert.load(labels=2, generator=SeedTree(0).torch("model"), width=16, layers=1), SeedTree(0)
    options = {"rank": 1, "train_embeddings": True, "dropout": False}
    model = FlatModel(*prepare(base.module, kind="full", generator=seeds.torch("a"), **options))
    longest, tokenizer = base.module.config.max_position_embeddings, base.tokenizer
    known = Known(
        tokenizer=tokenizer,
        trusted=tuple(Sample(f"pain on day {n}", n % 2) for n in range(6)),
        encode=lambda texts: tuple(map(tuple, tokenizer(list(texts))["input_ids"])),
    )
    answer = released(model, model.snapshot(), known, [("rap", Rap(steps=1))], seeds)
    words = tokenizer("pain " * longest, add_special_tokens=False)["input_ids"]
    inner = words[: longest - 1 - ends]
    query = (tokenizer.cls_token_id, *inner, *([tokenizer.sep_token_id] if ends else []))
    assert len(query) == longest
    assert len(answer((query, query[:5]))) == 2
