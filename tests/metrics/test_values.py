"""Metric values and cards: what can be written, and that every number that is written has a card."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fedsec
from fedsec import registry
from fedsec.api import BetterFor, MetricValue, Reconstruction, Tells
from fedsec.data.tokens import Tokenised
from fedsec.federation.evaluation import Evaluation, TokenCounts
from fedsec.federation.transcript import Secret
from fedsec.metrics.audit import audited, one_run, pooled
from fedsec.metrics.backdoor import lifespan, rates
from fedsec.metrics.cost import costs, plain
from fedsec.metrics.extraction import extraction_recall
from fedsec.metrics.free_ride import free_ride_weight
from fedsec.metrics.leakage import leakage, match
from fedsec.metrics.membership import membership, of_updates
from fedsec.metrics.refusals import refusals
from fedsec.metrics.robustness import detection
from fedsec.metrics.tail import tail_accuracy
from fedsec.metrics.training import training
from fedsec.metrics.utility import utility
from fedsec.metrics.written import written
from fedsec.models import tiny_bert
from fedsec.seeds import SeedTree

KINDS = "utility|leakage|membership|property|extraction|robustness|defense|cost|audit"
GOOD: dict[str, Any] = {"value": 0.5, "unit": "fraction", "better_for": BetterFor.ATTACKER, "n": 4}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
@pytest.mark.parametrize("field", ["value", "ci_low", "ci_high", "baseline"])
def test_a_value_that_json_cannot_hold_is_refused_by_name(field: str, number: float) -> None:
    with pytest.raises(ValueError, match=rf"MetricValue\.{field} is -?(nan|inf)"):
        MetricValue(**{**GOOD, field: number})


def test_ends_and_baselines_may_be_missing() -> None:
    value = MetricValue(**GOOD, ci_low=None, ci_high=None, baseline=None)
    assert (value.ci_low, value.ci_high, value.baseline) == (None, None, None)


def test_what_was_left_out_is_written_only_if_there_is_any() -> None:
    assert "left_out" not in MetricValue(**GOOD).as_json()
    assert json.loads(json.dumps(MetricValue(**GOOD, left_out=3).as_json()))["left_out"] == 3


_WRITTEN = TokenCounts(np.array([4.0, 2.0]), np.array([2, 1]), np.array([1, 0]))


def _tokenizer() -> Any:
    return tiny_bert.load(labels=2, generator=SeedTree(0).torch("m"), layers=1, width=16).tokenizer


def _produced() -> dict[str, Any]:
    """Everything that the metrics' functions give, from a text with planted data, guessed and claimed."""
    tokenizer = _tokenizer()
    ids = tuple(tokenizer("call ann lee today", add_special_tokens=False)["input_ids"])
    secret = Secret((ids,), (len(ids) + 2,), (0,), (("ann lee",),))
    claim = Reconstruction(client=0, tokens=ids, score=0.0, verified=True)
    held = np.array([False, True, False, True])
    rounds: Any = [
        SimpleNamespace(
            upload_bytes=8,
            download_bytes=9,
            seconds=0.5,
            rejected=(),
            clients=(0, 1),
            weights=(0.0, 1.0),
            norms=None,
            skipped=None,
        )
    ]
    return {
        **leakage(match({0: secret}, [claim]), tokenizer, np.random.default_rng(0)),
        **costs(rounds),
        "cost/attack-seconds": plain(1.0, "seconds", 1),
        **training(rounds, [0]),
        **detection(rounds, [0], np.random.default_rng(0)),
        **tail_accuracy([(1, 0.5, 0.5)], 1, Evaluation(np.array([True, False]), 0.5), 0.5),
        **utility(_RIGHT, Tokenised([[1], [1]], np.array([0, 1])), np.random.default_rng(0)),
        **written(
            ["yes"], ["no"], ["yes"], Evaluation(np.zeros(0, dtype=bool), 2.0, _WRITTEN), np.random.default_rng(0)
        ),
        **utility(
            Evaluation(np.zeros(0, dtype=bool), 2.0, _WRITTEN),
            Tokenised([[1, 2, 3], [1, 2]], np.array([0, 0]), np.array([1, 1])),
            np.random.default_rng(0),
        ),
        **refusals(_RIGHT, guarded=True),
        **of_updates(np.arange(4.0)[:, None], np.zeros(4), held[:, None], held[:, None], ~held),
        **membership(np.arange(4.0), np.zeros(4), np.array([False, True, False, True])),
        **one_run(np.arange(4.0), np.array([False, True, False, True]), prefix="membership"),
        **audited(np.arange(4.0), np.array([False, True, False, True]), None, np.random.default_rng(0))[0],
        **pooled(
            [audited(np.arange(4.0), np.array([False, True, False, True]), None, np.random.default_rng(0))[1]], [None]
        ),
        **rates([1, None], [0, 1], np.array([1, 1]), np.array([0, 0]), guarded=True),
        "robustness/lifespan-rounds": lifespan([(1, 0.9), (2, 0.1)], 1),
        "robustness/free-ride-weight": free_ride_weight(rounds, [0], np.random.default_rng(0)),
    }


_RIGHT = Evaluation(np.array([True, False]), 0.5)
_COMPARED = ("robustness/utility-drop", "robustness/asr-lift", "extraction/recall")
"""Made by goals beside controls, and tested there."""


def test_every_metric_that_is_produced_has_a_card_that_agrees_with_it() -> None:
    produced = _produced()
    for name, value in produced.items():
        card = registry.metrics().get(name)
        assert (value.unit, value.better_for) == (card.unit, card.better_for), name
    cards = {card.name for card in registry.metrics()}
    ours = {name for name in cards if name.split("/")[0] in KINDS.split("|")}
    assert ours - set(_COMPARED) == set(produced)
    assert all(card.summary for card in registry.metrics())


def test_every_metric_that_the_engine_names_has_a_card() -> None:
    root = Path(fedsec.__file__).parent
    sources = {path: path.read_text(encoding="utf-8") for path in root.rglob("*.py")}
    literal = re.compile(rf"[\"']((?:{KINDS})/[a-z0-9@=.-]+)[\"']")
    named = {name: path for path, text in sources.items() for name in literal.findall(text)}
    assert len(named) > 8
    cards = {card.name for card in registry.metrics()}
    assert {name: path.name for name, path in named.items() if name not in cards} == {}


_NONE_RIGHT = Evaluation(np.zeros(0, dtype=bool), 0.5)
_NONE_WRITTEN = TokenCounts(np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def _empty() -> dict[str, MetricValue]:
    """What the metrics' functions give where there is nothing to measure."""
    generator, none = np.random.default_rng(0), np.zeros(0, dtype=np.int64)
    rows = Tokenised([], none)
    return {
        **leakage(match({}, []), _tokenizer(), generator),
        **costs([]),
        **tail_accuracy([(1, 0.5, 0.5)], 1, _NONE_RIGHT, None),
        **utility(_NONE_RIGHT, rows, generator),
        **utility(_NONE_RIGHT._replace(texts=_NONE_WRITTEN), Tokenised([], none, none), generator),
        **refusals(_NONE_RIGHT, guarded=True),
        **membership(np.zeros(0), np.zeros(0), np.zeros(0, dtype=bool)),
        **rates([], [], none, none, guarded=True),
        "robustness/free-ride-weight": free_ride_weight([], [0], generator),
        "extraction/recall": extraction_recall([], []),
    }


def test_where_nothing_counts_there_is_no_value_and_not_nought() -> None:
    found = _empty()
    assert len(found) > 20
    for name, value in found.items():
        assert (value.value, value.n, value.ci_low, value.ci_high) == (None, 0, None, None), name
        assert value.baseline is None, name
        assert value.as_json()["value"] is None


def test_every_rate_of_the_model_stands_beside_that_of_a_guess() -> None:
    produced = _produced()
    told = [name for name in produced if registry.metrics().get(name).tells in (Tells.CORRECT, Tells.TAIL)]
    assert len(told) == 3
    beside = [*told, "robustness/r-accuracy", "robustness/attack-success-rate", "membership/auc"]
    assert {name: produced[name].baseline for name in beside if produced[name].baseline is None} == {}
    found = rates([1, 1, 0, 2], [1, 0, 0, 2], np.array([1, 1, 1, 1]), np.array([0, 0, 0, 2]))
    assert found["robustness/attack-success-rate"].baseline == found["robustness/untriggered-rate"].value == 1 / 4
    assert found["robustness/r-accuracy"].baseline == 3 / 4, "the probes' largest class"
