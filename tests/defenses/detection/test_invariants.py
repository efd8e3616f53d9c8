"""The detection rules against the invariants of aggregation: what each has holds, and what it lacks is shown.

These are those that decide by the rows of one round: `fldetector` remembers rounds, and `zeno` asks a model.
"""

from itertools import islice

import pytest
import torch

from fedsec import registry

from ..aggregation.invariants import BROKEN_BY, KINDS, SHOWN, Entry, instance

TABLE = (
    Entry(name="dnc", least=lambda f: 2 * f + 1, lacks=frozenset({"identical", "honest-box"})),
    Entry(
        name="flame",
        least=lambda f: 2 * f + 1,
        lacks=frozenset({"translation", "honest-box", "hull", "mean-at-zero"}),  # it shortens updates
    ),
    Entry(
        name="weak-dp",
        lacks=frozenset({"translation", "scale", "identical", "honest-box", "hull", "mean-at-zero"}),
    ),
    Entry(
        name="sign-majority",
        lacks=frozenset({"translation", "orthogonal", "identical", "honest-box", "hull", "mean-at-zero"}),  # ties turn
    ),
)
OTHERS = {"fldetector", "zeno"}


def test_every_rule_that_detects_is_in_the_table_or_named_beside_it() -> None:
    cards = [card for card in registry.defenses() if card.target.startswith("fedsec.defenses.detection")]
    assert {card.name for card in cards if card.is_rule or card.needs_rows} == {one.name for one in TABLE} | OTHERS


@pytest.mark.parametrize("name", BROKEN_BY)
@pytest.mark.parametrize("entry", TABLE, ids=str)
def test_what_it_has_holds_and_what_it_lacks_is_shown(entry: Entry, name: str) -> None:
    def broken(f: int, kind: str, seed: int) -> float:
        given = instance(*entry.size(f, seed % 2), 5, kind, seed)
        return BROKEN_BY[name]([entry], given, torch.Generator().manual_seed(seed))

    found = (broken(f, kind, seed) for seed in range(4) for f in (1, 3) for kind in KINDS)
    if name in entry.lacks:
        assert any(one > SHOWN for one in found)
    else:
        assert max(islice(found, 2 * len(KINDS))) <= entry.tolerance
