from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fedsec.api import Asset, Role
from fedsec.attacks.reconstruction.dager.attack import Dager
from fedsec.attacks.reconstruction.dager.spaces import _thirds, layer_space
from fedsec.models import tiny_bert, tiny_gpt2, tiny_llama
from fedsec.models.base import CAUSAL_LM, SEQUENCE_CLASSIFICATION
from fedsec.plan.visibility import visible

from ..reach import SEEDS, Reach
from ..support import exact

pytestmark = pytest.mark.numeric

TEXTS = ["the chest is clear", "no fever today", "pain in the left knee"]


def _reach(architecture: str, rank: int, **more: bool) -> Reach:
    generator = SEEDS.torch("model")
    if architecture == "bert":
        base, task = tiny_bert.load(labels=2, generator=generator, layers=3, width=64), SEQUENCE_CLASSIFICATION
    else:
        load, task = (tiny_gpt2 if architecture == "gpt2" else tiny_llama).load, CAUSAL_LM
        base = load(labels=2, generator=generator, task=task, layers=3, width=64)
    return Reach(base, task, rank=rank, **more)


def _inputs(lab: Reach, module: str, texts: list[str]) -> np.ndarray:
    """What entered a module for each token that something is learned through, one text at a time [tokens, width]."""
    caught: list[torch.Tensor] = []
    handle = lab.flat.module.get_submodule(module).register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    with torch.no_grad():
        for ids in lab.ids(texts):
            lab.flat.module(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    handle.remove()
    cut = -1 if lab.task == CAUSAL_LM else None  # nothing is predicted from a row's last token
    return torch.cat([states[0, :cut] for states in caught]).double().numpy()


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize(
    ("architecture", "rank", "module"),
    [
        ("gpt2", 0, "transformer.h.{}.attn.c_attn"),
        ("llama", 0, "model.layers.{}.self_attn.q_proj"),
        ("gpt2", 32, "base_model.model.transformer.h.{}.attn.c_attn"),
        ("llama", 20, "base_model.model.model.layers.{}.self_attn.q_proj"),
        ("bert", 20, "base_model.model.bert.encoder.layer.{}.attention.self.query"),
    ],
)
def test_the_span_is_that_of_the_inputs(architecture: str, rank: int, module: str, layer: int) -> None:
    lab = _reach(architecture, rank)
    if rank:
        lab.adapt()
    view = lab.view([TEXTS[:2]])
    assert view.rows is not None
    found = layer_space(view, view.rows[0], layer)
    assert found is not None
    assert found.query == module.format(layer)
    assert found.whole
    inputs = _inputs(lab, found.query, TEXTS[:2])
    inputs = inputs[np.linalg.norm(inputs, axis=1) > 0]
    assert found.space.rank == np.linalg.matrix_rank(inputs, rtol=1e-5)
    off, expected = (measure(torch.from_numpy(inputs)) for measure in (found.space.residuals, found.space.expected))
    assert bool((off <= 10.0 * expected + 1e-6).all())
    assert float(off.max()) < 1e-3


def test_factors_of_lora_as_they_start_tell_nothing() -> None:
    lab = _reach("bert", 16)
    view = lab.view([TEXTS[:1]])
    assert view.rows is not None
    assert layer_space(view, view.rows[0], 0) is None
    assert Dager().reconstruct(view) == []


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_trained_factors_of_enough_directions_give_the_text_away(architecture: str) -> None:
    lab = _reach(architecture, 16)
    lab.adapt()
    claims = Dager().reconstruct(lab.view([TEXTS[:1]]))
    assert exact(claims, lab.truth(TEXTS[:1])) == 1
    assert claims[0].verified == (architecture == "bert")  # the decoder's output layer is not trained: a cut text?


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_more_tokens_than_directions_are_never_verified(architecture: str) -> None:
    lab = _reach(architecture, 2)
    lab.adapt()
    view = lab.view([TEXTS])
    assert view.rows is not None
    found = layer_space(view, view.rows[0], 0)
    assert found is not None
    assert not found.whole
    assert not any(claim.verified for claim in Dager().reconstruct(view))


def test_local_steps_keep_the_first_span_where_embeddings_are_frozen() -> None:
    lab = _reach("bert", 0, train_embeddings=False)
    view = lab.view([TEXTS[:2]], update="delta", steps=2, learning_rate=1.0)
    assert view.rows is not None
    found = layer_space(view, view.rows[0], 0)
    assert found is not None
    inputs = _inputs(lab, found.query, TEXTS[:2])
    assert found.space.rank == np.linalg.matrix_rank(inputs, rtol=1e-5)
    assert float(found.space.residuals(torch.from_numpy(inputs)).max()) < 1e-3


@pytest.mark.parametrize(
    ("config", "outputs", "sizes"),
    [
        ({"num_attention_heads": 4}, 192, [64, 64, 64]),
        ({"num_attention_heads": 4, "head_dim": 16}, 128, [64, 32, 32]),  # two heads of keys and values
        ({"num_attention_heads": 4, "head_dim": 32}, 192, [128, 32, 32]),
    ],
)
def test_a_fused_matrix_is_cut_where_its_parts_meet(config: dict[str, int], outputs: int, sizes: list[int]) -> None:
    assert _thirds(SimpleNamespace(**config), outputs, 64) == sizes


@pytest.mark.parametrize(("architecture", "rank"), [("bert", 0), ("gpt2", 0), ("gpt2", 4), ("llama", 4)])
def test_attention_shows_its_inputs(architecture: str, rank: int) -> None:
    setup = _reach(architecture, rank).setup
    rows = frozenset({Asset.ROWS})
    assert Asset.ATTENTION_INPUTS in visible(rows, setup)
    first, second = ({p.name for p in setup.parameters if p.layer == layer} for layer in (0, 1))
    assert Asset.ATTENTION_INPUTS in visible(rows, replace(setup, trainable=setup.trainable - second))
    assert Asset.ATTENTION_INPUTS not in visible(rows, replace(setup, trainable=setup.trainable - first))
    roles = {Role.QUERY, Role.KEY, Role.VALUE, Role.QUERY_KEY_VALUE, Role.ADAPTER}
    others = {p.name for p in setup.parameters if p.role not in roles}
    assert Asset.ATTENTION_INPUTS not in visible(rows, replace(setup, trainable=setup.trainable & others))
