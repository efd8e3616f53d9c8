"""A card states its limits in a few short lines; measured tables stand in docs/."""

import re
from collections.abc import Iterator
from pathlib import Path

from fedsec import registry
from fedsec.api import Card

DOCS = Path(__file__).parent.parent.parent / "docs"


def _cards() -> Iterator[Card]:
    for kind in (
        registry.attacks, registry.defenses, registry.goals, registry.metrics, registry.models, registry.datasets
    ):  # fmt: skip
        yield from kind()


def test_a_card_has_at_most_three_short_limits() -> None:
    long = {card.name for card in _cards() if len(card.limits) > 3 or any(len(line) >= 160 for line in card.limits)}
    assert long == set(), "give these cards at most three limits, each shorter than 160 characters"


def test_a_limit_is_a_sentence() -> None:
    assert [line for card in _cards() for line in card.limits if not line.endswith(".")] == []


def test_a_page_that_a_card_names_is_there() -> None:
    for card in _cards():
        for page in re.findall(r"docs/[\w.-]+\.md", " ".join(card.limits)):
            assert (DOCS.parent / page).exists(), (card.name, page)
