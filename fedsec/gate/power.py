"""What a gate's sample can resolve: which tolerances are below it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedsec import registry
from fedsec.api import Tells
from fedsec.config.schema import Scenario
from fedsec.config.suite import Suite
from fedsec.gate.readings import Gated, Member, gated
from fedsec.gate.regression import LEVEL
from fedsec.metrics.stats.differences import Measured, unpaired
from fedsec.metrics.stats.intervals import wilson
from fedsec.plan.tasks import members

POWER = 0.8


def unresolved(
    loaded: Scenario | Suite, scorecard: Mapping[str, Any], contents: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Each tolerance that is below the smallest change which a run with other seeds than the baseline's would show.

    Before two seeds ran that is known of shares of test rows alone, and taken for a share of one half. Of
    scenarios with one seed it is said that it tells nothing of others.

    Args:
        loaded: a scenario or suite.
        scorecard: of what ran of it so far.
        contents: its cell files, as the scorecard's cells.
    """
    planned = [Member(one.scenario, tuple(task.key for task in one.tasks)) for one in members(loaded)]
    scenarios = {one.scenario.name: one.scenario for one in planned}
    found = [one for one in gated(loaded.gate, planned, scorecard, contents) if one.rule.tolerance is not None]
    for one in found:
        scenario, name = scenarios[one.group.scenario], f"gate[{one.place}] {one.group.label}"
        if len(scenario.matrix.seed) == 1:
            yield (
                f"{name}: with one seed, and another one than the baseline's, every comparison is inconclusive; take "
                "four seeds or more"
            )
            continue
        known = list(one.group.seeds.values())
        sample = known if len(known) > 1 else _expected(one, scenario)
        least = unpaired(sample, sample).resolves(POWER, 1 - LEVEL / len(found)) if sample else None
        if least is not None and one.rule.tolerance is not None and least > one.rule.tolerance:
            yield (
                f"{name}: tolerance {one.rule.tolerance:g} is below what {len(sample)} seeds resolve: with other seeds "
                f"than the baseline's, a change shows in 8 of 10 runs from about {least:.2g} on; take more seeds, more "
                "test rows or a wider tolerance"
            )


def _expected(one: Gated, scenario: Scenario) -> list[Measured]:
    """What the seeds will be like, as far as the scenario tells; nothing for what is no share of test rows.

    A row of a causal language model is many tokens, which scatter less; how much less shows when it has run.
    """
    card = registry.metrics().get(one.rule.metric) if one.rule.metric in registry.metrics() else None
    rows = scenario.data.test
    if card is None or card.tells != Tells.CORRECT or rows is None or scenario.model.task != "sequence-classification":
        return []
    low, high, _ = wilson(rows / 2, rows)
    return [Measured(0.5, low, high, rows, fraction=True, wilson=True) for _ in scenario.matrix.seed]
