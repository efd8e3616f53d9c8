"""The normal form, and checks that need other plug-ins than the built-in ones; the corpus holds the rest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.api import AttackCard, Behaviour, DefenseCard, Knowledge, Position, ThreatModel
from fedsec.config.load import load_scenario
from fedsec.config.problems import ConfigError, Problem
from fedsec.config.schema import Component

Faults = Callable[..., list[str]]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def _more_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server attack that needs labels, and a second rule."""
    attacks = registry.Registry("attacks", AttackCard)
    defenses = registry.Registry("defenses", DefenseCard)
    for attack in registry.attacks():
        attacks.register(attack)
    for defense in registry.defenses():
        defenses.register(defense)
    knowing = ThreatModel(
        position=Position.SERVER,
        behaviour=Behaviour.CURIOUS,
        goal="reconstruction",
        knowledge=frozenset({Knowledge.LABELS, Knowledge.LENGTHS}),
    )
    attacks.register(AttackCard(name="knowing", summary="Needs labels and lengths.", threat=knowing))
    defenses.register(DefenseCard(name="median-2", summary="Another rule.", protects="robustness", is_rule=True))
    monkeypatch.setattr(registry, "attacks", lambda: attacks)
    monkeypatch.setattr(registry, "defenses", lambda: defenses)


def test_normal_form_resolves_everything_and_puts_the_controls_first(base: dict[str, Any]) -> None:
    base["matrix"] = {
        "attack": [{"name": "sign-flip", "scale": 10}],
        "defense": [["frozen-embeddings", {"name": "krum"}], "krum", "mean"],
    }
    base["model"]["layers"] = 3
    scenario = load_scenario(base)
    assert scenario.matrix.attack == [
        Component(name="none"),
        Component(name="sign-flip", params={"scale": 10.0}),
    ]
    assert type(scenario.matrix.attack[1].params["scale"]) is float
    krum = Component(name="krum", params={"neighbours": "blanchard", "geometry": "raw"})
    assert scenario.matrix.defense == [[], [Component(name="frozen-embeddings"), krum], [krum]]
    assert scenario.model.params == {"layers": 3, "width": 64}


def test_models_may_be_folders_and_hub_ids(faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").touch()
    assert faults(model={"name": "mine"}) == []
    assert faults(model={"name": "owner/name"}) == []
    assert len(faults(model={"name": "file"})) == 1
    assert "model.layers: unknown key" in faults(model={"name": "mine", "layers": 3})[0]


def test_data_may_be_files_and_folders(faults: Faults, tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.gz", "a.csv", "a.tsv", "a.parquet"):
        (tmp_path / name).touch()
        assert faults(data={"name": None, "path": tmp_path / name}) == []
    assert faults(data={"path": str(tmp_path)}) == []
    (tmp_path / "a.pdf").touch()
    assert "cannot be read" in faults(data={"path": str(tmp_path / "a.pdf")})[0]


def test_bounds_hold_at_their_edge(faults: Faults) -> None:
    edge = {"clients": 6, "clients_per_round": 6, "rounds": 3}
    data = {"train": 12, "partition": {"minimum": 2}}
    assert faults(federation=edge, threat={"malicious": 6, "attack_rounds": 3}, data=data) == []
    assert faults(threat={"attack_rounds": "last"}, federation={"update": "gradient"}) == []
    assert len(faults(data={"train": 11})) == 1


def test_only_a_model_that_writes_chats_and_is_asked_to_write(faults: Faults) -> None:
    found = faults(data={"chat": True, "test": 8}, evaluation={"generate": 9})
    assert len(found) == 3
    assert "data.chat: true is for model.task: causal-lm" in found[0]
    assert found[1:] == [
        "evaluation.generate: 9 is for model.task: causal-lm, and this is sequence-classification",
        "evaluation.generate: 9 is more than data.test, which is 8",
    ]
    writes = {"name": "tiny-gpt2", "task": "causal-lm"}
    asked = faults(model=writes, evaluation={"generate": 8})
    assert not [fault for fault in asked if fault.startswith(("data.chat", "evaluation"))]


@pytest.mark.usefixtures("_more_plugins")
def test_an_attack_needs_its_knowledge_granted(faults: Faults) -> None:
    matrix = {"attack": ["none", "knowing"], "defense": []}
    assert faults(matrix=matrix, threat={"malicious": 0, "knowledge": ["labels", "lengths"]}) == []
    assert faults(threat={"knowledge": ["labels"]}) == [
        "matrix.attack[1]: 'knowing' needs threat.knowledge to grant lengths"
    ]
    found = faults(threat={"knowledge": ["no such thing"]})  # what is granted is not known, so nothing is lacking
    assert [line.split(":")[0] for line in found] == ["threat.knowledge[0]"]


@pytest.mark.usefixtures("_more_plugins")
def test_varied_knowledge_is_checked_value_by_value(faults: Faults) -> None:
    vary = {"threat.knowledge": [["labels", "lengths"], ["labels"]]}
    found = faults(matrix={"attack": ["knowing"], "defense": [], "vary": vary})
    assert len(found) == 1
    assert found[0].startswith("matrix.vary.threat.knowledge[1]: with a list of 1 here, matrix.attack[0]")


@pytest.mark.usefixtures("_more_plugins")
def test_two_different_rules_do_not_stack(faults: Faults) -> None:
    found = faults(matrix={"defense": [["krum", "median-2"], ["frozen-embeddings", "median-2"]]})
    assert found == ["matrix.defense[0]: a stack holds at most one aggregation rule; this one has krum, median-2"]


def test_what_answers_queries_itself_stands_before_other_defenses_of_queries(faults: Faults) -> None:
    stacks = [["onion", "strip", "crfl"], ["krum", "crfl"], ["crfl", "strip"]]
    found = faults(matrix={"attack": ["none", "text-backdoor"], "defense": stacks})
    assert found == [
        "matrix.defense[0][2]: 'crfl' answers queries itself and would never ask onion, strip: put it before"
    ]


@pytest.mark.usefixtures("_more_plugins")
def test_plugins_that_could_not_be_loaded_are_named(faults: Faults) -> None:
    registry.attacks().broken["mine"] = "no module"
    found = faults(matrix={"attack": ["my-attack"]})
    assert found[0].endswith("Run: fedsec list attacks. Could not be loaded: mine")


def test_problems_are_shown_with_their_place_and_in_order() -> None:
    late, early = Problem("quick.yaml", 14, "federation.rounds", "bad"), Problem("quick.yaml", 2, "", "worse")
    beside = Problem("--set", None, "a", "odd")
    assert str(late) == "quick.yaml:14 federation.rounds: bad"
    assert str(beside) == "--set a: odd"
    error = ConfigError([beside, late, early])
    assert error.problems == [early, late, beside]
    assert str(error).splitlines()[0] == "3 problems in the scenario:"
    assert str(ConfigError([early])) == "1 problem in the scenario:\nquick.yaml:2: worse"
    assert str(Problem("a\x1b[31m.yaml", 1, "", "x")).isprintable()


SECTIONS = ("schema", "name", "summary", "model", "data", "federation", "threat", "matrix", "keep_text")
FIELDS = (
    "name",
    "tuning",
    "path",
    "train",
    "clients",
    "rounds",
    "attack",
    "defense",
    "seed",
    "vary",
    "knowledge",
)


@given(section=st.sampled_from(SECTIONS), field=st.none() | st.sampled_from(FIELDS), value=JSON)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_value_anywhere_is_taken_or_refused(
    base: dict[str, Any], section: str, field: str | None, value: Any
) -> None:
    part = base.get(section)
    changed = {**part, field: value} if isinstance(part, dict) and field else value
    try:
        load_scenario({**base, section: changed})
    except ConfigError as error:
        assert str(error).replace("\n", "").isprintable()  # noqa: PT017  -- both outcomes are right
