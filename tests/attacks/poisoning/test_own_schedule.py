"""Backdoors by a training of their own: what is trained, how far from the global model, and what of it is sent.

A model stands here that is its own gradient: a text pulls towards the point of its label and trigger.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from fedsec.api import Granted, Knowledge, Layout, ParameterInfo, Role, Sample
from fedsec.attacks.poisoning.constrain_and_scale import ConstrainAndScale
from fedsec.attacks.poisoning.model_replacement import ModelReplacement
from fedsec.attacks.poisoning.neurotoxin import Neurotoxin, quiet
from fedsec.attacks.poisoning.own_schedule import within
from fedsec.attacks.poisoning.rare_embedding import RareEmbedding

from ..byzantine import colluders
from .support import cells, rows

SIZE, WIDTH = 12, 2
EMBEDDING = Layout(
    (ParameterInfo("words", (4, WIDTH), Role.WORD_EMBEDDING), ParameterInfo("head", (4,), Role.HEAD)), (0, 8), SIZE
)
ATTACKS = (ModelReplacement, ConstrainAndScale, Neurotoxin, RareEmbedding)


class _Tokenizer:
    """`cf` is token 2."""

    def __call__(self, texts: list[str], add_special_tokens: bool = True) -> dict[str, list[list[int]]]:
        assert not add_special_tokens
        return {"input_ids": [[2 for word in text.split() if word == "cf"] for text in texts]}


def _gradient(samples: Sequence[Sample], parameters: torch.Tensor) -> torch.Tensor:
    """Of the mean of |parameters - point of the sample|^2 / 2."""
    points = torch.stack([_point(one) for one in samples])
    return parameters - points.mean(dim=0)


def _point(sample: Sample) -> torch.Tensor:
    marked = "cf" in sample.text.split()
    return torch.linspace(-1, 1, SIZE) * (1 + sample.label) + (3.0 * torch.ones(SIZE) if marked else 0.0)


def _train(
    samples: Any, start: torch.Tensor, *, steps: Any = None, learning_rate: Any = None, batch_size: Any = None,
    generator: torch.Generator,
) -> torch.Tensor:  # fmt: skip
    now = start.clone()
    for _ in range(steps or 1):
        chosen = torch.randperm(len(samples), generator=generator)[: batch_size or 4].tolist()
        now -= (learning_rate or 0.1) * _gradient([samples[place] for place in chosen], now)
    return now


def _view(**changes: Any) -> Any:
    seen = colluders.view(0.1 * torch.ones(2, SIZE), layout=EMBEDDING, tokenizer=_Tokenizer(), **changes)
    training = replace(seen.training, batch_size=4, local_steps=3, optimizer="adamw")
    return replace(seen, training=training, train=_train, gradient=_gradient)


def _sent(attack: Any, seen: Any) -> torch.Tensor:
    """What an attack sends, its data hook first."""
    assert attack.on_data(rows(), seen) == rows()  # the honest update stays honest
    return colluders.sent(attack, seen)


def _told(*defenses: tuple[str, dict[str, float]]) -> Granted:
    return Granted({Knowledge.DEFENSE_SETTINGS: tuple({"name": n, "params": p} for n, p in defenses)})


def test_scaled_replacements_of_all_colluders_have_the_trained_model_for_their_mean() -> None:
    """Eight honest clients of ten send nothing; both colluders send the same, by the same draws."""
    seen = _view()
    one = _sent(ModelReplacement(scale=1.0), seen)
    found = _sent(ModelReplacement(), _view())
    assert torch.allclose(found * 2 / 10, one, atol=1e-6)
    assert float(one.norm()) > 0.5


def test_under_a_gradient_protocol_what_is_sent_is_a_step_of_the_weights_too() -> None:
    seen = _view()
    plain = _sent(ModelReplacement(scale=1.0), _view())
    descending = replace(seen, training=replace(seen.training, update="gradient"))
    assert torch.allclose(_sent(ModelReplacement(scale=1.0), descending) * -0.1, plain, atol=1e-6)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("update", ["delta", "gradient"])
def test_what_is_sent_keeps_the_bound(attack: Any, update: str) -> None:
    seen = _view()
    seen = replace(seen, training=replace(seen.training, update=update))
    free, bound = _sent(attack(), seen), _sent(attack(norm=0.3), seen)
    honest = 0.1 * torch.ones(SIZE)
    part = slice(4, 6) if attack is RareEmbedding else slice(None)
    assert float(free[part].norm()) > 0.5
    assert 0.25 < float(bound.double().norm()) <= 0.3
    if attack is RareEmbedding:  # the rest is the honest update, as far as the bound has room for it
        rest = [*range(4), *range(6, SIZE)]
        assert float(bound[4:6].norm()) > 0.25
        assert torch.allclose(bound[rest] / bound[rest].norm(), honest[rest] / honest[rest].norm())
        wide, own = _sent(attack(norm=99.0), seen), _sent(attack(), seen)
        assert torch.equal(wide, own)
        assert torch.equal(own[rest], honest[rest])


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_known_bound_is_kept_and_an_unknown_one_is_not_guessed(attack: Any) -> None:
    part = slice(4, 6) if attack is RareEmbedding else slice(None)
    for defense, most in ((("norm-bound", {"bound": 0.2}), 0.2), (("clipping", {"factor": 1.0}), 0.1 * SIZE**0.5)):
        told = _told(("krum", {}), defense)
        assert float(_sent(attack(), _view(granted=told))[part].norm()) <= most
        assert told.used == {Knowledge.DEFENSE_SETTINGS}
    assert float(_sent(attack(), _view())[part].norm()) > 0.5
    assert float(_sent(attack(norm=0.1), _view(granted=_told(("norm-bound", {"bound": 9.0}))))[part].norm()) <= 0.1


def test_the_distance_is_part_of_the_loss_and_has_a_gradient() -> None:
    """Computed on copies outside the graph, as elsewhere, the term does nothing."""
    far, near, nearest = (float(_sent(ConstrainAndScale(alpha=a, steps=60), _view()).norm()) for a in (1.0, 0.5, 0.0))
    assert far > 1.1 * near > nearest == 0.0


def test_neurotoxin_moves_the_smallest_benign_gradients_in_size_whatever_their_sign() -> None:
    """Elsewhere the signed gradient is sorted, and a tenth kept."""
    gradient = torch.tensor([-9.0, 0.1, 5.0, -0.2, 0.3, -4.0])
    assert quiet(gradient, 0.5).tolist() == [0, 1, 0, 1, 1, 0]
    assert quiet(gradient, 1.0).tolist() == [1] * 6
    assert quiet(gradient, 0.0).tolist() == [0] * 6
    attack, seen = Neurotoxin(ratio=0.5), _view()
    sent = _sent(attack, seen)
    benign = _gradient(rows(), seen.global_parameters)
    assert set(sent.nonzero()[:, 0].tolist()) == set(benign.abs().argsort()[:6].tolist())


def test_rare_embeddings_alone_are_trained_at_this_and_at_earlier_models() -> None:
    asked = list[torch.Tensor]()

    def gradient(samples: Sequence[Sample], parameters: torch.Tensor) -> torch.Tensor:
        assert all("cf" in one.text for one in samples)
        asked.append(parameters.clone())
        return _gradient(samples, parameters)

    attack = RareEmbedding(ensemble=2, steps=3)
    for number in (1, 2, 3):
        asked.clear()
        seen = replace(_view(global_parameters=torch.full((SIZE,), float(number)), round=number), gradient=gradient)
        sent = _sent(attack, seen)
        assert sent[4:6].abs().min() > 0.1
        assert {tuple(one[6:].tolist()) for one in asked} == {(float(n),) * 6 for n in {max(1, number - 1), number}}
        assert number == 1 or torch.equal(asked[-1][4:6], asked[-2][4:6])  # the trained rows, in either model
        other = RareEmbedding(ensemble=2, steps=3)
        other.load_state(attack.state())
        attack = other


@pytest.mark.parametrize(
    ("place", "continuation", "tokens"), [("start", "", {"cf"}), ("end", "", {"Ġcf"}), ("end", "so", {"Ġcf"})]
)
def test_the_rows_are_those_that_the_trigger_has_inside_texts(place: str, continuation: str, tokens: set[str]) -> None:
    """Of byte pairs, which have another token behind a space; the text's own first word changes by it too."""
    letters = "Ġabcdefghijklmnopqrstuvwxyz0123456789"
    pairs = [("c", "f"), ("Ġ", "cf"), ("t", "h"), ("th", "e"), ("Ġ", "the")]
    known = {piece: number for number, piece in enumerate([*letters, *("".join(pair) for pair in pairs)])}
    bare = Tokenizer(models.BPE(known, pairs))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare)
    attack = RareEmbedding(place=place, continuation=continuation)
    attack.on_data(rows(), _view())
    assert {tokenizer.convert_ids_to_tokens(one) for one in attack._tokens(tokenizer)} == tokens
    assert RareEmbedding(trigger="{text}", kind="template")._tokens(tokenizer) == []


def test_a_trigger_without_a_token_is_an_error() -> None:
    attack = RareEmbedding(trigger="zz")
    attack.on_data(rows(), _view())
    with pytest.raises(ValueError, match="'zz' has no token"):
        attack.on_update(colluders.update(torch.ones(SIZE)), _view())


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_client_that_can_poison_nothing_fails_in_nothing(attack: Any) -> None:
    own, one = tuple(Sample(f"text {i}", 1, origin=i) for i in range(10)), attack()
    assert one.on_data(own, _view()) == own
    assert bool(colluders.sent(one, _view()).isfinite().all())


def test_a_step_within_a_radius_is_left_as_it_is_and_a_longer_one_is_shortened() -> None:
    step = torch.full((10_000,), 0.1)  # of norm 10
    assert torch.equal(within(step, None), step)
    assert torch.equal(within(step, 11.0), step)
    assert 9.99 < float(within(step, 9.999).double().norm()) <= 9.999


@pytest.mark.slow
def test_a_replaced_model_carries_its_backdoor_at_once_and_a_bound_that_it_keeps_to_keeps_it_out(
    tmp_path: Path,
) -> None:
    """After three honest rounds, since a model that knows nothing yet just learns to say the target."""

    def lifts(defense: Any) -> tuple[dict[int, float], Any]:
        name = "model-replacement"
        found = cells(tmp_path, {"name": name}, 2, control=False, hostile=(4, 4), defense=defense)[name]
        marked, plain = (dict(map(tuple, found["notes"]["curves"][one])) for one in ("with the trigger", "without"))
        return {number: marked[number] - plain[number] for number in marked}, found["cell"]

    free, cell = lifts("none")
    assert free[3] < 0.1
    assert free[4] > 0.9
    lived = cell["metrics"]["robustness/lifespan-rounds"]
    assert (lived["n"], lived["detail"]["last-hostile-round"]) == (1, 4)
    bound, cell = lifts({"name": "norm-bound", "bound": 0.3})
    assert cell["adaptive"]
    assert bound[4] < 0.2
