"""Our aggregation rule is as robust as the committed baseline says."""

from pathlib import Path

from fedsec.testing.regression import assert_no_regression

TOP = Path(__file__).parent.parent


def test_our_rule_is_as_robust_as_it_was(fedsec_run):
    run = fedsec_run(TOP / "robustness.yaml", plugins=[TOP / "attacks", TOP / "defenses"])
    assert_no_regression(run, TOP / "baselines" / "our-federation.json")


def test_the_attack_would_do_harm(fedsec_run):
    """Else the other test would pass whatever the rule did."""
    run = fedsec_run(TOP / "robustness.yaml", plugins=[TOP / "attacks", TOP / "defenses"])
    rows = {(row["attack"], row["defense"]): row["metrics"] for row in run.scorecard["summary"]}
    drop = rows["backwards", "none"]["robustness/utility-drop"]
    assert drop["ci_low"] > 0.05
