from dataclasses import replace

import pytest
import torch

from fedsec.attacks.reconstruction.dager.attack import Dager
from fedsec.attacks.reconstruction.dager.decoder import Growth, begins
from fedsec.attacks.reconstruction.dager.decoder_states import States, sees_later
from fedsec.attacks.reconstruction.dager.decoder_tokens import Tokens
from fedsec.attacks.reconstruction.dager.ruler import Ruler
from fedsec.attacks.reconstruction.dager.settings import Settings
from fedsec.attacks.reconstruction.dager.spaces import layer_space
from fedsec.maths.activations import layer_input
from fedsec.maths.row_space import row_space
from fedsec.models import tiny_bert, tiny_gpt2, tiny_llama
from fedsec.models.base import CAUSAL_LM, SEQUENCE_CLASSIFICATION

from ....bounds import off_largest, within
from ..reach import SEEDS, Reach
from ..support import assert_only_looks, exact

TEXTS = ["the chest is clear", "no fever and no cough", "the patient sleeps well", "pain in the left knee"]
QUERIES = {"gpt2": "transformer.h.{}.attn.c_attn", "llama": "model.layers.{}.self_attn.q_proj"}


def _reach(architecture: str, task: str = CAUSAL_LM, layers: int = 3, width: int = 64) -> Reach:
    load = (tiny_gpt2 if architecture == "gpt2" else tiny_llama).load
    return Reach(load(labels=2, generator=SEEDS.torch("model"), task=task, layers=layers, width=width), task)


@pytest.fixture(scope="module")
def lab() -> Reach:
    return _reach("gpt2")


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("task", [CAUSAL_LM, SEQUENCE_CLASSIFICATION])
def test_batches_are_exact_and_verified(architecture: str, task: str) -> None:
    lab = _reach(architecture, task)
    claims = Dager().reconstruct(lab.view([TEXTS, TEXTS[:1]]))
    assert [claim.client for claim in claims] == [0, 0, 0, 0, 1]
    assert exact(claims[:4], lab.truth(TEXTS)) == 4
    assert claims[4].tokens == lab.truth(TEXTS[:1])[0]
    assert all(claim.verified for claim in claims)


def test_the_sum_of_clients_is_read_as_one_batch(lab: Reach) -> None:
    view = lab.view([TEXTS[:2], TEXTS[2:]])
    claims = Dager().reconstruct(replace(view, rows=None, clients=()))
    assert exact(claims, lab.truth(TEXTS)) == len(claims) == 4
    assert all(claim.verified and claim.client is None for claim in claims)


def test_equal_texts_and_beginnings_of_others_are_claimed_once(lab: Reach) -> None:
    texts = [TEXTS[0], TEXTS[0], "the chest"]
    claims = Dager().reconstruct(lab.view([texts]))
    assert [claim.tokens for claim in claims] == lab.truth(TEXTS[:1])


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("update", ["gradient", "delta"])
def test_texts_that_were_cut_are_not_verified(architecture: str, update: str) -> None:
    lab, texts = _reach(architecture), [*TEXTS[:2], "the knee", "clear"]
    longest = max(map(len, lab.ids(texts))) - 2
    view = lab.view([texts], longest=longest, update=update)
    rows = lab.ids(texts, longest)
    cut = [ids[-1] != lab.tokenizer.eos_token_id for ids in rows]
    assert 0 < sum(cut) < len(texts)
    truth = zip(lab.truth(texts, longest), cut, strict=True)
    expected = {(tokens[:-1] if was_cut else tokens, not was_cut) for tokens, was_cut in truth}
    assert {(claim.tokens, claim.verified) for claim in Dager().reconstruct(view)} == expected


@pytest.mark.parametrize("noise", [1e-6, 1e-4])
def test_little_noise_does_not_protect(lab: Reach, noise: float) -> None:
    claims = Dager().reconstruct(lab.view([TEXTS[:2]], noise=noise))
    assert exact(claims, lab.truth(TEXTS[:2])) == 2


def test_much_noise_gives_nothing_verified(lab: Reach) -> None:
    assert not any(claim.verified for claim in Dager().reconstruct(lab.view([TEXTS[:2]], noise=0.1)))


def test_difference_of_weights(lab: Reach) -> None:
    claims = Dager().reconstruct(lab.view([TEXTS[:2]], update="delta", learning_rate=0.1))
    assert exact(claims, lab.truth(TEXTS[:2])) == 2


def test_more_tokens_than_dimensions_give_no_claims() -> None:
    narrow = _reach("gpt2", width=16)
    assert Dager().reconstruct(narrow.view([TEXTS])) == []


def test_same_view_same_claims_and_nothing_is_changed(lab: Reach) -> None:
    assert_only_looks(Dager(), lab.flat, lab.view([TEXTS]), lab.view([TEXTS]))


def test_evaluations_bound_the_search(lab: Reach) -> None:
    claims = Dager(evaluations=20).reconstruct(lab.view([TEXTS]))
    assert exact(claims, lab.truth(TEXTS)) == 0
    assert not any(claim.verified for claim in claims)


@pytest.mark.numeric
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("length", [0, 1, 5])
def test_states_behind_prefixes_are_those_of_whole_texts(architecture: str, length: int) -> None:
    module = _reach(architecture).flat.module.eval()
    states = States(module, QUERIES[architecture].format(0), QUERIES[architecture].format(1))
    draws = torch.Generator().manual_seed(0)
    prefixes = torch.randint(3, 300, (2, length), generator=draws)
    tokens = torch.randint(3, 300, (7,), generator=draws)
    found = states.extended(prefixes[:1] if length == 0 else prefixes, tokens)
    for row, prefix in enumerate(prefixes[: len(found)]):
        for column, token in enumerate(tokens):
            text = torch.cat([prefix, token[None]])[None]
            plain = layer_input(module, QUERIES[architecture].format(1), input_ids=text)[0, -1]
            within("states behind prefixes", off_largest(found[row, column], plain), 1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_admitted_tokens_are_those_of_an_exhaustive_test(architecture: str) -> None:
    lab = _reach(architecture)
    view = lab.view([TEXTS])
    assert view.rows is not None
    first = layer_space(view, view.rows[0], 0)
    assert first is not None
    states = States(lab.flat.module, first.query, QUERIES[architecture].format(1))
    assert states.positional() == (architecture == "gpt2")
    tokens = Tokens(states, Ruler(first.space, tolerance=2e-5, slack=60.0, blur=0.3), SEEDS.torch("directions"), 2048)
    rows = lab.ids(TEXTS)
    for place in (0, 2):
        ids = torch.arange(states.vocabulary)
        repeated = ids[:, None].expand(-1, place + 1)
        inputs = layer_input(lab.flat.module, first.query, input_ids=repeated)[:, place].double()
        basis = first.space.basis
        off = (inputs - inputs @ basis @ basis.T).norm(dim=1) / inputs.norm(dim=1)
        assert tokens.at(place).tolist() == ids[off < 1e-4].tolist()
        assert {row[place] for row in rows} <= set(tokens.at(place).tolist())


def test_a_first_token_that_repeats_itself_is_not_followed_forever() -> None:
    lab = _reach("llama")  # without learned positions, and here without a begin token
    texts = [torch.tensor([40, 40, 50, 60]), torch.tensor([41, 52, 43])]
    states = States(lab.flat.module, *(QUERIES["llama"].format(layer) for layer in (0, 1)))
    inputs = [
        torch.cat([layer_input(lab.flat.module, QUERIES["llama"].format(n), input_ids=ids[None])[0] for ids in texts])
        for n in (0, 1)
    ]
    near, far = (Ruler(row_space([part]), tolerance=1e-5, slack=6.0, blur=0.3) for part in inputs)
    tokens = Tokens(states, near, SEEDS.torch("directions"), 2048)
    growth = Growth(states, tokens, far, Settings(evaluations=10_000), limit=2)
    found = growth.run((), 64)
    assert sorted(text.ids for text in found) == [(40, 40, 50, 60), (41, 52, 43)]
    assert all(text.verified for text in found)


def test_encoders_see_later_tokens_and_decoders_do_not(lab: Reach) -> None:
    encoder = tiny_bert.load(labels=2, generator=SEEDS.torch("model"), layers=2, width=32).module.eval()
    assert sees_later(encoder, "bert.encoder.layer.1.attention.self.query")
    assert not sees_later(lab.flat.module.eval(), QUERIES["gpt2"].format(1))


def test_texts_begin_with_what_the_tokenizer_puts_there(lab: Reach) -> None:
    assert begins(lab.tokenizer) == (lab.tokenizer.bos_token_id,)
