"""What all rules have in common that work from distances and angles."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from fedsec import registry
from fedsec.api import Layout, ParameterInfo, Population, Role

from .gram_support import decide, normal

pytestmark = pytest.mark.numeric

NAMES = ("krum", "multi-krum", "geometric-median", "mda", "centered-clipping", "fltrust", "foolsgold")
SETTINGS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    *((name, {}) for name in NAMES),
    ("krum", {"neighbours": "allouah"}),
    ("multi-krum", {"neighbours": "allouah"}),
    ("multi-krum", {"m": 2}),
    ("centered-clipping", {"iterations": 4, "radius": 0.5}),
)
settings = pytest.mark.parametrize(("name", "params"), SETTINGS, ids=lambda value: str(value).replace(" ", ""))


def _make(name: str, params: Mapping[str, Any]) -> Any:
    card = registry.defenses().get(name)
    return registry.load_target(card)(**card.resolve(params))


def _trusted(matrix: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: matrix[:5].mean(dim=0)


@settings
def test_weights_are_fp64_and_what_was_handed_in_stays(name: str, params: Mapping[str, Any]) -> None:
    matrix = 0.5 + normal(9, 20)
    before = matrix.clone()
    found = decide(_make(name, params), matrix, 2, trusted=_trusted(matrix))
    assert found.weights.dtype == torch.float64
    assert found.weights.shape == (9,)
    assert bool((found.weights >= 0).all())
    assert float(found.weights.sum()) > 0
    assert torch.equal(matrix, before)


@settings
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows_do_not_break_it(name: str, params: Mapping[str, Any], n: int) -> None:
    matrix = 1.0 + normal(n, 6)
    for f in range(n + 2):
        found = decide(_make(name, params), matrix, f, trusted=_trusted(matrix))
        assert bool(found.vector.isfinite().all())
        assert bool(found.weights.isfinite().all())


@settings
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_rows_do_not_break_it(name: str, params: Mapping[str, Any], value: float) -> None:
    matrix = torch.full((7, 4), value)
    found = decide(_make(name, params), matrix, 2, trusted=_trusted(matrix))
    assert bool(found.vector.isfinite().all())
    if name != "foolsgold" and params.get("radius", 1.0) == 1.0:  # one takes them for sybils, one goes half way
        assert found.vector.tolist() == pytest.approx([value] * 4, rel=1e-6)


@settings
@pytest.mark.parametrize("size", [1e3, 1e6, 1e30, 3e38])
def test_the_result_stays_with_the_honest_rows_however_far_out_the_others_are(
    name: str, params: Mapping[str, Any], size: float
) -> None:
    """FoolsGold alone is not made for them: what looks like no other row has its full weight."""
    honest = 1.0 + 0.1 * normal(7, 40)
    matrix = torch.cat([honest, torch.full((2, 40), -size)])
    found = decide(_make(name, params), matrix, 2, trusted=_trusted(honest))
    assert bool(found.vector.isfinite().all())
    if name == "foolsgold":
        assert found.weights[7:].tolist() == [0.0, 0.0]  # the two are alike
    else:
        assert float((found.vector - honest.mean(dim=0)).norm()) < 0.5 * float(honest.mean(dim=0).norm())


@settings
def test_the_choice_among_honest_rows_is_the_same_at_any_size_of_the_others(
    name: str, params: Mapping[str, Any]
) -> None:
    honest = 0.1 + 1e-3 * normal(8, 50, seed=3)
    found = [
        decide(_make(name, params), torch.cat([honest, torch.full((2, 50), -size)]), 2, trusted=_trusted(honest))
        for size in (1e3, 1e6, 1e30)
    ]
    for other in found[1:]:
        assert other.weights[:8].tolist() == pytest.approx(found[0].weights[:8].tolist(), rel=1e-6, abs=1e-12)


@settings
def test_rows_that_a_filter_scaled_and_dropped_are_what_is_judged(name: str, params: Mapping[str, Any]) -> None:
    matrix = 0.5 + normal(9, 20)
    mixing = torch.diag(torch.linspace(0.5, 1.5, 9, dtype=torch.float64))[[0, 2, 3, 4, 5, 7, 8]]
    mixed = decide(_make(name, params), matrix, 1, mixing, trusted=_trusted(matrix))
    direct = decide(_make(name, params), (mixing @ matrix.double()).float(), 1, trusted=_trusted(matrix))
    assert mixed.weights.tolist() == pytest.approx(direct.weights.tolist(), rel=1e-5, abs=1e-9)


@settings
def test_rows_that_a_filter_averaged_are_what_is_judged(name: str, params: Mapping[str, Any]) -> None:
    matrix = 0.5 + normal(9, 20)
    mixing = torch.rand(7, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if name == "foolsgold":
        with pytest.raises(ValueError, match="one client each"):
            decide(_make(name, params), matrix, 1, mixing)
        return
    mixed = decide(_make(name, params), matrix, 1, mixing, trusted=_trusted(matrix))
    direct = decide(_make(name, params), (mixing @ matrix.double()).float(), 1, trusted=_trusted(matrix))
    assert mixed.weights.tolist() == pytest.approx(direct.weights.tolist(), rel=1e-4, abs=1e-6)


RANK, INPUTS, OUTPUTS = 2, 5, 4
PAIR = (
    ParameterInfo("q.lora_A.weight", (RANK, INPUTS), Role.ADAPTER, factor="A", adapts=Role.QUERY),
    ParameterInfo("q.lora_B.weight", (OUTPUTS, RANK), Role.ADAPTER, factor="B", adapts=Role.QUERY),
)
LAYOUT = Layout(PAIR, (0, RANK * INPUTS), RANK * (INPUTS + OUTPUTS))


@settings
def test_in_the_products_geometry_a_rescaled_pair_is_the_same_row(name: str, params: Mapping[str, Any]) -> None:
    """(c B, A / c) is the same change of the model; among the raw factors it is another row."""
    before = normal(LAYOUT.size, seed=5)
    matrix = 0.3 + 0.5 * normal(9, LAYOUT.size, seed=6)
    turned = matrix.clone()
    for client in (0, 3, 4, 8):
        factors = before + matrix[client]
        factors[: RANK * INPUTS] /= 4
        factors[RANK * INPUTS :] *= 4
        turned[client] = factors - before
    given = {"layout": LAYOUT, "global_parameters": before, "trusted": _trusted(matrix)}
    for geometry, same in (("product", True), ("raw", False)):
        one, other = (
            decide(_make(name, {**params, "geometry": geometry}), each, 2, **given).weights for each in (matrix, turned)
        )
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6) == same, geometry


def test_a_typing_error_in_the_geometry_is_no_silent_raw() -> None:
    for name in NAMES:
        problem = next(p for p in registry.defenses().get(name).parameters if p.name == "geometry").problem("products")
        assert problem is not None


@pytest.mark.parametrize("f", range(6))
@pytest.mark.parametrize("name", ["geometric-median", "mda", "centered-clipping"])
def test_the_precondition_turns_at_the_majority_and_says_it(name: str, f: int) -> None:
    card = registry.defenses().get(name)
    assert card.precondition is not None
    parameters = card.resolve({})
    assert card.precondition(Population(clients=2 * f + 1, declared_malicious=f), parameters) is None
    refusal = card.precondition(Population(clients=2 * f, declared_malicious=f), parameters)
    assert refusal == f"{name} needs n > 2f = {2 * f}, has {2 * f}"


@pytest.mark.parametrize("name", ["geometric-median", "mda", "krum", "bulyan"])
def test_the_guarantee_says_when_it_does_not_hold(name: str) -> None:
    card = registry.defenses().get(name)
    assert card.guarantee
    assert card.assumption_broken is not None
    within = Population(clients=11, declared_malicious=2, malicious=2)
    assert card.assumption_broken(within, card.resolve({})) is None
    assert "products" in (card.assumption_broken(within, card.resolve({"geometry": "product"})) or "")
    more = Population(clients=11, declared_malicious=2, malicious=3)
    assert "more than the declared 2" in (card.assumption_broken(more, card.resolve({})) or "")


def test_what_has_no_theorem_here_states_none() -> None:
    for name in ("multi-krum", "centered-clipping", "fltrust", "foolsgold"):
        assert registry.defenses().get(name).guarantee is None
