"""Probes, what is left out of them, and the lift of a trigger over what the model says anyway."""

from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedsec.api import Compared, Sample, Stage, Staged, Triggered, TriggerView, Truth, Watched
from fedsec.errors import FedsecError
from fedsec.goals.backdoor import Backdoor, _cut, compare

TEST = tuple(Sample(f"text {row}", row % 2) for row in range(6))


class _Words:
    """A tokenizer of sorts: a word is an id."""

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def __call__(self, samples: Any) -> list[list[int]]:
        return [[hash(word) for word in one.text.split()][: self._longest] for one in samples]


def _stage(attack: Any, longest: int = 5, task: str = "sequence-classification") -> Staged:
    view = TriggerView(classes=("no", "yes"), tokenizer=None, generator=None)  # type: ignore[arg-type]
    return Backdoor().stage(
        Stage(
            train=(), rows=(), test=TEST, classes=("no", "yes"), candidates=(), attack=attack, view=view,
            tokenise=_Words(longest), whole=_Words(99), label="my-trigger", generator=np.random.default_rng(0),
            task=task,
        )
    )  # fmt: skip


class _Appends:
    def __init__(self, word: str = "cf", target: Any = 1) -> None:
        self._word, self._target = word, target

    def triggered(self, probes: Any, view: Any) -> Any:
        return tuple(Triggered(f"{probe.text} {self._word}", self._target) for probe in probes)


def test_a_probe_has_no_label_and_rows_of_the_target_class_are_left_out() -> None:
    seen: list[Any] = []

    class Looks(_Appends):
        def triggered(self, probes: Any, view: Any) -> Any:
            seen.extend(probes)
            return super().triggered(probes, view)

    staged = _stage(Looks())
    assert not any(hasattr(probe, "label") for probe in seen)
    assert staged.kept.rows == (0, 2, 4)
    assert staged.kept.of_target == 3
    assert [one.text for one in staged.watched["triggered"]] == ["text 0 cf", "text 2 cf", "text 4 cf"]
    assert all(one.label == 0 for one in staged.watched["triggered"])


def test_triggers_that_truncation_takes_away_are_counted() -> None:
    assert _stage(_Appends(), longest=3).kept.cut == 0
    assert _stage(_Appends(), longest=2).kept.cut == 3
    assert _stage(_Appends("a sentence"), longest=3).kept.cut == 3


def test_a_word_of_the_trigger_in_a_texts_own_lost_end_is_no_lost_trigger() -> None:
    plain, trigger, end = [9, 1, 2, 3, 7, 4, 8], 7, 8  # the text has the trigger's token itself
    first, last = [9, trigger, 1, 2, 3, 7, 4, end], [9, 1, 2, 3, 7, 4, trigger, end]
    assert not _cut(plain, first, [9, trigger, 1, 2, end])
    assert _cut(plain, last, [9, 1, 2, 3, 7, end])
    assert not _cut(plain, last, last)
    framed = [9, 5, 1, 2, 6, 3, 7, 4, end]  # 5 and 6 are the frame
    assert not _cut(plain, framed, [9, 5, 1, 2, 6, 3, end])
    assert _cut(plain, framed, [9, 5, 1, 2, end])
    prompted = [9, 1, 2, trigger, 3, 7, 4, 4, end]  # a prompt loses its beginning, and a text its end
    assert not _cut([9, 1, 2, 3, 7, 4, 4, end], prompted, [9, 2, trigger, 3, 7, 4])
    assert _cut([9, 1, 2, 3, 7, 4, 4, end], prompted, [9, 3, 7, 4])


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda probes: list(probes), "must return a tuple of 6 Triggered"),
        (lambda probes: (Triggered("x", 1),), "must return a tuple of 6 Triggered"),
        (lambda probes: tuple(Triggered("x", 2) for _ in probes), "target 2; classes are 0 to 1"),
        (lambda probes: tuple(Triggered("x", -1) for _ in probes), "target -1"),
        (lambda probes: tuple(Triggered("x", True) for _ in probes), "target True"),
        (lambda probes: tuple(Triggered(None, 1) for _ in probes), "whose text is no text"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_answer_is_an_error_that_names_the_plug_in(answer: Any, fault: str) -> None:
    attack = SimpleNamespace(triggered=lambda probes, view: answer(probes))
    with pytest.raises(FedsecError, match=rf"my-trigger.*{fault}"):
        _stage(attack)


class _Continues:
    def __init__(self, target: Any = "END") -> None:
        self._target = target

    def triggered(self, probes: Any, view: Any) -> Any:
        return tuple(Triggered("END", self._target, f"{one.text} cf", one.text) for one in probes)


def test_a_language_model_is_to_write_the_target_and_is_asked_with_and_without_the_trigger() -> None:
    staged = _stage(_Continues(), longest=9, task="causal-lm")
    for name, ending in (("triggered", " cf"), ("untriggered", "")):
        assert [(one.text, one.prompt) for one in staged.watched[name]] == [
            ("END", f"text {row}{ending}") for row in range(6)
        ]
    truth = _truth((1, 1, 0, 1, 1, 1), (), staged)
    plain = Watched(((0, (0, 1, 0, 0, 0, 0)), (2, (1, 0, 0, 0, 0, 0))), (1, 0, 0, 0, 0, 0))
    marked = Watched((), (1, 1, 0, 1, 1, 1))
    truth = replace(truth, curve=(), watched={"triggered": marked, "untriggered": plain}, guarded=False)
    scored = Backdoor().score(truth, None, None, lambda _: None)
    value = {name: metric.value for name, metric in scored.metrics.items()}
    assert value == {
        "robustness/attack-success-rate": pytest.approx(5 / 6),
        "robustness/untriggered-rate": pytest.approx(1 / 6),
    }
    assert scored.notes["floor"] == pytest.approx(1 / 6)
    cell = {"notes": scored.notes, "cell": {"metrics": {}}}
    lift = compare([Compared(cell=cell, control=None, plain=None)])["robustness/asr-lift"]
    assert (lift.value, lift.best) == (pytest.approx(4 / 6), pytest.approx(5 / 6))
    supplied = Backdoor().score(replace(truth, acted=lambda number: number == 0), None, None, lambda _: None)
    assert supplied.notes["floor"] == 0.0, "the first model is the adversary's"


@pytest.mark.parametrize(("target", "task"), [(1, "causal-lm"), (" ", "causal-lm"), ("END", "sequence-classification")])
def test_a_target_of_the_other_task_is_an_error_that_names_the_plug_in(target: Any, task: str) -> None:
    with pytest.raises(FedsecError, match=r"my-trigger.triggered\(\) has the target"):
        _stage(_Continues(target), task=task)


def test_it_lives_from_the_last_hostile_round_until_its_lift_is_gone() -> None:
    staged = _stage(_Appends())
    truth = _truth((1, 1, 1), (0,) * 6, staged)
    curve = ((1, (1, 1, 1)), (2, (1, 1, 1)), (3, (1, 1, 0)), (4, (0, 1, 0)))
    truth = replace(
        truth,
        rounds=_rounds({1: {0, 1}, 2: {0, 1}, 3: {0, 1}, 4: {0, 1}}),
        acted=lambda number: 1 <= number <= 2,
        curve=tuple((number, (0,) * 6) for number in (1, 2, 3, 4)),
        watched={"triggered": Watched(curve, (0, 1, 0))},
    )
    found = Backdoor().score(truth, None, None, lambda _: None).metrics["robustness/lifespan-rounds"]
    assert (found.value, found.n) == (2.0, 2)
    for other in (replace(truth, malicious=frozenset()), replace(truth, acted=lambda number: False)):
        assert "robustness/lifespan-rounds" not in Backdoor().score(other, None, None, lambda _: None).metrics
    supplied = replace(truth, malicious=frozenset(), acted=lambda number: number == 0)
    found = Backdoor().score(supplied, None, None, lambda _: None).metrics["robustness/lifespan-rounds"]
    assert (found.value, found.n) == (4.0, 4)  # from the start on; of nobody who takes part in a round


@pytest.mark.parametrize(
    ("present", "staleness", "last"),
    [({1}, {}, 1), ({1, 3}, {}, 3), ({1, 5}, {}, 1), ({1, 5}, {5: (0, 1)}, 5), ({5}, {}, None)],
)
def test_the_last_hostile_round_is_one_to_which_a_malicious_client_sent(
    present: set[int], staleness: dict[int, tuple[int, ...]], last: int | None
) -> None:
    """Of a sampled cohort, which malicious clients may miss to the end of their time, in rounds 1 to 4."""
    staged = _stage(_Appends())
    shares = (3, 3, 3, 3, 3, 0)
    truth = replace(
        _truth((0, 0, 0), (0,) * 6, staged),
        rounds=_rounds({number: {0, 1} if number in present else {1} for number in range(1, 7)}, staleness),
        acted=lambda number: 1 <= number <= 4,
        curve=tuple((number, (0,) * 6) for number in range(1, 7)),
        watched={
            "triggered": Watched(tuple((n, (1,) * s + (0,) * (3 - s)) for n, s in enumerate(shares, 1)), (0,) * 3)
        },
    )
    found = Backdoor().score(truth, None, None, lambda _: None).metrics.get("robustness/lifespan-rounds")
    assert (None if found is None else (found.detail["last-hostile-round"], found.value)) == (
        None if last is None else (last, 6 - last)
    )


def _rounds(clients: dict[int, set[int]], staleness: Any = MappingProxyType({})) -> tuple[Any, ...]:
    return tuple(
        SimpleNamespace(round=number, clients=tuple(sorted(own)), staleness=staleness.get(number, ()))
        for number, own in clients.items()
    )


def test_a_target_that_every_text_has_is_an_error() -> None:
    class Own:
        def triggered(self, probes: Any, view: Any) -> Any:
            return tuple(Triggered(probe.text, int(probe.text[-1]) % 2) for probe in probes)

    with pytest.raises(FedsecError, match="every test text is of the class"):
        _stage(Own())


def _truth(final: tuple[int | None, ...], predicted: tuple[int | None, ...], staged: Staged) -> Truth:
    curve = ((1, (0, 0, 0)), (2, tuple(0 if one is None else one for one in final)))
    return Truth(
        secrets={}, held=(), unheld=(), candidates=(), members=(), rounds=(), malicious=frozenset({0}),
        acted=lambda number: number > 0, labels=tuple(one.label for one in TEST), predicted=predicted,
        curve=((1, (0,) * 6), (2, tuple(0 if one is None else one for one in predicted))),
        watched={"triggered": Watched(curve, final)}, question=None, kept=staged.kept, tokenizer=None, guarded=True,
    )  # fmt: skip


def test_success_stands_beside_the_same_rows_without_the_trigger() -> None:
    staged = _stage(_Appends())
    scored = Backdoor().score(_truth((1, 1, None), (1, 0, 0, 1, 0, 1), staged), None, None, lambda _: None)
    value = {name: metric.value for name, metric in scored.metrics.items()}
    assert value["robustness/attack-success-rate"] == pytest.approx(2 / 3)
    assert value["robustness/untriggered-rate"] == pytest.approx(1 / 3)
    assert value["robustness/r-accuracy"] == 0.0
    assert value["defense/refusal-rate"] == pytest.approx(1 / 3)
    assert (scored.notes["hits"], scored.notes["base"]) == ([1, 1, 0], [1, 0, 0])
    assert scored.notes["curves"]["with the trigger"] == [[1, 0.0], [2, pytest.approx(2 / 3)]]
    assert scored.notes["curves"]["without"] == [[1, 0.0], [2, pytest.approx(1 / 3)]]


def test_a_blocked_backdoor_has_no_lift() -> None:
    staged = _stage(_Appends())
    truth = _truth((1, 1, 1), (1, 0, 0, 1, 0, 1), staged)
    blocked = Truth(**{**{name: getattr(truth, name) for name in truth.__slots__}, "watched": {}})
    notes = Backdoor().score(blocked, None, None, lambda _: None).notes
    assert notes["hits"] == notes["base"]


def _content(hits: list[int], base: list[int], predicted: list[int]) -> dict[str, Any]:
    notes = {"rows": list(range(len(hits))), "targets": [1] * len(hits), "hits": hits, "base": base}
    return {"notes": notes, "predicted": predicted, "cell": {"metrics": {}}}


def test_the_lift_is_paired_and_its_best_is_what_the_control_leaves() -> None:
    rows = 100
    cell = _content([1] * 90 + [0] * 10, [1] * 20 + [0] * 80, [])
    control = {"predicted": [1] * 30 + [0] * 70, "cell": {"metrics": {}}}
    value = compare([Compared(cell=cell, control=control, plain=None)])["robustness/asr-lift"]
    assert (value.value, value.n) == (pytest.approx(0.7), rows)
    assert (value.chance, value.best) == (0.0, pytest.approx(0.7))
    assert value.best_low is not None
    assert 0.55 < value.best_low < 0.7
    assert value.ci_low is not None
    assert 0.55 < value.ci_low < 0.7


def test_label_bias_is_no_backdoor() -> None:
    biased = _content([1] * 100, [1] * 100, [])
    value = compare([Compared(cell=biased, control=None, plain=None)])["robustness/asr-lift"]
    assert value.value == 0.0
    assert value.best is None


def test_a_cell_without_probes_has_no_lift() -> None:
    assert compare([Compared(cell={"notes": {}, "cell": {}}, control=None, plain=None)]) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"base": [0]}, {"base": None}, {"hits": "11"}, {"hits": [1, 2]}, {"hits": [1, None]}, {"base": [[0], [0]]},
    ],
)  # fmt: skip
def test_notes_that_hold_no_two_answers_for_each_probe_give_no_lift(change: dict[str, Any]) -> None:
    good = _content([1, 1], [0, 1], [])
    bad = {**good, "notes": {**good["notes"], **change}}
    assert compare([Compared(cell=bad, control=None, plain=None)]) == {}
    both = compare([Compared(cell=one, control=None, plain=None) for one in (good, bad)])["robustness/asr-lift"]
    assert (both.value, both.n) == (0.5, 2)


@pytest.mark.parametrize(
    "change", [{"rows": [0]}, {"rows": [0, 99]}, {"rows": [0, "x"]}, {"targets": None}, {"floor": "x"}, {"floor": 7}]
)
def test_a_floor_that_the_control_cannot_give_leaves_the_best_open(change: dict[str, Any]) -> None:
    good = _content([1, 1], [0, 1], [])
    bad = {**good, "notes": {**good["notes"], **change, "left_out": "many"}}
    control = {"predicted": [1, 0], "cell": {"metrics": {}}}
    value = compare([Compared(cell=bad, control=control, plain=None)])["robustness/asr-lift"]
    assert (value.value, value.best, value.left_out) == (0.5, None, 0)
