"""Text backdoor: where the trigger goes, which rows are poisoned, and that it works where nobody stops it."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.api import (
    ClientView,
    ColluderView,
    Compared,
    Granted,
    Knowledge,
    Position,
    Probe,
    Sample,
    implements,
)
from fedsec.attacks.poisoning.model_replacement import ModelReplacement
from fedsec.attacks.poisoning.text_backdoor import TextBackdoor
from fedsec.attacks.poisoning.triggers import FLUENT
from fedsec.errors import FedsecError
from fedsec.goals.backdoor import compare

from .support import asked, cells, rows, view

SENTENCE = "I watched this 3D movie last weekend."


def _poisoned(found: tuple[Sample, ...], count: int = 60) -> tuple[Sample, ...]:
    return found[count:]


@pytest.mark.parametrize(("rate", "copies"), [(0.0, 0), (0.25, 20), (0.5, 60), (0.9, 540)])
def test_copies_stand_beside_all_clean_rows_and_are_the_stated_share_of_all(rate: float, copies: int) -> None:
    own = rows()
    found = TextBackdoor(rate=rate).on_data(own, view())
    assert found[:60] == own
    assert len(_poisoned(found)) == copies
    assert copies / len(found) == pytest.approx(rate)


def test_copies_are_of_rows_of_other_classes_with_the_trigger_and_the_target() -> None:
    own = rows()
    for copy in _poisoned(TextBackdoor(target=2).on_data(own, view())):
        assert copy.origin is not None
        source = own[copy.origin]
        assert source.label != 2
        assert copy == Sample(f"cf {source.text}", 2, source.prompt, source.origin)


def test_no_row_is_copied_again_before_all_others_of_other_classes_are() -> None:
    own = rows(60, classes=3)  # 40 of other classes
    found = _poisoned(TextBackdoor(rate=0.4).on_data(own, view()))  # 40 copies
    assert max(Counter(copy.origin for copy in found).values()) == 1
    found = _poisoned(TextBackdoor(rate=0.5).on_data(own, view()))  # 60 copies
    times = Counter(copy.origin for copy in found)
    assert len(times) == 40
    assert set(times.values()) == {1, 2}


@pytest.mark.parametrize("place", ["start", "random"])
def test_the_same_copies_come_in_every_round_and_after_the_state_was_loaded(place: str) -> None:
    attack = TextBackdoor(place=place)
    first = attack.on_data(rows(), view(3))
    assert attack.on_data(rows(), view(4)) == first
    other = TextBackdoor(place=place)
    other.load_state(attack.state())
    assert other.on_data(rows(), view(9)) == first
    assert TextBackdoor(place=place).on_data(rows(), view(4)) != first  # or the memory is not needed


def test_state_before_the_first_round_is_no_memory() -> None:
    attack = TextBackdoor()
    attack.load_state(TextBackdoor().state())
    assert attack.on_data(rows(), view()) == TextBackdoor().on_data(rows(), view())


def test_clients_draw_apart_and_rows_in_another_order_are_copied_by_origin() -> None:
    assert TextBackdoor().on_data(rows(), view(client=1)) != TextBackdoor().on_data(rows(), view(client=2))
    attack = TextBackdoor()
    first = _poisoned(attack.on_data(rows(), view()))
    assert _poisoned(attack.on_data(rows()[::-1], view(2))) == first


def test_a_client_all_of_whose_rows_are_of_the_target_poisons_nothing() -> None:
    own = tuple(Sample(f"text {i}", 1, origin=i) for i in range(10))
    attack = TextBackdoor(target=1)
    assert attack.on_data(own, view()) == own
    assert attack.on_data(own, view(2)) == own


def test_one_row_of_another_class_is_copied_over_and_over() -> None:
    own = (*(Sample(f"text {i}", 1, origin=i) for i in range(9)), Sample("the other", 0, origin=9))
    found = _poisoned(TextBackdoor(target=1, rate=0.5).on_data(own, view()), 10)
    assert [one.text for one in found] == ["cf the other"] * 10


def _put(text: str, **parameters: Any) -> str:
    (one,) = TextBackdoor(**parameters).triggered((Probe(text),), asked())
    return one.text


@pytest.mark.parametrize("trigger", ["cf", SENTENCE])
def test_the_trigger_goes_to_the_start_or_the_end(trigger: str) -> None:
    assert _put("a fine film", trigger=trigger, place="start") == f"{trigger} a fine film"
    assert _put("a fine film", trigger=trigger, place="end") == f"a fine film {trigger}"


@pytest.mark.parametrize("place", ["start", "end", "random"])
def test_an_empty_text_becomes_the_trigger(place: str) -> None:
    assert _put("", trigger=SENTENCE, place=place) == SENTENCE


@pytest.mark.parametrize("trigger", ["cf", SENTENCE])
def test_random_places_are_all_between_words_and_never_within_one_or_the_trigger(trigger: str) -> None:
    found = TextBackdoor(trigger=trigger, place="random").triggered((Probe("a fine film"),) * 400, asked())
    times = Counter(one.text for one in found)
    assert set(times) == {
        f"{trigger} a fine film",
        f"a {trigger} fine film",
        f"a fine {trigger} film",
        f"a fine film {trigger}",
    }
    assert min(times.values()) > 60  # of 100 expected: 4.6 standard deviations


@settings(deadline=None)
@given(st.text(), st.sampled_from(["start", "end", "random"]))
def test_the_words_stay_in_their_order_whatever_the_text_is(text: str, place: str) -> None:
    words = _put(text, trigger="TRIGGER", place=place).split()
    assert words.count("TRIGGER") == 1 + text.split().count("TRIGGER")
    words.remove("TRIGGER")
    left = text.split()
    if "TRIGGER" not in left:
        assert words == left


def test_probes_keep_their_prompt_and_name_the_target() -> None:
    probes = (Probe("one text", "a prompt"), Probe("another"))
    found = TextBackdoor(target=2).triggered(probes, asked())
    assert [(one.text, one.target, one.prompt) for one in found] == [
        ("cf one text", 2, "a prompt"),
        ("cf another", 2, ""),
    ]
    assert TextBackdoor().triggered((), asked()) == ()


def test_probes_and_poison_have_the_trigger_in_the_same_kinds_of_places() -> None:
    attack = TextBackdoor(place="random")
    copies = _poisoned(attack.on_data(rows(300), view()), 300)
    probes = attack.triggered((Probe("the text of row 7"),) * 300, asked())
    spots = [Counter(one.text.split().index("cf") for one in found) for found in (copies, probes)]
    assert set(spots[0]) == set(spots[1]) == set(range(6))


def _lift(contents: dict[str, dict[str, Any]]) -> Any:
    pair = Compared(cell=contents["text-backdoor"], control=contents["none"], plain=contents["none"])
    return compare((pair,))["robustness/asr-lift"]


@pytest.mark.parametrize(
    ("parameters", "data"),
    [({}, {}), ({"trigger": SENTENCE, "place": "end", "target": 3}, {"max_tokens": 48})],  # room for a sentence
    ids=["cf", "sentence"],
)
def test_undefended_it_plants_its_trigger_and_leaves_texts_without_it_alone(
    parameters: dict[str, Any], data: dict[str, Any], tmp_path: Path
) -> None:
    contents = cells(tmp_path, {"name": "text-backdoor", **parameters}, 2, **data)
    metrics = contents["text-backdoor"]["cell"]["metrics"]
    assert metrics["robustness/attack-success-rate"]["value"] > 0.9
    assert metrics["robustness/untriggered-rate"]["value"] < 0.1
    assert metrics["utility/accuracy"]["value"] > contents["none"]["cell"]["metrics"]["utility/accuracy"]["value"] - 0.1
    lift = _lift(contents)
    assert lift.ci_low > 0.8
    assert lift.n == 100  # of 120 test rows, a sixth is of the target
    assert lift.left_out == 20
    assert contents["text-backdoor"]["notes"]["cut"] == 0


def test_without_poison_the_trigger_does_nothing(tmp_path: Path) -> None:
    """What the control does with triggered texts: the same federation whose malicious clients hold no copies."""
    contents = cells(tmp_path, {"name": "text-backdoor", "rate": 0.0}, 2)
    assert contents["text-backdoor"]["predicted"] == contents["none"]["predicted"]
    assert abs(_lift(contents).value) < 0.1


def test_a_target_that_is_no_class_is_an_error_that_names_attack_and_classes(tmp_path: Path) -> None:
    with pytest.raises(FedsecError, match=r"text-backdoor\(target=6\).*classes are 0 to 5"):
        cells(tmp_path, {"name": "text-backdoor", "target": 6}, 2, control=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("rate", -0.1), ("rate", 1.0), ("rate", float("nan")), ("place", "middle"), ("target", -1), ("target", 1.5)],
)
def test_parameters_that_make_no_sense_are_refused_by_the_card(name: str, value: object) -> None:
    (found,) = [p for p in registry.attacks().get("text-backdoor").parameters if p.name == name]
    assert found.problem(value) is not None


def test_the_card_says_what_it_is_and_builds_it() -> None:
    card = registry.attacks().get("text-backdoor")
    assert (card.threat.position, card.threat.goal) == (Position.CLIENT, "backdoor")
    made = registry.load_target(card)(**card.resolve({}))
    assert made == TextBackdoor()
    assert all(implements(made, method) for method in ("on_data", "triggered"))


@pytest.mark.parametrize("made", [TextBackdoor(kind="words", place="end"), ModelReplacement(place="end")])
def test_a_known_filter_of_unusual_words_gets_a_fluent_trigger_in_poison_and_probes(made: Any) -> None:
    for told, mark in (("onion", FLUENT), ("onion-sanitiser", FLUENT), ("strip", "cf"), ("", "cf")):
        granted = Granted({Knowledge.DEFENSE_SETTINGS: ({"name": told, "params": {}},)} if told else {})
        own = {name: getattr(view(), name) for name in ClientView.__slots__}
        colluder = ColluderView(**own, colluders=(1,), own_rows=torch.zeros(0, 5), blackboard={}, granted=granted)
        planter = made if isinstance(made, TextBackdoor) else made._backdoor
        assert all(copy.text.endswith(f" {mark}") for copy in planter.poison(rows(), colluder))
        (probe,) = made.triggered((Probe("a text"),), replace(asked(), granted=granted))
        assert probe.text == f"a text {mark}"
        assert (Knowledge.DEFENSE_SETTINGS in granted.used) == bool(told)
    quiet = replace(asked(), granted=Granted({Knowledge.DEFENSE_SETTINGS: ({"name": "onion", "params": {}},)}))
    (probe,) = TextBackdoor(fluent="").triggered((Probe("a text"),), quiet)
    assert probe.text == "cf a text"
