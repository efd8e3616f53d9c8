"""What defenses are granted of a language: clean texts, a model that did not learn from them, and who needs it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedsec.api import Language
from fedsec.cell.language import HELD_OUT, PublicLanguage
from fedsec.cell.resources import Resources
from fedsec.config.schema import Scenario
from fedsec.data.corpus import Example
from fedsec.errors import FedsecError
from fedsec.models import language_prior, tiny_bert
from fedsec.plan.cells import expand, refusal
from fedsec.plan.keys import group_key
from fedsec.seeds import SeedTree
from fedsec.testing import canned

GIVEN = "data.language_model={name: canned-public, rows: 12, training_steps: 2}"


@pytest.fixture(autouse=True)
def _prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FEDSEC_CACHE", str(tmp_path / "cache"))
    with canned.registered():
        yield


def _scenario(*overrides: str, defense: Any = "none") -> Scenario:
    return canned.byzantine("none", defense, overrides=overrides)


def _public(*overrides: str, held: str = "nothing of the kind") -> PublicLanguage:
    tokenizer = tiny_bert.load(labels=2, generator=SeedTree(0).torch("m"), layers=1, width=16).tokenizer
    return PublicLanguage(_scenario(*overrides), Resources(), [Example(held, 0)], tokenizer)


def test_thresholds_are_set_on_texts_that_the_model_did_not_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[Any] = []
    train = language_prior.train_prior

    def noted(rows: Any, *rest: Any, **settings: Any) -> Any:
        learned.append(rows)
        return train(rows, *rest, **settings)

    monkeypatch.setattr(language_prior, "train_prior", noted)
    public = _public(GIVEN)
    granted = public.granted()
    assert isinstance(granted, Language)
    clean, tokenizer = granted.texts(), public.tokenizer
    assert len(clean) == -(-12 // HELD_OUT)
    assert not learned, "texts alone need no model"
    first = granted.perplexities([*clean, "cf"])
    assert all(one > 1 for one in first)
    assert granted.perplexities(clean) == first[:-1]
    assert len(learned) == 1
    pieces = {tuple(row) for row in learned[0]}
    starts = {tuple(tokenizer(text, truncation=True, max_length=16)["input_ids"][:15]) for text in clean}
    assert not any(row[:15] in starts for row in pieces)
    again = PublicLanguage(public.scenario, public.resources, public.held, tokenizer)
    assert again.score(clean) == first[:-1]
    assert len(learned) == 1, "cells of one process share the model"


def test_clean_texts_are_as_long_as_queries() -> None:
    """Words beyond what a language model reads are never unusual, and say nothing about a threshold."""
    public = _public(GIVEN, "data.max_tokens=8")
    ids = [public.tokenizer(text)["input_ids"] for text in public.clean()]
    assert {len(row) for row in ids} == {8}
    whole = [public.tokenizer(text, truncation=True, max_length=8)["input_ids"] for text in _public(GIVEN).clean()]
    assert ids == whole


def test_texts_that_the_federation_holds_are_left_out() -> None:
    assert _public().granted() is None
    everything = _public(GIVEN)._sifted()
    shared = everything[0]
    assert shared not in _public(GIVEN, held=shared)._sifted()
    with pytest.raises(FedsecError, match=r"language_model\.rows 99999 is more"):
        _public("data.language_model={name: canned-public, rows: 99999}").clean()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{model: smollm2-135m}", "give the `name` of a data set"),
        ("{name: canned-public, path: x.txt}", "give either `name` or `path`"),
        ("{name: nosuch}", "unknown data set 'nosuch'"),
        ("{name: canned-public, model: nosuch}", "no registered model, no local folder and no hub id"),
        ("{name: canned-public, model: minilm}", "writes no text"),
    ],
)
def test_a_language_that_cannot_be_had_is_said_at_once(given: str, message: str) -> None:
    with pytest.raises(FedsecError, match=message):
        _scenario(f"data.language_model={given}")


@pytest.mark.parametrize(
    ("defense", "given", "reason"),
    [
        ("onion", GIVEN, "give data.language_model"),
        ("onion-sanitiser", GIVEN, "give data.language_model"),
        ("strip", "data.trusted=10", "needs data.trusted"),
        ("rap", "data.trusted=10", "needs data.trusted"),
    ],
)
def test_a_defense_without_what_it_needs_does_not_apply(defense: str, given: str, reason: str) -> None:
    (bare, fit) = (expand(_scenario(*one, defense=defense))[-1] for one in ((), (given,)))
    assert reason in str(refusal(bare))
    assert refusal(fit) is None
    writes = "model={name: tiny-gpt2, task: causal-lm, layers: 1, vocabulary: 600}"
    decoder = expand(_scenario(given, writes, defense=defense))[-1]
    assert (refusal(decoder) is None) == (defense == "onion-sanitiser")


def test_another_language_is_another_training() -> None:
    keys = {group_key(expand(_scenario(*one))[0]) for one in ((), (GIVEN,), (GIVEN.replace("12", "13"),))}
    assert len(keys) == 3
