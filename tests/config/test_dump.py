"""A dumped scenario loads as the same scenario."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.config import yaml_tree
from fedsec.config.dump import dump, dump_text
from fedsec.config.load import load_scenario
from fedsec.config.schema import Scenario
from fedsec.errors import FedsecError

RATES = st.floats(min_value=1e-9, max_value=100, exclude_min=True) | st.integers(1, 100)
PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=60)
LOOKALIKES = st.sampled_from(["1e5", "010", "yes", "null", "~", "true", ".5", "1:30", "<<", "=", "- a", "# b", "{"])
SIGN_FLIPS = st.floats(0, 1e6) | st.integers(0, 10**6)


def _optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def scenarios(draw: st.DrawFn) -> dict[str, Any]:
    """Valid scenarios in the YAML form."""
    clients = draw(st.integers(1, 20))
    rounds = draw(st.integers(1, 9))
    tuning = _optional(kind=st.sampled_from(["full", "head", "lora"]), rank=st.integers(1, 64))
    models = st.one_of(
        _optional(layers=st.integers(1, 12), width=st.integers(16, 1024)).map(
            lambda more: {"name": "tiny-bert", **more}
        ),
        st.sampled_from([{"name": "minilm"}, {"name": "owner/name"}]),
    )
    scales = draw(st.lists(SIGN_FLIPS, max_size=3, unique_by=lambda scale: f"{scale:g}"))
    defenses = [
        "none",
        "krum",
        "frozen-embeddings",
        ["frozen-embeddings", {"name": "krum", "neighbours": "allouah"}],
    ]
    vary = _optional(**{
        "federation.batch_size": st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True),
        "federation.learning_rate": st.lists(RATES, min_size=1, max_size=3, unique=True),
        "model.name": st.just(["tiny-bert", "minilm"]),
        "model.tuning": st.just([{"kind": "lora", "rank": 3}, {"kind": "head"}]),
        "threat.knowledge": st.just([["defense-settings"], []]),
    })  # fmt: skip
    return {
        "schema": 1,
        "name": draw(st.sampled_from(["a", "a/b-c", "1e5", "010", "null"])),
        "summary": draw(PRINTABLE | LOOKALIKES),
        "model": {**draw(models), "tuning": draw(tuning), "dropout": draw(st.booleans())},
        "data": {"name": "sst2", **draw(_optional(test=st.integers(1, 50), max_tokens=st.integers(8, 99)))},
        "federation": {
            "clients": clients,
            "rounds": rounds,
            "learning_rate": draw(RATES),
            **draw(_optional(clients_per_round=st.integers(1, clients), update=st.just("gradient"))),
        },
        "threat": {
            "malicious": draw(st.integers(1, clients)),
            "attack_rounds": draw(st.integers(1, rounds) | st.just("last")),
            **draw(_optional(declared_malicious=st.integers(0, clients), knowledge=st.just(["benign-updates"]))),
        },
        "matrix": {
            "attack": [{"name": "sign-flip", "scale": scale} for scale in scales],
            "defense": draw(st.permutations(defenses)),
            "seed": draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True)),
            "vary": draw(vary),
        },
    }


@given(scenarios())
@settings(deadline=None)
def test_round_trip(data: dict[str, Any]) -> None:
    scenario = load_scenario(data)
    again = load_scenario(dump(scenario))
    assert again == scenario
    assert repr(again) == repr(scenario)  # 1 and 1.0 are equal, but would make two keys
    tree = yaml_tree.parse(dump_text(scenario), "dump")
    assert repr(load_scenario(tree.data)) == repr(scenario)


def test_every_value_is_explicit() -> None:
    minimal = {
        "schema": 1,
        "name": "a",
        "summary": "b",
        "model": {"name": "tiny-bert"},
        "data": {"name": "sst2"},
        "federation": {"clients": 2, "rounds": 1, "learning_rate": 1},
        "matrix": {"attack": [], "defense": []},
    }
    dumped = dump(load_scenario(minimal))
    for name, info in Scenario.model_fields.items():
        assert (info.alias or name) in dumped
    assert dumped["model"]["layers"] == 2
    assert "params" not in dumped["model"]
    assert dumped["threat"]["declared_malicious"] is None
    assert (dumped["matrix"]["attack"], dumped["matrix"]["defense"]) == (["none"], ["none"])


@given(PRINTABLE | LOOKALIKES)
@settings(deadline=None)
def test_any_summary_survives_the_text(summary: str) -> None:
    try:
        scenario = load_scenario({"schema": 1, "name": "a", "summary": summary, **_REST})
    except FedsecError:
        return
    assert yaml_tree.parse(dump_text(scenario), "dump").data["summary"] == summary


_REST: dict[str, Any] = {
    "model": {"name": "minilm"},
    "data": {"path": str(Path(__file__).parent)},
    "federation": {"clients": 2, "rounds": 1, "learning_rate": 1},
    "matrix": {"attack": [], "defense": []},
}
