"""The candidates: records about which membership is asked, some drawn into clients' data and the others withheld."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedsec.config.schema import Scenario
from fedsec.data.corpus import Example
from fedsec.data.overlap import Resemblance
from fedsec.errors import FedsecError
from fedsec.seeds import SeedTree


@dataclass(frozen=True, slots=True)
class Pool:
    """Which training rows are candidates, and which of these are members."""

    rows: np.ndarray
    """Row numbers of the candidates [candidates], in an order that was drawn before the members were."""
    members: np.ndarray
    """Whether each candidate is a member, bool [candidates]."""
    others: np.ndarray
    """Row numbers that are no candidates and resemble none, ascending."""

    @property
    def dealt(self) -> np.ndarray:
        """Return the row numbers that clients may hold, ascending: the members, and the rows that are no candidates."""
        return np.sort(np.concatenate([self.rows[self.members], self.others]))


def pool_of(scenario: Scenario, train: Sequence[Example], seeds: SeedTree) -> Pool | None:
    """Return the scenario's candidates; None without `data.candidates`.

    Rows are taken in random order. One that resembles a candidate is left out, whether it would have been one itself
    or a client's other row: a member's twin that is withheld would tell nothing but that they are twins. That comes
    before the coin, so that it says nothing of it.

    Args:
        scenario: of the cell.
        train: the cell's training rows.
        seeds: the cell's.

    Raises:
        FedsecError: too few rows are unlike each other.
    """
    wanted = scenario.data.candidates
    if wanted is None:
        return None
    order = seeds.numpy("candidates").permutation(len(train))
    known, chosen, rest = Resemblance(), list[int](), list[int]()
    for row in order:
        text = train[row].whole
        if len(chosen) < wanted.count:
            if text not in known:
                known.add(text)
                chosen.append(int(row))
            continue
        rest.append(int(row))
    if len(chosen) < wanted.count:
        raise FedsecError(
            f"of {len(train):,} training rows only {len(chosen):,} do not resemble each other, and "
            f"data.candidates.count is {wanted.count:,}; lower it, or raise data.train"
        )
    others = [row for row in rest if train[row].whole not in known]
    coin = seeds.numpy("inclusion")
    if wanted.inclusion == "coin":
        members = coin.random(wanted.count) < 0.5
    else:
        members = np.zeros(wanted.count, dtype=bool)
        members[coin.permutation(wanted.count)[: wanted.count // 2]] = True
    return Pool(np.array(chosen, dtype=np.int64), members, np.sort(np.array(others, dtype=np.int64)))
