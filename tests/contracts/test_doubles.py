"""The doubles keep the contract at every position and hook; those that are there to be seen, not to be good, say so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedsec import registry
from fedsec.api import Card
from fedsec.testing import contracts, doubles

CHEAP = {"attack": {"name": "embedding-algebra"}}
RECALL = {"shows": "leakage/token-recall"}
# A message where the double is too weak for the check.
ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "server-reads-rows": (RECALL, ""),
    "server-reads-sum": (RECALL, ""),
    "key-holder-reads": ({}, "too weak: leakage/exact-match"),
    "eavesdropper": (RECALL, ""),
    "curious-client": ({}, "too weak: leakage/exact-match"),
    "blank-server": ({}, "too weak: leakage/exact-match"),
    "flip-labels": ({"overrides": ["threat.malicious=4"]}, ""),
    "most-confident": ({}, "too weak: extraction/recall"),
    "low-loss": ({}, ""),
    "watching-server": ({}, ""),
    "ascending-client": ({}, ""),
    "trigger-word": ({}, ""),
}
DEFENSES: dict[str, tuple[dict[str, Any], str]] = {
    "ideal-sum": ({}, ""),
    "ideal-sealed": ({}, ""),
    "client-shrink": ({}, "does not help against embedding-algebra"),
    "client-clip": ({}, "does not help against embedding-algebra"),
    "drop-largest": ({}, ""),
    "take-turns": (CHEAP, "acts once the server has the updates"),
    "step-clip": ({}, "does not help against embedding-algebra"),
    "central-noise": (
        {
            "attack": {"name": "curious-client"},
            "shows": "leakage/token-f1",
            "parameters": {"scale": 0.1},
            "overrides": ["federation.clients=2", "federation.batch_size=1", "threat.malicious=0"],
        },
        "",
    ),
    "model-clip": ({}, "does not help against sign-flip"),
    "drop-small": ({"attack": {"name": "low-loss"}, "parameters": {"share": 0.9}}, ""),
    "redact": ({"shows": "leakage/pii-recall", "overrides": ["data.max_tokens=48"]}, ""),
    "query-filter": (CHEAP, "acts once the server has the updates"),
    "refuse-unsure": ({"attack": {"name": "low-loss"}, "parameters": {"least": 0.9}}, ""),
}
SLOW = {
    "flip-labels", "low-loss", "ascending-client", "trigger-word", "client-shrink", "client-clip", "drop-largest",
    "step-clip",
}  # fmt: skip
"""Built-in plug-ins with the same hooks at the same position are checked at once: loss, label-flip, text-backdoor,
multi-krum, clipping and dp-sgd."""


def _named(names: dict[str, tuple[dict[str, Any], str]]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


@pytest.fixture(autouse=True)
def _doubles() -> Iterator[None]:
    with doubles.registered():
        yield


def test_every_double_is_here() -> None:
    assert [card.name for card in doubles.ATTACKS] == list(ATTACKS)
    assert [card.name for card in doubles.DEFENSES] == list(DEFENSES)


@pytest.mark.parametrize("card", [*doubles.ATTACKS, *doubles.DEFENSES], ids=lambda card: card.name)
def test_card(card: Card) -> None:
    contracts.check_card(card)


@pytest.mark.parametrize("name", _named(ATTACKS))
def test_attack(name: str, tmp_path: Path) -> None:
    options, weakness = ATTACKS[name]
    _check(contracts.check_attack, registry.attacks().get(name), tmp_path, options, weakness)


@pytest.mark.parametrize("name", _named(DEFENSES))
def test_defense(name: str, tmp_path: Path) -> None:
    options, weakness = DEFENSES[name]
    _check(contracts.check_defense, registry.defenses().get(name), tmp_path, options, weakness)


def _check(check: Any, card: Any, tmp_path: Path, options: dict[str, Any], weakness: str) -> None:
    if not weakness:
        check(card, tmp_path, **options)
        return
    with pytest.raises(AssertionError, match=weakness):
        check(card, tmp_path, **options)
