"""Product geometry: against full matrices B A in fp64, and what a change of gauge does to it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import Layout, ParameterInfo, Role, RoundContext, TrainingSettings
from fedsec.maths import geometry as module
from fedsec.maths.geometry import factor_pairs, gram, squared_distances
from fedsec.maths.rows import Rows

from ..bounds import off, within

pytestmark = pytest.mark.numeric

INPUTS, OUTPUTS, RANK = 11, 7, 3


def _named(name: str, shape: tuple[int, ...], factor: str | None = None) -> ParameterInfo:
    return ParameterInfo(name=name, shape=shape, role=Role.ADAPTER if factor else Role.HEAD, factor=factor)


def _layout(*parameters: ParameterInfo) -> Layout:
    sizes = [int(np.prod(p.shape)) for p in parameters]
    return Layout(parameters, tuple(int(x) for x in np.cumsum([0, *sizes])[:-1]), sum(sizes))


# Two adapted weights whose factors do not lie side by side, a head between, and a B whose A is frozen.
LAYOUT = _layout(
    _named("h.0.query.lora_A.default.weight", (RANK, INPUTS), "A"),
    _named("h.0.value.lora_A.default.weight", (RANK, INPUTS), "A"),
    _named("classifier.weight", (2, 5)),
    _named("h.0.query.lora_B.default.weight", (OUTPUTS, RANK), "B"),
    _named("h.0.value.lora_B.default.weight", (INPUTS, RANK), "B"),
    _named("h.1.query.lora_B.default.weight", (OUTPUTS, RANK), "B"),
    _named("classifier.bias", (2,)),
)


def _training(update: str) -> TrainingSettings:
    return TrainingSettings(update=update, optimizer="sgd", learning_rate=0.3, local_steps=1, batch_size=1)


def _context(current: torch.Tensor, update: str = "delta", layout: Layout = LAYOUT) -> RoundContext:
    return RoundContext(
        round=1, clients=(), examples=(), declared_malicious=0, layout=layout, training=_training(update),
        global_parameters=current, generator=torch.Generator(),
    )  # fmt: skip


def _drawn(rows: int, spread: float = 1.0, seed: int = 0, size: int = LAYOUT.size) -> tuple[torch.Tensor, torch.Tensor]:
    """Global trainables [parameters], and rows [rows, parameters] around a common one."""
    generator = torch.Generator().manual_seed(seed)
    current, common = torch.randn(2, size, generator=generator)
    return current, common + spread * torch.randn(rows, size, generator=generator)


def _parts(vector: np.ndarray) -> dict[str, np.ndarray]:
    return {
        info.name: vector[start : start + int(np.prod(info.shape))].reshape(info.shape)
        for info, start in zip(LAYOUT.parameters, LAYOUT.offsets, strict=True)
    }


def _slow_places(current: torch.Tensor, kept: np.ndarray, step: float) -> np.ndarray:
    """Each row's step with full matrices B A, all in fp64 [kept, columns]."""
    before, places = _parts(current.double().numpy()), []
    for row in kept:
        moved = {name: before[name] + step * part for name, part in _parts(row).items()}
        pieces = [step * part.ravel() for name, part in _parts(row).items() if name.startswith(("class", "h.1"))]
        for weight in ("query", "value"):
            a, b = f"h.0.{weight}.lora_A.default.weight", f"h.0.{weight}.lora_B.default.weight"
            pieces.append((moved[b] @ moved[a] - before[b] @ before[a]).ravel())
        places.append(np.concatenate(pieces))
    return np.array(places)


def _slow_distances(places: np.ndarray) -> np.ndarray:
    return np.array([[np.sum((a - b) ** 2) for b in places] for a in places])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 8),
    spread=st.sampled_from((1e-4, 1e-2, 1.0)),
    update=st.sampled_from((("delta", 1.0), ("gradient", -0.3))),
    seed=st.integers(0, 10_000),
)
def test_distances_and_products_equal_those_of_full_matrices(
    rows: int, spread: float, update: tuple[str, float], seed: int
) -> None:
    current, matrix = _drawn(rows, spread, seed)
    places = _slow_places(current, matrix.double().numpy(), update[1])
    context = _context(current, update[0])
    found = squared_distances(Rows(matrix), context, "product").numpy()
    within("distances: products of factors", off(found, _slow_distances(places)), 1e-9)
    assert (found == found.T).all()
    assert (np.diag(found) == 0).all()
    products = gram(Rows(matrix), context, "product").numpy()
    size = np.sqrt(np.diag(places @ places.T))
    error = np.abs(products - places @ places.T) / np.outer(size, size)
    within("inner products: products of factors", error.max(), 1e-12)
    assert (products == products.T).all()


def test_mixed_rows_stand_where_their_mixture_does() -> None:
    current, matrix = _drawn(5)
    mixing = torch.rand(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))  # lines of any sum
    places = _slow_places(current, (mixing @ matrix.double()).numpy(), 1.0)
    rows, context = Rows(matrix).mixed(mixing), _context(current)
    within("distances: mixed factors", off(squared_distances(rows, context, "product"), _slow_distances(places)), 1e-9)
    np.testing.assert_allclose(gram(rows, context, "product"), places @ places.T, rtol=1e-9)


@pytest.mark.parametrize("outlier", [1e3, 1e6, 1e30])
def test_hostile_rows_do_not_blur_the_distances_among_honest_ones(outlier: float) -> None:
    current, honest = _drawn(6, spread=1e-3)
    matrix = torch.cat([torch.full((2, LAYOUT.size), outlier), honest, torch.full((2, LAYOUT.size), -outlier)])
    slow = _slow_distances(_slow_places(current, honest.double().numpy(), 1.0))
    found = squared_distances(Rows(matrix), _context(current), "product")[2:8, 2:8]
    within("distances: products beside huge ones", off(found, slow), 1e-6)


@pytest.mark.parametrize("update", ["delta", "gradient"])
def test_without_pairs_it_is_the_raw_geometry_in_units_of_the_weights(update: str) -> None:
    layout = _layout(_named("classifier.weight", (4, 6)), _named("h.1.query.lora_B.default.weight", (OUTPUTS, 3), "B"))
    current, matrix = _drawn(5, size=layout.size)
    factor = 1.0 if update == "delta" else 0.3**2
    context = _context(current, update, layout)
    for own, raw in (
        (squared_distances(Rows(matrix), context, "product"), Rows(matrix).squared_distances()),
        (gram(Rows(matrix), context, "product"), Rows(matrix).gram()),
    ):
        np.testing.assert_allclose(own, factor * raw, rtol=1e-9)
    assert torch.equal(squared_distances(Rows(matrix), context, "raw"), Rows(matrix).squared_distances())
    assert torch.equal(gram(Rows(matrix), context, "raw"), Rows(matrix).gram())


def test_large_parts_come_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    current, matrix = _drawn(5)
    whole = squared_distances(Rows(matrix), _context(current), "product")
    monkeypatch.setattr(module, "CHUNK", 3)
    sizes: list[int] = []
    part = Rows.part

    def watched(self: Rows, start: int, stop: int) -> torch.Tensor:
        sizes.append(stop - start)
        return part(self, start, stop)

    monkeypatch.setattr(Rows, "part", watched)
    found = squared_distances(Rows(matrix), _context(current), "product")
    np.testing.assert_allclose(found, whole, rtol=1e-12)
    assert sum(sizes) == LAYOUT.size
    assert sorted(sizes)[-5] <= 3  # all but the four factors of the two pairs


def _regauged(current: torch.Tensor, row: torch.Tensor, turns: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The row whose pairs are (B R, R^-1 A): the same products."""
    found = row.double().clone()
    for weight, turn in turns.items():
        for half, change in (("A", torch.linalg.inv(turn)), ("B", turn)):
            name = f"h.0.{weight}.lora_{half}.default.weight"
            before = LAYOUT.tensor(current.double(), name)
            whole = before + LAYOUT.tensor(found, name)
            LAYOUT.tensor(found, name).copy_((change @ whole if half == "A" else whole @ change) - before)
    return found.float()


def _turn(seed: int, size: float) -> torch.Tensor:
    """An invertible matrix [rank, rank]: a rotation times `size`."""
    generator = torch.Generator().manual_seed(seed)
    return size * torch.linalg.qr(torch.randn(RANK, RANK, generator=generator, dtype=torch.float64)).Q


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.sampled_from((0.1, 1.0, 10.0)))
def test_no_change_of_gauge_moves_a_row(seed: int, size: float) -> None:
    current, matrix = _drawn(5, seed=seed)
    turned = matrix.clone()
    turned[1] = _regauged(current, matrix[1], {"query": _turn(seed + 1, size), "value": _turn(seed + 2, size)})
    context = _context(current)
    before, after = (squared_distances(Rows(m), context, "product") for m in (matrix, turned))
    within("distances: another gauge", off(after, before), 1e-4)  # the turned factors are rounded to fp32
    moved = (Rows(turned).squared_distances() / Rows(matrix).squared_distances())[1, [0, 2, 3, 4]]
    assert (moved - 1).abs().max() > 0.05  # the raw distances show it


def test_flipping_both_factors_is_no_step_and_flipping_one_is() -> None:
    """(-B)(-A) = B A."""
    current, matrix = _drawn(3, spread=0.0)
    a, b = ("h.0.query.lora_A.default.weight", "h.0.query.lora_B.default.weight")
    for name in (a, b):
        LAYOUT.tensor(matrix[1], name).copy_(
            -2 * LAYOUT.tensor(current, name) - LAYOUT.tensor(matrix[0], name)
        )  # current + row is minus what row 0 makes it
    LAYOUT.tensor(matrix[2], a).copy_(LAYOUT.tensor(matrix[1], a))
    found = squared_distances(Rows(matrix), _context(current), "product")
    assert found[0, 1] < 1e-9 * found[0, 2]
    assert Rows(matrix).squared_distances()[0, 1] > Rows(matrix).squared_distances()[0, 2]


def test_pairs_are_found_by_name_whatever_their_order() -> None:
    pairs = factor_pairs(LAYOUT)
    assert [(p.a.name, p.b.name) for p in pairs] == [
        (f"h.0.{w}.lora_A.default.weight", f"h.0.{w}.lora_B.default.weight") for w in ("query", "value")
    ]
    for pair in pairs:
        assert pair.a_start == LAYOUT.offsets[LAYOUT.parameters.index(pair.a)]
        assert pair.b_start == LAYOUT.offsets[LAYOUT.parameters.index(pair.b)]


def test_pairs_of_a_real_adapted_model_are_found() -> None:
    from fedsec.models import tiny_bert
    from fedsec.models.flat import FlatModel
    from fedsec.models.tuning import prepare

    settings_: dict[str, Any] = {"train_embeddings": False, "dropout": False}
    base = tiny_bert.load(labels=2, generator=torch.Generator().manual_seed(0), layers=2, width=16)
    model, setup = prepare(base.module, kind="lora", rank=4, generator=torch.Generator().manual_seed(0), **settings_)
    layout = FlatModel(model, setup).layout
    pairs = factor_pairs(layout)
    assert [(p.a.layer, p.a.adapts) for p in pairs] == [(p.b.layer, p.b.adapts) for p in pairs]
    assert {(p.a.layer, p.a.adapts) for p in pairs} == {(i, r) for i in (0, 1) for r in (Role.QUERY, Role.VALUE)}
    assert all(p.a.shape[0] == p.b.shape[1] == 4 for p in pairs)


def test_an_unknown_geometry_is_refused() -> None:
    current, matrix = _drawn(3)
    for measure in (squared_distances, gram):
        with pytest.raises(ValueError, match="raw, product"):
            measure(Rows(matrix), _context(current), "hyperbolic")
