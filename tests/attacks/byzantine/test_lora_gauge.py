"""LoRA gauge: factors that look honest with a product that is not, and the reverse."""

from typing import Any

import numpy as np
import pytest
import torch

from fedsec import registry
from fedsec.api import (
    Asset,
    ColluderView,
    Granted,
    Knowledge,
    Layout,
    ModelSetup,
    ParameterInfo,
    Role,
    RoundContext,
    TrainingSettings,
    Update,
)
from fedsec.attacks.byzantine.lora_gauge import LoraGauge
from fedsec.defenses.aggregation.krum import Krum
from fedsec.maths.rows import Rows
from fedsec.plan.visibility import visible

RANK, SIZE, RATE = 4, 24, 0.05
A, B, HEAD = "layer.0.query.lora_A.default.weight", "layer.0.query.lora_B.default.weight", "classifier.weight"


def _named(name: str, shape: tuple[int, ...], factor: str | None = None) -> ParameterInfo:
    return ParameterInfo(name=name, shape=shape, role=Role.ADAPTER if factor else Role.HEAD, factor=factor)


LAYOUT = Layout(
    (_named(HEAD, (2, 3)), _named(A, (RANK, SIZE), "A"), _named(B, (SIZE, RANK), "B")),
    (0, 6, 6 + RANK * SIZE),
    6 + 2 * RANK * SIZE,
)


def _training(update: str) -> TrainingSettings:
    return TrainingSettings(update=update, optimizer="adamw", learning_rate=RATE, local_steps=5, batch_size=8)


def _view(
    current: torch.Tensor, own: torch.Tensor, benign: torch.Tensor | None = None, update: str = "delta", **changes: Any
) -> ColluderView:
    fields: dict[str, Any] = {
        "client": 0,
        "round": 1,
        "global_parameters": current.clone(),
        "layout": LAYOUT,
        "training": _training(update),
        "generator": torch.Generator(),
        "colluders": tuple(range(len(own))),
        "own_rows": own.clone(),
        "blackboard": {},
        "granted": Granted({} if benign is None else {Knowledge.BENIGN_UPDATES: benign.clone()}),
    }
    return ColluderView(**{**fields, **changes})


def _context(current: torch.Tensor, f: int = 2, update: str = "delta") -> RoundContext:
    return RoundContext(
        round=1, clients=(), examples=(), declared_malicious=f, layout=LAYOUT, training=_training(update),
        global_parameters=current, generator=torch.Generator(),
    )  # fmt: skip


def _federation(rows: int, seed: int = 0, grown: float = 0.03) -> tuple[torch.Tensor, torch.Tensor]:
    """Global trainables [parameters], and honest rows [rows, parameters] as AdamW makes them: every factor walks alike.

    A is peft's, uniform with variance 1 / (3 inputs); B is `grown` in every entry, less than A still.
    """
    generator = torch.Generator().manual_seed(seed)
    current = torch.zeros(LAYOUT.size)
    LAYOUT.tensor(current, A).copy_((2 * torch.rand(RANK, SIZE, generator=generator) - 1) / SIZE**0.5)
    LAYOUT.tensor(current, B).copy_(grown * torch.randn(SIZE, RANK, generator=generator))
    common = 8e-3 * torch.randn(LAYOUT.size, generator=generator)
    return current, common + 1e-2 * torch.randn(rows, LAYOUT.size, generator=generator)


def _sent(attack: LoraGauge, view: ColluderView, place: int = 0) -> torch.Tensor:
    update = Update(view.own_rows[place].clone(), examples=7)
    crafted = attack.on_update(update, view)
    assert torch.equal(update.vector, view.own_rows[place])
    assert crafted.examples == 7
    assert crafted.vector.dtype == torch.float32
    return crafted.vector


def _place(current: torch.Tensor, row: torch.Tensor, step: float = 1.0) -> np.ndarray:
    """What a row does to the weights, with the full matrix B A in fp64 [columns]."""
    now = current.double() + step * row.double()
    before = current.double()
    change = LAYOUT.tensor(now, B) @ LAYOUT.tensor(now, A) - LAYOUT.tensor(before, B) @ LAYOUT.tensor(before, A)
    return torch.cat([change.flatten(), (now - before)[:6]]).numpy()  # type: ignore[no-any-return]


@pytest.mark.parametrize("update", [("delta", 1.0), ("gradient", -RATE)])
@pytest.mark.parametrize("factor", [0.1, 10.0, 1000.0])
def test_rescale_keeps_the_product_and_ruins_the_mean_of_factors(update: tuple[str, float], factor: float) -> None:
    current, rows = _federation(1)
    rows = rows / update[1]
    sent = _sent(LoraGauge(aim="rescale", factor=factor), _view(current, rows, update=update[0]))
    honest, crafted = (current.double() + update[1] * row.double() for row in (rows[0], sent))
    torch.testing.assert_close(LAYOUT.tensor(crafted, B), factor * LAYOUT.tensor(honest, B), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(LAYOUT.tensor(crafted, A), LAYOUT.tensor(honest, A) / factor, rtol=1e-4, atol=1e-6)
    assert torch.equal(LAYOUT.tensor(sent, HEAD), LAYOUT.tensor(rows[0], HEAD))
    own = _place(current, rows[0], update[1])
    apart = _place(current, sent, update[1]) - own
    # A factor is rounded to fp32 and then multiplied by one that is that much longer.
    assert np.linalg.norm(apart) < 1e-6 * max(factor, 1 / factor) * np.linalg.norm(own)
    assert (sent - rows[0]).norm() > 3 * rows[0].norm()
    middle = _place(current, (rows[0] + sent) / 2, update[1]) - own
    assert np.linalg.norm(middle) > np.linalg.norm(own)


def test_rescale_of_factors_that_begin_at_zero_leaves_them_there() -> None:
    current, _ = _federation(1, grown=0.0)
    sent = _sent(LoraGauge(aim="rescale"), _view(current, torch.zeros(1, LAYOUT.size)))
    assert not LAYOUT.tensor(sent, B).any()
    torch.testing.assert_close(LAYOUT.tensor(current + sent, A), LAYOUT.tensor(current, A) / 10)


@pytest.mark.parametrize("scale", [0.9, 1.0, 1.5])
@pytest.mark.parametrize("known", [2, 9])
def test_hide_is_as_far_from_honest_rows_as_scale_says(scale: float, known: int) -> None:
    """|x - x_i|^2 = scale^2 |x_j - x_i|^2 in expectation, for honest x_i, x_j that are not among the known.

    A little less: the move opposes the known rows' mean, their noise too, which leads back towards the others.
    """
    ratios = []
    for seed in range(8):
        current, rows = _federation(known + 20, seed)
        sent = _sent(LoraGauge(scale=scale), _view(current, rows[:known]))
        others = rows[known:].double()
        mine = (others - sent.double()).square().sum(dim=1).mean()
        ratios.append(float(mine / (torch.pdist(others).square().mean())))
    assert 0.7 * scale**2 < np.mean(ratios) < 1.01 * scale**2


@pytest.mark.parametrize("seed", range(5))
def test_hide_opposes_the_honest_product_more_than_any_other_row_in_reach(seed: int) -> None:
    current, rows = _federation(6, seed)
    mean = rows.double().mean(dim=0)
    sent = _sent(LoraGauge(), _view(current, rows)).double()
    reach, honest = (sent - mean).norm(), _place(current, mean)
    found = float(_place(current, sent) @ honest)
    assert found < 0
    generator = torch.Generator().manual_seed(seed)
    tried = list(torch.randn(200, LAYOUT.size, generator=generator, dtype=torch.float64))
    tried += [sent - mean + 0.3 * reach * t / t.norm() for t in tried[:100]] + [-mean]  # near it, and a sign flip
    for direction in tried:
        other = mean + direction * (reach / direction.norm())
        assert float(_place(current, other) @ honest) > found


@pytest.mark.parametrize(("benign", "scale", "most"), [(False, 1.15, 3), (True, 1.0, 1)])
def test_krum_takes_it_by_its_factors_and_refuses_it_by_its_product(benign: bool, scale: float, most: int) -> None:
    taken = {"raw": 0, "product": 0}
    for seed in range(10):
        current, rows = _federation(12, seed, grown=0.3)
        view = _view(current, rows[:2], rows[2:] if benign else None)
        sent = _sent(LoraGauge(scale=scale), view)
        received = Rows(torch.cat([sent.expand(2, -1), rows[2:]]))
        for geometry in taken:
            weights = Krum(geometry=geometry).weights(received, _context(current))
            taken[geometry] += int(weights.argmax() < 2)
    assert taken["raw"] >= 9
    assert taken["product"] <= most


def test_all_colluders_send_one_vector_anew_in_each_round() -> None:
    current, rows = _federation(4)
    first = _view(current, rows)
    sent = [
        _sent(LoraGauge(), first),
        _sent(LoraGauge(), _view(current, rows, blackboard=first.blackboard, client=1), 1),
    ]
    assert torch.equal(sent[0], sent[1])
    later = _view(current, 2 * rows, blackboard=first.blackboard, round=2)
    assert not torch.equal(_sent(LoraGauge(), later), sent[0])


def test_under_gradients_hide_sends_the_gradient_that_makes_the_same_step() -> None:
    current, rows = _federation(5)
    step = _sent(LoraGauge(), _view(current, rows))
    gradient = _sent(LoraGauge(), _view(current, rows / -RATE, update="gradient"))
    torch.testing.assert_close(-RATE * gradient, step, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("rows", [torch.zeros(3, LAYOUT.size), _federation(1)[1].expand(3, -1)], ids=["zero", "equal"])
def test_rows_without_spread_leave_no_room_but_their_mean(rows: torch.Tensor) -> None:
    torch.testing.assert_close(_sent(LoraGauge(), _view(_federation(1)[0], rows)), rows[0])


def test_one_colluder_alone_takes_its_own_length_for_the_spread() -> None:
    current, rows = _federation(1)
    sent = _sent(LoraGauge(scale=0.5), _view(current, rows))
    assert float((sent - rows[0]).norm() / rows[0].norm()) == pytest.approx(0.5, rel=1e-4)


def _setup(*trainable: str) -> ModelSetup:
    return ModelSetup(parameters=LAYOUT.parameters, trainable=frozenset(trainable), dropout=False)


def test_it_needs_both_factors_of_a_pair() -> None:
    card = registry.attacks().get("lora-gauge")
    seen = frozenset({Asset.AGGREGATE})
    assert card.threat.needs <= visible(seen, _setup(A, B, HEAD))
    for lacking in ((HEAD,), (A, HEAD), (B, HEAD)):
        assert card.threat.needs - visible(seen, _setup(*lacking)) == {Asset.ADAPTERS}
    bare = Layout((_named(HEAD, (2, 3)),), (0,), 6)
    with pytest.raises(ValueError, match="LoRA adapters"):
        LoraGauge().on_update(Update(torch.zeros(6), 7), _view(torch.zeros(6), torch.zeros(2, 6), layout=bare))
