"""Each check of the contract can fail: plug-ins that break it in one way are told so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsec.api import Aggregation, AttackCard, Behaviour, Card, DatasetCard, ModelCard, Parameter, Position
from fedsec.cell.resources import Resources
from fedsec.config.problems import ConfigError
from fedsec.errors import FedsecError
from fedsec.plan.cells import expand
from fedsec.testing import canned, contracts, shared
from fedsec.testing.candidates import check_words
from fedsec.testing.conduct import Subject

from . import support
from .support import TEXTS, attack, defense, forger, poisoner, reader, registered, scorer, watcher

READERS = [
    ("PeeksAtSecrets", "sees the truth"),
    ("ChangesRows", r"ChangesRows.reconstruct changed view.rows"),
    ("ChangesModel", r"ChangesModel.reconstruct changed view.model.module"),
    ("LeavesTrainingOn", r"changed view.model.module.training"),
    ("DrawsGlobally", "draws from a global generator"),
    ("DrawsUnseeded", "a second run of the same seed differs"),
    ("SaysNothing", r"too weak: leakage/exact-match is 0 .* where a guess has 0"),
]
FORGERS = [
    ("SendsHonestly", r"too weak: robustness/utility-drop is 0"),
    ("ChangesUpdate", "changed update.vector"),
    ("ChangesView", "changed view.global_parameters"),
    ("Forgets", "forgets: stopped after round 1"),
    ("RemembersObjects", r"state\(\) holds what no checkpoint can"),
    ("CannotLoad", r"load_state\(\) does not take up what state\(\) gave"),
]
SCORERS = [
    ("PeeksAtMembers", "says something else when the truth is permuted: it sees the truth"),
    ("ThrowsTheCoinAgain", "tells candidates apart that nobody trained on: its AUC has the 99.9 % interval 0.9"),
    ("ScoresByOrder", "too weak: membership/auc"),
    ("ScoresNan", r"bad-scoresnan: ScoresNan.score\(\): 80 of 80 scores are NaN"),
    ("ScoresInHalf", r"bad-scoresinhalf: ScoresInHalf.score\(\): must return fp64 \[80\].* torch.float32 \(80,\)"),
    ("ScoresOneLess", r"bad-scoresoneless: ScoresOneLess.score\(\): must return fp64 \[80\].* \(79,\)"),
    ("ChangesReleased", "bad-changesreleased changed the model that it was shown"),
]
WATCHERS = [
    ("ObservesAndForgets", "forgets: stopped after round 2"),
    ("ObservesTheTruth", "sees the truth"),
]
# What would end a run ends the check with the same error, which names the plug-in.
FAULTS = {
    "a label too large": (forger("PoisonsOutOfRange", parameters=(support.LABEL,)), "bad-poisonsoutofrange.* label 99"),
    "a label below 0": (
        forger("PoisonsBelow", parameters=(replace(support.LABEL, default=-1),)),
        "bad-poisonsbelow.* label -1",
    ),
    "no text": (forger("PoisonsNoText"), "bad-poisonsnotext.* text or prompt is no text"),
    "a probe too few": (poisoner("TriggersOneLess"), r"bad-triggersoneless.triggered\(\) must return a tuple of 120"),
    "a target that is no class": (poisoner("TargetsNobody"), r"bad-targetsnobody.triggered\(\) has the target 99"),
    "a watcher without memory": (watcher("ObservesWithoutState"), r"bad-observeswithoutstate has observe\(\), and no"),
    "a measurement that is no number": (forger("MeasuresNan"), "bad-measuresnan measured 'clipped' as nan"),
}
DEFENSES = [
    ("KeepsAll", {"needs_rows": True}, r"does not help against sign-flip: utility/accuracy"),
    ("ChangesMatrix", {"needs_rows": True}, "changed rows.rows"),
    ("ChangesStep", {}, "changed view.parameters"),
    ("ForgetsAsRule", {"is_rule": True}, "forgets: stopped after round 1"),
]


@pytest.mark.parametrize(("name", "message"), READERS, ids=[name for name, _ in READERS])
def test_a_bad_reader(name: str, message: str, tmp_path: Path) -> None:
    card = reader(name)
    with registered(card), pytest.raises(AssertionError, match=message):
        contracts.check_attack(card, tmp_path)


def test_a_reader_that_peeks_in_its_second_round(tmp_path: Path) -> None:
    card = reader("PeeksLater")
    rounds = ["federation.rounds=2", "threat.attack_rounds=all"]
    with registered(card), pytest.raises(AssertionError, match="sees the truth"):
        contracts.check_attack(card, tmp_path, overrides=rounds)


def test_an_extractor_that_peeks(tmp_path: Path) -> None:
    card = attack("PeeksAtTexts", Position.RELEASED_MODEL, Behaviour.CURIOUS)
    with registered(card), pytest.raises(AssertionError, match="sees the truth"):
        contracts.check_attack(card, tmp_path)


@pytest.mark.parametrize(("name", "message"), SCORERS, ids=[name for name, _ in SCORERS])
def test_a_bad_scorer(name: str, message: str, tmp_path: Path) -> None:
    card = scorer(name)
    with registered(card), pytest.raises(AssertionError, match=message):
        contracts.check_attack(card, tmp_path)


@pytest.mark.parametrize(("name", "message"), WATCHERS, ids=[name for name, _ in WATCHERS])
def test_a_bad_watcher(name: str, message: str, tmp_path: Path) -> None:
    card = reader(name, goal="membership")
    with registered(card), pytest.raises(AssertionError, match=message):
        contracts.check_attack(card, tmp_path)


def test_candidates_whose_words_give_them_away() -> None:
    """No plug-in can bring that about: whoever deals the candidates can."""
    with canned.registered():
        cell = expand(canned.membership("none"))[0]
        subject = Subject(cell, Resources(), "long-texts")
        trained = shared.training(subject)
    pool = trained.materials.pool
    assert pool is not None
    lengths = np.array([len(one.text) for one in trained.materials.candidates])
    told = replace(trained.materials, pool=replace(pool, members=lengths > np.median(lengths)))
    check_words(subject, trained)
    with pytest.raises(AssertionError, match="long-texts: the candidates' words alone tell members apart"):
        check_words(subject, replace(trained, materials=told))


@pytest.mark.parametrize(("card", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_that_ends_a_run_names_the_plug_in(card: AttackCard, message: str, tmp_path: Path) -> None:
    with registered(card), pytest.raises(FedsecError, match=message):
        contracts.check_attack(card, tmp_path)


def test_a_backdoor_that_nobody_planted(tmp_path: Path) -> None:
    card = poisoner("PlantsNothing")
    with registered(card), pytest.raises(AssertionError, match="too weak: robustness/asr-lift"):
        contracts.check_attack(card, tmp_path)


def test_a_method_that_nobody_would_ask_is_refused_when_the_scenario_is_read() -> None:
    refused = pytest.raises(ConfigError, match=r"has extract\(\), which a malicious client whose goal is untargeted")
    with registered(card := forger("SendsAndExtracts")), canned.registered(), refused:
        canned.byzantine(card.name)


def test_a_malicious_server_that_forgets(tmp_path: Path) -> None:
    card = attack("ForgetsAsServer", Position.SERVER, Behaviour.MALICIOUS)
    with registered(card), pytest.raises(AssertionError, match="forgets: stopped after round 1"):
        contracts.check_attack(card, tmp_path)


@pytest.mark.parametrize(("name", "message"), FORGERS, ids=[name for name, _ in FORGERS])
def test_a_bad_forger(name: str, message: str, tmp_path: Path) -> None:
    card = forger(name)
    with registered(card), pytest.raises(AssertionError, match=message):
        contracts.check_attack(card, tmp_path)


@pytest.mark.parametrize(("name", "rest", "message"), DEFENSES, ids=[name for name, _, _ in DEFENSES])
def test_a_bad_defense(name: str, rest: dict[str, Any], message: str, tmp_path: Path) -> None:
    card = defense(name, **rest)
    with registered(card), pytest.raises(AssertionError, match=message):
        contracts.check_defense(card, tmp_path)


def test_a_filter_that_does_nothing_beside_a_good_rule(tmp_path: Path) -> None:
    """Against no defense at all, the rule alone would carry it."""
    card = defense("KeepsAll", needs_rows=True)
    with registered(card), pytest.raises(AssertionError, match=r"does not help against sign-flip: utility/accuracy"):
        contracts.check_defense(card, tmp_path, beside={"name": "trimmed-mean"})


WRONG_CARDS = {
    "another default": (
        forger("Parametrised", parameters=(replace(support.SCALE, default=9.0),)),
        "differ from the card",
    ),
    "a default of another type": (
        forger("Parametrised", parameters=(Parameter(name="scale", default=10, summary="factor"),)),
        "differ from the card",
    ),
    "no parameters": (forger("Parametrised"), "differ from the card"),
    "one parameter too many": (forger("SendsHonestly", parameters=(support.SCALE,)), "differ from the card"),
    "no paper": (forger("SendsHonestly", paper=""), "the card's paper is empty"),
    "no limits": (forger("SendsHonestly", limits=()), "names no limits"),
    "no source": (forger("Undocumented"), "has no 'Source:'"),
    "not kebab-case": (replace(forger("SendsHonestly"), name="Bad_name"), "not kebab-case"),
    "no hook": (forger("NoHook"), "none of the hooks"),
    "a hook that is never asked": (reader("SendsHonestly"), r"on_update\(\), which a curious server .* is never asked"),
    "an extractor in a round": (reader("PeeksAtTexts"), r"has extract\(\), which a curious server .* is never asked"),
    "nothing that its goal asks": (
        forger("SendsHonestly", goal="membership"),
        r"has no score\(\), which the goal membership asks",
    ),
    "a malicious client that only looks": (
        forger("ScoresWithoutActing", goal="membership"),
        "is malicious and has none of on_data, on_step, on_update",
    ),
    "a goal that nobody knows": (reader("SaysNothing", goal="to-please"), "no goal to-please is registered"),
    "a watcher whose goal asks nothing": (
        forger("ObservesWithoutState"),
        r"has observe\(\) and score\(\), which a malicious client whose goal is untargeted",
    ),
    "a rule that is not called one": (defense("FirstRow"), "the card's is_rule says False, but it has weights"),
    "a filter that needs no rows": (defense("KeepsAll"), "the card's needs_rows says False, but it has mix"),
    "no rule": (defense("KeepsAll", is_rule=True), "the card's is_rule says True, but it has no weights"),
    "no exchange": (
        defense("ChangesStep", aggregation=Aggregation.SECURE),
        "the card's aggregation says True, but it has no exchange",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("card", "message"), WRONG_CARDS.values(), ids=WRONG_CARDS.keys())
def test_a_card_that_does_not_fit_its_plug_in(card: Card, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        contracts.check_card(card)


def test_a_good_card_is_good() -> None:
    contracts.check_card(forger("Parametrised", parameters=(support.SCALE,)))


@pytest.mark.parametrize(
    ("name", "message"),
    [("fixed_model", "the generator changes nothing"), ("global_model", "torch's global generator")],
)
def test_a_bad_model(name: str, message: str) -> None:
    card = ModelCard(name="bad-model", target=f"{support.__name__}:{name}", **TEXTS)
    with registered(card), pytest.raises(AssertionError, match=message):
        contracts.check_model(card)


@pytest.mark.parametrize(
    ("name", "message"), [("unlike_itself", "two loads differ"), ("odd_labels", r"labels \[5\] have no name")]
)
def test_a_bad_dataset(name: str, message: str) -> None:
    card = DatasetCard(name="bad-texts", target=f"{support.__name__}:{name}", labels=("x",), licence="none", **TEXTS)
    with registered(card), pytest.raises(AssertionError, match=message):
        contracts.check_dataset(card)


def test_a_watched_class_is_as_it_was_afterwards() -> None:
    from fedsec.testing.watch import watched

    before = dict(vars(support.CannotLoad))
    with watched(support.CannotLoad):
        assert vars(support.CannotLoad) != before
    assert dict(vars(support.CannotLoad)) == before
    assert support.CannotLoad.on_update is support.Forgets.on_update
