"""What stacks promise of privacy, in words."""

from typing import Any

import pytest

from fedsec.report.guarantees import promise, promises, refutations

STATED = {
    "kind": "differential-privacy", "epsilon": 7.9954, "epsilon_rdp": 8.9, "delta": 1e-5, "unit": "record",
    "sampling": "poisson", "accountant": "prv", "against": ["server", "wire"], "assumes": "it holds", "void": [],
}  # fmt: skip
VOID = {**STATED, "epsilon": None, "epsilon_rdp": None, "void": ["no noise", "fixed batches"], "against": []}


def _row(defense: str, guarantee: Any, attack: str = "none", **settings: Any) -> dict[str, Any]:
    return {"attack": attack, "defense": defense, "settings": settings, "guarantee": guarantee}


def test_each_stack_is_told_once_and_what_promises_rest_on_at_the_end() -> None:
    rows = [
        _row("none", None),
        _row("krum", {"kind": "robustness", "assumes": "n >= 2f+3"}),
        _row("dp-sgd", STATED),
        _row("dp-sgd", STATED, "loss"),
        _row("dp-sgd(epsilon=0)", VOID),
    ]
    first, second, last = promises(rows)
    assert first == (
        "dp-sgd promises epsilon 8.00 at delta 1e-05 for each record (prv accountant; 8.90 by RDP; poisson batches) "
        "against server, wire."
    )
    assert second == "dp-sgd(epsilon=0) promises no privacy: no noise; fixed batches."
    assert last == "What is promised rests on this: it holds."


def test_settings_are_told_apart() -> None:
    rows = [_row("dp", STATED, **{"federation.batch_size": 8}), _row("dp", VOID, **{"federation.batch_size": 64})]
    assert [text.split(" ")[0] for text in promises(rows)[:2]] == ["batch_size=8:", "batch_size=64:"]


def test_nothing_is_said_where_nobody_promises() -> None:
    assert promises([_row("none", None)]) == []


@pytest.mark.parametrize("guarantee", [
    None, "yes", 7, [], {}, {"epsilon": None}, {"epsilon": "8"}, {"epsilon": 1.0}, {"epsilon": None, "void": 3},
    {"epsilon": None, "void": "why"}, {"epsilon": float("nan"), "against": 7, "epsilon_rdp": "x"}, {"epsilon": True},
])  # fmt: skip
def test_whatever_a_record_holds_is_no_crash(guarantee: Any) -> None:
    assert isinstance(promise(guarantee), str)
    assert isinstance(promises([_row("dp", guarantee)]), list)


def _audited(refuted: float | None, bound: float = 2.5) -> dict[str, Any]:
    shared = {"unit": "epsilon", "better_for": "attacker", "ci_low": None, "ci_high": None, "method": "one-run", "n": 9}
    verdict = {**shared, "value": refuted, "unit": "fraction", "n": 1, "chance": 0.0, "best": 1.0}
    epsilon = {**shared, "value": bound, "baseline": 1.0}
    row = _row("dp-sgd(epsilon=1)", STATED, "canary-direction")
    metrics = {
        "audit/refuted": verdict,
        "audit/epsilon-lower-bound": epsilon,
        "audit/ceiling": {**shared, "value": 5.5},
    }
    return {**row, "goal": "audit", "status": "ok", "metrics": metrics}


def test_a_refuted_promise_is_told_with_its_bound_and_its_ceiling() -> None:
    assert refutations([_audited(1.0)]) == [
        "dp-sgd(epsilon=1) breaks its promise: canary-direction refutes what the ledger promises in 100\u00a0% of 1 "
        "audits (95\u00a0% interval none); it shows an epsilon of at least 2.500 (the ledger promises: 1.000); "
        "it can show 5.500 at most with so many canaries."
    ]
    assert refutations([{**_audited(0.5), "status": "error"}])  # another seed is in error
    assert refutations([_audited(0.0), _audited(None), _row("none", None)]) == []
