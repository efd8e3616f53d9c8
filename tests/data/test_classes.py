"""Rows of each class in words; labels that can hardly be classes are doubted, and those that cannot are refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from fedsec.cell.resources import Resources
from fedsec.config.load import load_scenario
from fedsec.data.classes import FEW, FEWEST, MANY, classes_of
from fedsec.data.corpus import Corpus, Example
from fedsec.data.named import load_path
from fedsec.errors import ExitCode, FedsecError


def _corpus(train: Sequence[int], test: Sequence[int], names: Sequence[str]) -> Corpus:
    def rows(labels: Sequence[int]) -> tuple[Example, ...]:
        return tuple(Example(f"text {place}", label) for place, label in enumerate(labels))

    return Corpus(rows(train), rows(test), tuple(names))


def _even(classes: int, each: int) -> Corpus:
    return _corpus([c for c in range(classes) for _ in range(each)], [0], [str(c) for c in range(classes)])


def test_classes_are_told_with_their_names_and_counts_the_largest_first() -> None:
    found = classes_of(_corpus([0, 1, 1, 1, 2, 1], [1, 2], ["low", "high", "none"]))
    assert found is not None
    assert found.in_words() == (
        "6 training and 2 test rows of 3 classes: 'high' 5 (62 %), 'none' 2 (25 %), 'low' 1 (12 %)"
    )
    assert found.as_json()["classes"][1] == {"name": "high", "train": 4, "test": 1}
    assert (found.doubt(), classes_of(Corpus((Example("a"),), (), ()))) == (None, None)


def test_many_and_hostile_names_make_one_short_line() -> None:
    names = [f"{'x' * 500}\x1b[31m\n{place}" for place in range(300)]
    found = classes_of(_corpus(list(range(300)) * 20, [], names))
    assert found is not None
    line = found.in_words()
    assert "300 classes" in line
    assert line.endswith("and 292 more")
    assert line.isprintable()
    assert len(line) < 500


@pytest.mark.parametrize(
    ("classes", "each", "doubted", "refused"),
    [
        (2, 1, False, False),
        (MANY, 1, False, False),
        (MANY + 1, FEWEST - 1, True, True),
        (MANY + 1, FEWEST, True, False),
        (150, FEW - 1, True, False),
        (150, FEW, False, False),
    ],
)
def test_many_classes_of_few_rows_are_doubted_and_then_refused(
    classes: int, each: int, *, doubted: bool, refused: bool
) -> None:
    found = classes_of(_even(classes, each))
    assert found is not None
    assert (found.doubt() is not None) == doubted
    if not refused:
        found.check("here")
        return
    with pytest.raises(
        FedsecError, match=rf"^here: {classes} classes share .* no classes: say with data.columns.label"
    ):
        found.check("here")


@pytest.mark.parametrize(("labels", "gaps"), [([1, 2, 3, 1], "'0'"), ([0, 4, 4], "'1', '2', '3'")])
def test_numbers_with_gaps_are_told(labels: list[int], gaps: str) -> None:
    found = classes_of(_corpus(labels, [], [str(c) for c in range(max(labels) + 1)]))
    assert found is not None
    assert f"have no training row ({gaps})" in str(found.doubt())
    assert "number labels from 0 on" in str(found.doubt())


def _file(path: Path, labels: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps({"text": f"row {i}", "label": label}) + "\n" for i, label in enumerate(labels)))
    return path


@pytest.mark.parametrize(
    "labels",
    [
        list(range(0, 198)),
        [1950 + place % 70 for place in range(300)],
        [f"free text {place}" for place in range(120)],
        [place * 7 % 1000 for place in range(200)],
    ],
    ids=["identifiers", "years", "free text", "scores"],
)
def test_whole_numbers_and_texts_that_are_no_classes_never_reach_a_training(
    labels: list[object], tmp_path: Path
) -> None:
    _file(tmp_path / "rows.jsonl", labels)
    assert load_path(tmp_path / "rows.jsonl").labels, "a file alone may hold them"
    scenario = {
        "schema": 1, "name": "a/b", "summary": "A case.", "model": {"name": "tiny-bert"},
        "data": {"path": "rows.jsonl"},
        "federation": {"clients": 2, "rounds": 1, "local_steps": 1, "batch_size": 2, "learning_rate": 0.1},
        "matrix": {"attack": ["none"], "defense": ["none"], "seed": [0]},
    }  # fmt: skip
    (tmp_path / "case.yaml").write_text(json.dumps(scenario))
    loaded = load_scenario(str(tmp_path / "case.yaml"), ["data.path=" + str(tmp_path / "rows.jsonl")])
    with pytest.raises(FedsecError, match=r"classes.* share .* training rows") as it:
        Resources().corpus(loaded)
    assert it.value.exit_code == ExitCode.USAGE


def test_a_corpus_is_told_of_once() -> None:
    resources = Resources()
    scenario = load_scenario("quick/inversion")
    (line,) = resources.about(scenario)
    assert line.startswith("data: ")
    assert "classes: '" in line
    assert resources.about(scenario) == ()
