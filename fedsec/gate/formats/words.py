"""How formats for people put a check into words."""

from fedsec.api import BetterFor
from fedsec.gate.verdict import Check, Outcome

NO_VALUE = "no value"


def value(check: Check) -> str:
    """`0.85 [0.8, 0.89]`."""
    if check.value is None:
        return NO_VALUE
    return f"{check.value:.4g}{_interval(check.ci_low, check.ci_high)}"


def demanded(check: Check) -> str:
    """`at most 0.6, within 0.03 of the baseline's 0.55`."""
    limits = [f"at most {check.max:g}"] if check.max is not None else []
    limits += [f"at least {check.min:g}"] if check.min is not None else []
    if check.tolerance is not None:
        before = "the baseline" if check.baseline is None else f"the baseline's {check.baseline:.4g}"
        direction = {BetterFor.ATTACKER: "at most", BetterFor.DEFENDER: "at most"}.get(check.better_for, "within")
        away = {BetterFor.ATTACKER: "above", BetterFor.DEFENDER: "below"}.get(check.better_for, "of")
        limits.append(f"{direction} {check.tolerance:g} {away} {before}")
    return ", ".join(limits) or "nothing any more"


def changed(check: Check) -> str:
    """The difference from the baseline: `-0.2 [-0.25, -0.15]`; empty without one."""
    one = check.difference
    return "" if one is None else f"{one['value']:+.3g}{_interval(one['ci_low'], one['ci_high'])}"


def sentence(check: Check) -> str:
    """A check in a line: what became of it, why, and the numbers."""
    why = "; ".join(check.reasons) if check.outcome != Outcome.PASS else ""
    told = f"{check.outcome.word}: {check.name}{f': {why}' if why else ''}. It is {value(check)}"
    return f"{told}; demanded: {demanded(check)}."


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:.3g}, {high:.3g}]"
