"""Label flip: which rows get which wrong label, and what that costs."""

from pathlib import Path

import pytest

from fedsec import registry
from fedsec.api import Position, Sample
from fedsec.attacks.poisoning.label_flip import LabelFlip

from .support import cells, rows, view


def _labels(found: tuple[Sample, ...]) -> list[int]:
    return [one.label for one in found]


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_by_default_every_row_gets_the_next_class_and_the_last_class_the_first(classes: int) -> None:
    found = LabelFlip().on_data(rows(60, classes), view(classes=tuple(map(str, range(classes)))))
    assert _labels(found) == [(i % classes + 1) % classes for i in range(60)]


def test_a_source_alone_is_flipped_to_the_next_class() -> None:
    found = LabelFlip(source=2).on_data(rows(9), view())
    assert _labels(found) == [0, 1, 0] * 3


def test_a_target_alone_is_what_all_become() -> None:
    assert _labels(LabelFlip(target=1).on_data(rows(9), view())) == [1] * 9


def test_source_and_target_change_one_class_and_no_other() -> None:
    assert _labels(LabelFlip(source=0, target=2).on_data(rows(9), view())) == [2, 1, 2] * 3


def test_source_and_target_alike_change_nothing() -> None:
    assert LabelFlip(source=1, target=1).on_data(rows(), view()) == rows()


def test_only_labels_change() -> None:
    found = LabelFlip().on_data(rows(), view())
    assert [(one.text, one.prompt, one.origin) for one in found] == [(o.text, o.prompt, o.origin) for o in rows()]


@pytest.mark.parametrize(("rate", "flipped"), [(0.0, 0), (0.25, 10), (0.5, 20), (1.0, 40)])
def test_the_rate_is_of_the_rows_that_could_be_flipped(rate: float, flipped: int) -> None:
    """Of 60 rows 40 are of other classes than the target."""
    own = rows()
    found = LabelFlip(target=1, rate=rate).on_data(own, view())
    assert sum(before.label != after.label for before, after in zip(own, found, strict=True)) == flipped


def test_the_same_rows_are_flipped_in_every_round_and_after_the_state_was_loaded() -> None:
    attack = LabelFlip(rate=0.5)
    first = attack.on_data(rows(), view(3))
    assert attack.on_data(rows(), view(4)) == first
    assert attack.on_data(rows()[::-1], view(5)) == first[::-1]
    other = LabelFlip(rate=0.5)
    other.load_state(attack.state())
    assert other.on_data(rows(), view(9)) == first
    assert LabelFlip(rate=0.5).on_data(rows(), view(4)) != first  # or the memory is not needed


def test_state_before_the_first_round_is_no_memory() -> None:
    attack = LabelFlip(rate=0.5)
    attack.load_state(LabelFlip(rate=0.5).state())
    assert attack.on_data(rows(), view()) == LabelFlip(rate=0.5).on_data(rows(), view())


@pytest.mark.parametrize("parameters", [{"source": 3}, {"target": 3}, {"source": 0, "target": 17}])
def test_a_class_that_is_none_is_an_error_that_names_those_there_are(parameters: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"3 is no class|17 is no class") as error:
        LabelFlip(**parameters).on_data(rows(), view())
    assert "0 (bad), 1 (good), 2 (odd)" in str(error.value)


def test_six_liars_of_seven_ruin_the_model_and_one_of_seven_does_not(tmp_path: Path) -> None:
    many = cells(tmp_path, {"name": "label-flip"}, 6)
    one = cells(tmp_path, {"name": "label-flip"}, 1, control=False)
    accuracy = {
        name: cell["cell"]["metrics"]["utility/accuracy"]
        for name, cell in (("none", many["none"]), ("many", many["label-flip"]), ("one", one["label-flip"]))
    }
    assert accuracy["none"]["ci_low"] > 0.9
    assert accuracy["many"]["ci_high"] < 0.4
    assert accuracy["one"]["value"] > accuracy["none"]["value"] - 0.1


@pytest.mark.parametrize(("name", "value"), [("source", -2), ("target", -2), ("target", 0.5), ("rate", 1.1)])
def test_parameters_that_make_no_sense_are_refused_by_the_card(name: str, value: object) -> None:
    (found,) = [p for p in registry.attacks().get("label-flip").parameters if p.name == name]
    assert found.problem(value) is not None


def test_the_card_says_what_it_is_and_builds_it() -> None:
    card = registry.attacks().get("label-flip")
    assert (card.threat.position, card.threat.goal) == (Position.CLIENT, "untargeted")
    assert registry.load_target(card)(**card.resolve({})) == LabelFlip()
