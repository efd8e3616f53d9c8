from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import ServerView
from fedsec.attacks.reconstruction.dager.candidates import Scanner
from fedsec.attacks.reconstruction.dager.effort import Effort
from fedsec.attacks.reconstruction.dager.lengths import fitting
from fedsec.attacks.reconstruction.dager.links import Links, attention_links
from fedsec.attacks.reconstruction.dager.settings import Settings
from fedsec.attacks.reconstruction.dager.spaces import layer_space

from ..support import Lab, tiny_lab

pytestmark = pytest.mark.numeric

TEXTS = ["the chest is clear", "no fever and no cough today", "pain in the left knee"]


@pytest.fixture(scope="module")
def lab() -> Lab:
    return tiny_lab(width=128)


def links_of(view: ServerView) -> Links:
    assert view.rows is not None
    first = layer_space(view, view.rows[0], 0)
    assert first is not None
    scanner = Scanner(view, first, Settings())
    links = attention_links(view, first, scanner.scan(6), Effort(128))
    assert links is not None
    return links


def places_of(links: Links, ids: Sequence[int]) -> list[int]:
    """Which candidates a text is made of, its begin token left out."""
    pairs = ((links.ids == token) & (links.places == place) for place, token in enumerate(ids) if place)
    return [int(pair.nonzero()[0, 0]) for pair in pairs]


def rests_of(links: Links, index: list[int]) -> torch.Tensor:
    """What a text's candidates leave of each target, in the block where they leave most of it [tokens]."""
    targets = links.targets.permute(1, 2, 0)  # [blocks, width, tokens]
    matrix = links.directions[:, index].mT
    weights = torch.linalg.lstsq(matrix, targets).solution
    return (matrix @ weights - targets).norm(dim=1).max(dim=0).values


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 9), min_size=1, max_size=5, unique=True),
    texts=st.integers(1, 4),
    total=st.integers(0, 40),
)
def test_fitting_lengths_are_those_of_some_choice(lengths: list[int], texts: int, total: int) -> None:
    choices = [choice for choice in combinations_with_replacement(lengths, texts) if sum(choice) == total]
    assert fitting(lengths, texts, total) == [length for length in lengths if any(length in c for c in choices)]
    assert fitting(lengths, 0, total) == []


def test_a_true_text_explains_its_tokens_and_no_false_one_does(lab: Lab) -> None:
    links = links_of(lab.view([TEXTS]))
    texts = [tuple(ids) for ids in lab.tokenizer(TEXTS)["input_ids"]]
    left = []
    for ids in texts:
        index = places_of(links, ids)
        rests = np.zeros(links.targets.shape[:2])
        for block, matrix in enumerate(links.directions[:, index].numpy()):
            for token, target in enumerate(links.targets[:, block].numpy()):
                weights, *_ = np.linalg.lstsq(matrix.T, target, rcond=None)
                rests[token, block] = np.linalg.norm(matrix.T @ weights - target)
        left.append(rests.max(axis=1))
    rests = np.sort(np.array(left), axis=0)  # [texts, tokens]
    alone = rests[0] < 1e-4
    assert alone.sum() >= 8
    assert float(rests[1][alone].min()) > 1e-2


def test_readers_name_the_target_of_each_candidates_token(lab: Lab) -> None:
    links = links_of(lab.view([TEXTS]))
    assert (links.begin, links.last) == (lab.tokenizer.cls_token_id, lab.tokenizer.sep_token_id)
    assert bool((links.readers[torch.isin(links.ids, torch.tensor([links.begin, links.last]))] == -1).all())
    for target in range(len(links.targets)):
        assert len(links.ids[links.readers == target].unique()) == 1


def test_outputs_whose_update_is_not_known_are_left_out_on_both_sides(lab: Lab) -> None:
    view = lab.view([TEXTS])
    assert view.rows is not None
    first = layer_space(view, view.rows[0], 0)
    assert first is not None
    candidates = Scanner(view, first, Settings()).scan(6)
    heads = lab.flat.module.config.num_attention_heads
    width = 128 // heads
    name = first.query + ".weight"
    missing = first.updates[name].clone()
    missing[:width] = 0.0  # a whole head
    missing[width] = 0.0  # and an output of the next
    links = attention_links(view, replace(first, updates={**first.updates, name: missing}), candidates, Effort(128))
    whole = attention_links(view, first, candidates, Effort(128))
    assert links is not None
    assert whole is not None
    assert len(links.directions) == len(whole.directions) - 1
    assert bool((links.directions[0, :, 0] == 0.0).all())
    assert bool((links.targets[:, 0, 0] == 0.0).all())
    assert float(links.errors.max()) < 1e-6  # a silent head's would be endless
    left, all_told = (
        torch.cat([rests_of(one, places_of(one, ids)) for ids in lab.tokenizer(TEXTS)["input_ids"]])
        for one in (links, whole)
    )
    assert int((left < 1e-4).sum()) >= 8  # a text's own tokens are explained in every block
    assert float((left / all_told)[all_told < 0.01].max()) < 1.01  # as well as where every output is known


def test_silent_heads_alone_link_nothing(lab: Lab) -> None:
    view = lab.view([TEXTS])
    assert view.rows is not None
    first = layer_space(view, view.rows[0], 0)
    assert first is not None
    candidates = Scanner(view, first, Settings()).scan(6)
    silent = {name: torch.zeros_like(update) for name, update in first.updates.items()}
    assert attention_links(view, replace(first, updates=silent), candidates, Effort(128)) is None
    assert attention_links(view, replace(first, updates={}), candidates, Effort(128)) is None
