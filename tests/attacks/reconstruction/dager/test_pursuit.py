from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from fedsec.api import ServerView
from fedsec.attacks.reconstruction.dager.attack import Dager
from fedsec.attacks.reconstruction.dager.candidates import Scanner
from fedsec.attacks.reconstruction.dager.effort import Effort
from fedsec.attacks.reconstruction.dager.links import Links, attention_links
from fedsec.attacks.reconstruction.dager.pursuit import Pursuit
from fedsec.attacks.reconstruction.dager.settings import Settings
from fedsec.attacks.reconstruction.dager.spaces import layer_space

from ..support import Lab, exact, tiny_lab

TEXTS = ["the chest is clear", "no fever and no cough today", "pain in the left knee"]
BEGIN, LAST = 1, 2


@pytest.fixture(scope="module")
def lab() -> Lab:
    return tiny_lab(width=128)


def links_of(view: ServerView) -> Links:
    assert view.rows is not None
    first = layer_space(view, view.rows[0], 0)
    assert first is not None
    links = attention_links(view, first, Scanner(view, first, Settings()).scan(6), Effort(128))
    assert links is not None
    return links


def made_up(truth: list[list[int]], *, width: int, blocks: int, tokens: int, seed: int = 0) -> Links:
    """Random directions for every token at every position, and targets that combine each own text's."""
    generator = torch.Generator().manual_seed(seed)
    end = max(map(len, truth)) + 1
    pairs = [(token, place) for token in range(10, 10 + tokens) for place in range(1, end)]
    pairs += [(LAST, place) for place in range(1, end + 1)]
    index = {pair: number for number, pair in enumerate(pairs)}
    raw = torch.randn(blocks, len(pairs), width, generator=generator, dtype=torch.float64)
    directions = raw / raw.norm(dim=-1, keepdim=True)
    sums = torch.zeros(tokens, blocks, width, dtype=torch.float64)
    for text in truth:
        rows = [index[token, place + 1] for place, token in enumerate(text)] + [index[LAST, len(text) + 1]]
        for token in text:
            weights = torch.randn(blocks, 1, len(rows), generator=generator, dtype=torch.float64)
            sums[token - 10] += (weights @ directions[:, rows])[:, 0]
    ids, places = (torch.tensor(kind) for kind in zip(*pairs, strict=True))
    return Links(
        ids=ids,
        places=places,
        directions=directions,
        targets=sums / sums.norm(dim=-1, keepdim=True).clamp_min(1e-30),
        errors=torch.zeros(tokens, blocks, dtype=torch.float64),
        readers=torch.where(ids >= 10, ids - 10, -1),
        begin=BEGIN,
        last=LAST,
    )


def explained(links: Links, target: int) -> list[tuple[int, ...]]:
    """Slow reference: every set of one candidate per position 1..end that solves the target's equations."""
    found = []
    pairs = list(zip(links.ids.tolist(), links.places.tolist(), strict=True))
    for size in range(2, 5):
        for picks in combinations(range(len(pairs)), size):
            places = [pairs[pick][1] for pick in picks]
            ends = [pairs[pick][1] for pick in picks if pairs[pick][0] == LAST]
            if sorted(places) != list(range(1, size + 1)) or ends != [size]:
                continue
            rest = 0.0
            for block in range(links.directions.shape[0]):
                matrix, wanted = links.directions[block, list(picks)].numpy().T, links.targets[target, block].numpy()
                rest += float(np.linalg.norm(matrix @ np.linalg.lstsq(matrix, wanted, rcond=None)[0] - wanted))
            if rest < 1e-6:
                found.append(tuple(sorted(picks)))
    return found


def test_the_pursuit_finds_what_trying_every_set_finds() -> None:
    links = made_up([[10, 11, 12], [13, 14]], width=8, blocks=4, tokens=5)
    pursuit = Pursuit(links, Settings(), Effort(128))
    for target in range(5):
        assert [tuple(sorted(pursuit.follow(target, beam=2)))] == explained(links, target)


def test_many_candidates_and_long_texts() -> None:
    texts = [list(range(10, 26)), list(range(26, 38)), list(range(38, 47))]
    links = made_up(texts, width=32, blocks=16, tokens=60)
    pursuit = Pursuit(links, Settings(), Effort(128))
    for text in texts:
        options = pursuit.options(pursuit.follow(text[3] - 10, beam=1))
        assert [options[place + 1] for place in range(len(text))] == [[token] for token in text]
        assert options[len(text) + 1] == [LAST]


def test_what_a_found_text_explains_leaves_and_what_it_shares_stays() -> None:
    one, other = [10, 11, 12, 13], [14, 11, 15]  # 11 stands in both at position 2
    links = made_up([one, other], width=16, blocks=6, tokens=6)
    pursuit = Pursuit(links, Settings(), Effort(128))
    assert pursuit.seeds(shared=False) == list(range(6))
    pursuit.settle([BEGIN, *one, LAST])
    assert pursuit.seeds(shared=True) == [1]
    assert pursuit.seeds(shared=False) == [4, 5]
    assert not pursuit.live(0)
    assert 10 not in pursuit.tokens(1).tolist()
    assert 11 in pursuit.tokens(2).tolist()
    free = made_up([[10, 11, 12, 13], [14, 15, 11]], width=16, blocks=6, tokens=6)
    pursuit = Pursuit(free, Settings(), Effort(128))
    pursuit.settle([BEGIN, *one, LAST])
    options = pursuit.options(pursuit.follow(1, beam=2))  # its own text's share off the found one's span
    assert [options[place] for place in (1, 2, 3, 4)] == [[14], [15], [11], [LAST]]


def test_a_mixture_names_the_tokens_of_both_texts() -> None:
    links = made_up([[10, 11, 12], [10, 12, 11]], width=16, blocks=8, tokens=4)
    pursuit = Pursuit(links, Settings(), Effort(128))
    options = pursuit.options(pursuit.follow(0, beam=4, mixed=True))
    assert {place: sorted(tokens) for place, tokens in options.items()} == {
        1: [10],
        2: [11, 12],
        3: [11, 12],
        4: [LAST],
    }


def test_a_full_head_gives_nothing(lab: Lab) -> None:
    links = links_of(lab.view([TEXTS]))
    narrow = replace(links, directions=links.directions[..., :4], targets=links.targets[..., :4])
    pursuit = Pursuit(narrow, Settings(), Effort(128))
    assert all(pursuit.follow(seed, beam=1) == () for seed in pursuit.seeds(shared=False))


def test_links_lead_to_every_text(lab: Lab) -> None:
    pursuit, found = Pursuit(links_of(lab.view([TEXTS])), Settings(), Effort(128)), set()
    truth = {tuple(ids) for ids in lab.tokenizer(TEXTS)["input_ids"]}
    for seed in pursuit.seeds(shared=False):
        options = pursuit.options(pursuit.follow(seed, beam=4)) if pursuit.live(seed) else {}
        text = (lab.tokenizer.cls_token_id, *(tokens[0] for _, tokens in sorted(options.items())))
        if text in truth:
            found.add(text)
            pursuit.settle(text)
    assert found == truth


@pytest.mark.parametrize(
    ("texts", "least"),
    [
        (["the chest is clear today", "today the chest is clear", "clear is the chest today"], 0),
        (["the knee is no pain", "the knee no is pain"], 2),
        (["the left knee is clear", "the left knee is swollen", "the left chest"], 2),
        (["no fever", "no fever", "pain and fever"], 2),
        (["clear and clear", "clear", "and clear and"], 3),
    ],
    ids=["permutations", "twins", "prefixes", "duplicates", "repetitions"],
)
def test_texts_that_resemble_each_other_give_no_false_claims(lab: Lab, texts: list[str], least: int) -> None:
    claims = Dager(rounds=4).reconstruct(lab.view([texts]))
    truth = lab.truth(texts)
    assert all(claim.tokens in truth for claim in claims if claim.verified)
    assert exact(claims, sorted(set(truth))) >= least  # rounding hides what sets a random model's permutations apart
