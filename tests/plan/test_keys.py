"""What makes a cell run again: a source that it uses, and no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedsec.plan import keys
from fedsec.plan.cells import Cell, expand
from fedsec.plan.keys import cell_key, group_key, prefix_key, start_key, training_key
from fedsec.store import sources
from fedsec.testing import canned


@pytest.fixture(autouse=True)
def _data() -> Iterator[None]:
    with canned.registered():
        yield


def _cell(attack: str, *, defense: str = "none", overrides: tuple[str, ...] = ()) -> Cell:
    make = canned.reconstruction if attack == "dager" else canned.byzantine
    cells = expand(make(attack, defense, overrides=overrides))
    return next(cell for cell in cells if cell.attack.name == attack and cell.defense_label == defense)


def _edited(name: str, cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(cell key, group key) of each cell if a source were another one."""
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + (b"\n#" if str(self).endswith(name) else b""))
    caches = (sources.training_hash, sources.plugin_hash, sources._function)
    for cache in caches:
        cache.cache_clear()
    found = [(cell_key(cell), group_key(cell)) for cell in cells]
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()
    return found


@pytest.mark.parametrize(
    ("source", "again"),
    [
        ("metrics/membership.py", (False, False)),
        ("goals/backdoor.py", (False, False)),
        ("metrics/leakage.py", (False, True)),
        ("goals/reconstruction.py", (False, True)),
        ("goals/untargeted.py", (True, False)),
        ("metrics/utility.py", (True, True)),
        ("cell/score.py", (True, True)),
        ("federation/session.py", (True, True)),
        ("byzantine/sign_flip.py", (True, False)),
        ("report/scorecard.py", (False, False)),
        ("runner/workers.py", (False, False)),
    ],
)
def test_cells_run_again_for_what_they_use_and_nothing_else(
    source: str, again: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [_cell("sign-flip"), _cell("dager")]
    before = _edited("nothing.at.all", cells, monkeypatch)
    after = _edited(source, cells, monkeypatch)
    assert tuple(one[0] != other[0] for one, other in zip(before, after, strict=True)) == again


@pytest.mark.parametrize(("read", "trains_again"), [("data", True), ("weights", True), ("auxiliary", False)])
def test_other_data_weights_or_auxiliary_text_make_another_cell(
    read: str, trains_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = _cell("sign-flip")
    before = cell_key(cell), group_key(cell)
    now = {**keys.inputs(cell.scenario), read: "another"}
    monkeypatch.setattr(keys, "inputs", lambda scenario: now)
    assert cell_key(cell) != before[0]
    assert (group_key(cell) != before[1]) == trains_again


def test_scoring_sources_train_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [_cell("dager")]
    before = _edited("nothing.at.all", cells, monkeypatch)
    for source in ("metrics/leakage.py", "goals/reconstruction.py", "cell/score.py", "reconstruction/dager.py"):
        assert _edited(source, cells, monkeypatch)[0][1] == before[0][1], source


def test_an_attack_that_looks_shares_its_training_and_one_that_acts_does_not() -> None:
    assert training_key(_cell("dager")) == training_key(expand(canned.reconstruction("dager"))[0])
    assert training_key(_cell("sign-flip")) != training_key(expand(canned.byzantine("sign-flip"))[0])


def test_defenses_that_act_on_the_trained_model_alone_share_its_training() -> None:
    def key(defense: object, knowledge: tuple[str, ...] = ()) -> tuple[str, str]:
        cells = expand(canned.byzantine("model-replacement", defense, knowledge, overrides=("data.trusted=60",)))
        return training_key(cells[-1]), group_key(cells[-1])

    for knowledge in ((), ("defense-settings",)):
        assert key("server-finetune", knowledge) == key("none", knowledge)
        assert key(["norm-bound", "server-finetune"], knowledge) == key("norm-bound", knowledge)
        assert key("norm-bound", knowledge) != key("none", knowledge)
    assert key("crfl") != key("none")  # it answers queries, and acts in the training too


def test_attacks_that_begin_later_share_the_honest_rounds_with_each_other_and_the_control() -> None:
    late = ("threat.participation={first: 3}",)
    keys = {prefix_key(cell) for attack in ("sign-flip", "gaussian") for cell in _all(attack, late)}
    assert len(keys) == 1
    assert None not in keys
    assert {prefix_key(cell) for cell in _all("sign-flip", ())} == {None}
    for change in ("federation.learning_rate=0.01", "threat.participation={first: 4}", "threat.malicious=2"):
        assert {prefix_key(cell) for cell in _all("sign-flip", (*late, change))}.isdisjoint(keys), change


def test_a_start_is_that_of_its_data_seed_and_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = _cell("sign-flip")
    before = start_key(cell, ["head"])
    assert start_key(_all("gaussian", ())[0], ["head"]) == before
    assert start_key(cell, ["head", "layer"]) != before
    monkeypatch.setattr("fedsec.plan.keys.data_hash", lambda *_: "other data")
    assert start_key(cell, ["head"]) != before


def _all(attack: str, overrides: tuple[str, ...]) -> list[Cell]:
    return expand(canned.byzantine(attack, overrides=overrides))
