"""The registry: names to cards, lazily, with third parties that may be broken."""

import sys
import types
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from fedsec import registry
from fedsec.api import AttackCard, Behaviour, Card, DefenseCard, Position, ThreatModel
from fedsec.errors import DuplicateNameError, FedsecError, UnknownNameError
from fedsec.registry import Registry, load_target

THREAT = ThreatModel(position=Position.CLIENT, behaviour=Behaviour.MALICIOUS, goal="untargeted")
MODULE = "fedsec_registry_test_module"


def _attack(name: str, target: str = "json:loads") -> AttackCard:
    return AttackCard(name=name, summary="A test.", target=target, threat=THREAT)


def _registry(*names: str) -> Registry[AttackCard]:
    made = Registry("attacks", AttackCard)
    for name in names:
        made.register(_attack(name))
    return made


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes an importable module with the given attributes."""

    def make(**attributes: Any) -> None:
        made = types.ModuleType(MODULE)
        for name, value in attributes.items():
            setattr(made, name, value)
        monkeypatch.setitem(sys.modules, MODULE, made)

    return make


def _points(*attributes: str) -> list[EntryPoint]:
    return [EntryPoint(f"point-{a}", f"{MODULE}:{a}", "fedsec.attacks") for a in attributes]


def test_a_card_is_found_by_its_name() -> None:
    made = _registry("b", "a")
    assert made.get("a").name == "a"
    assert "a" in made
    assert "c" not in made
    assert 7 not in made
    assert [card.name for card in made] == ["a", "b"]


@pytest.mark.parametrize(
    ("typo", "meant"), [("sign-flop", "sign-flip"), ("signflip", "sign-flip"), ("dagger", "dager")]
)
def test_a_typo_gets_the_nearest_name(typo: str, meant: str) -> None:
    made = _registry("sign-flip", "dager", "gradient-cosine")
    with pytest.raises(
        UnknownNameError, match=rf"unknown attack '{typo}'. Did you mean {meant}\? Run: fedsec list attacks"
    ):
        made.get(typo)


def test_a_name_like_no_other_gets_all_of_them() -> None:
    with pytest.raises(UnknownNameError, match=r"Known: a, b\. Run: fedsec list attacks"):
        _registry("b", "a").get("zzzzzz")


def test_a_name_is_taken_once_and_the_message_names_both_sides() -> None:
    made = _registry("a")
    with pytest.raises(DuplicateNameError, match="two attacks are called 'a': json:loads and other:thing"):
        made.register(_attack("a", "other:thing"))
    assert made.get("a").target == "json:loads"


@pytest.mark.parametrize("card", [Card(name="x", summary="A card of no kind."), None, "x", AttackCard])
def test_a_card_of_another_kind_is_refused(card: Any) -> None:
    with pytest.raises(TypeError, match="no AttackCard"):
        _registry().register(card)
    defense = DefenseCard(name="x", summary="A defense.", protects="privacy")
    with pytest.raises(TypeError, match="no AttackCard"):
        _registry().register(defense)  # type: ignore[arg-type]


def test_entry_points_bring_cards(module: Callable[..., None]) -> None:
    module(CARDS=(_attack("one"), _attack("two")), MORE=[_attack("three")])
    made = _registry()
    made.discover(_points("CARDS", "MORE"))
    assert [card.name for card in made] == ["one", "three", "two"]
    assert made.broken == {}


def test_a_broken_entry_point_is_noted_and_the_others_stay(module: Callable[..., None]) -> None:
    def explode() -> Any:
        raise RuntimeError("on iteration")
        yield

    module(GOOD=(_attack("good"),), NOTHING=None, WRONG=("text",), TAKEN=(_attack("good"),), LATE=explode())
    made = _registry()
    broken = ("MISSING", "NOTHING", "WRONG", "TAKEN", "LATE")
    made.discover([*_points("GOOD", *broken), EntryPoint("gone", "no_such_module_of_fedsec:CARDS", "fedsec.attacks")])
    assert [card.name for card in made] == ["good"]
    assert set(made.broken) == {*(f"point-{name}" for name in broken), "gone"}
    assert made.broken["point-LATE"] == f"{MODULE}:LATE: on iteration"
    assert "no_such_module_of_fedsec" in made.broken["gone"]


def test_a_target_is_imported_when_it_is_used_and_not_before() -> None:
    sys.modules.pop("this_module_does_not_exist", None)
    made = _registry()
    made.register(_attack("lazy", "this_module_does_not_exist:Thing"))
    assert made.get("lazy").target
    with pytest.raises(FedsecError, match="'lazy' cannot be loaded from this_module_does_not_exist:Thing"):
        load_target(made.get("lazy"))


def test_a_target_is_the_object_it_names() -> None:
    import json

    assert load_target(_attack("x", "json:loads")) is json.loads


@pytest.mark.parametrize("target", ["", ":", "json", "json:", "json:nothing", ":loads", ".json:loads", "json:loads:x"])
def test_a_target_that_names_nothing_is_said_to_be_so(target: str) -> None:
    with pytest.raises(FedsecError, match="'x' cannot be loaded"):
        load_target(_attack("x", target))


@pytest.mark.parametrize("raised", [ImportError, SyntaxError, RuntimeError, OSError, KeyError])
def test_a_third_partys_module_may_raise_anything(raised: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise raised("in the third party's code")

    monkeypatch.setattr(registry.importlib, "import_module", refuse)
    with pytest.raises(FedsecError, match="in the third party's code"):
        load_target(_attack("x"))


@pytest.mark.parametrize("kind", ["attacks", "defenses", "models", "datasets", "metrics"])
def test_the_built_in_cards_are_whole(kind: str) -> None:
    cards: list[Card] = list(getattr(registry, kind)())
    assert cards
    for card in cards:
        assert card.summary.endswith("."), card.name
        assert card.name == card.name.lower().replace("_", "-").replace(" ", "-")
        for parameter in card.parameters:
            assert parameter.problem(parameter.default) is None, f"{card.name}.{parameter.name}"
            assert parameter.summary
        if kind != "metrics":
            assert callable(load_target(card)), card.name


def test_the_registry_is_read_once() -> None:
    assert registry.attacks() is registry.attacks()
