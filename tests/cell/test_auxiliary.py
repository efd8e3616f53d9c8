"""Auxiliary text: what of it is refused, what attacks are handed, what a cell records, and what its key knows."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import Auxiliary, Knowledge, RoundView
from fedsec.cell.auxiliary import framed
from fedsec.cell.evidence import Looked, check_untouched, round_view, secrets_of
from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.cell.training import Trained, train
from fedsec.config.load import load_scenario
from fedsec.config.schema import Scenario
from fedsec.data.overlap import RUN, SHORTEST, sift
from fedsec.errors import FedsecError
from fedsec.models import tiny_bert
from fedsec.plan.cells import Cell, expand
from fedsec.plan.keys import cell_key, training_key
from fedsec.plan.tasks import grouped, tasks_of
from fedsec.seeds import SeedTree
from fedsec.testing import canned

HELD = "one two three four five six seven eight nine ten"


@pytest.fixture(autouse=True)
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The canned sets, and a cache of the test's own."""
    monkeypatch.setenv("FEDSEC_CACHE", str(tmp_path / "cache"))
    with canned.registered():
        yield


def _view(cell: Cell, trained: Trained) -> RoundView:
    return round_view(cell, trained.around, trained.outcome.observed[1], secrets_of(cell, trained)[1], Looked())


def _check(cell: Cell, trained: Trained) -> None:
    check_untouched(cell, trained.around, Looked(), trained.frozen)


def _scenario(attack: Any = "embedding-algebra", defense: Any = "none", *overrides: str) -> Scenario:
    return canned.reconstruction(attack, defense, ("auxiliary-text",), overrides=overrides)


def _cell(scenario: Scenario, defense: str = "none") -> Cell:
    return next(cell for cell in expand(scenario) if cell.asked and cell.defense_label == defense)


def _trained(cell: Cell) -> Trained:
    return train(cell, frozenset({1}), Resources(), lambda _: None)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "passes"),
    [
        ("zero two three four five six seven eight nine zero", False),
        ("zero two three four five six seven eight zero", True),
        ("Two, THREE: four-five six (seven) eight - nine!", False),
        ("nine eight seven six five four three two one", True),
        ("two three four five zero six seven eight nine", True),
        ("", False),
        ("?!", False),
    ],
)
def test_eight_words_in_a_row_are_refused_and_seven_are_not(row: str, passes: bool) -> None:
    assert sift([row], [HELD]) == (((row,), 0) if passes else ((), 1))


def test_shorter_held_texts_may_not_stand_within_a_row() -> None:
    held = ["a fine small film", "so bad"]
    assert sift(["it is a fine small film, I say", "a fine film", "so bad", "it is so bad"], held) == (
        ("a fine film", "it is so bad"),
        2,
    )


@pytest.mark.parametrize(
    ("held", "row"),
    [
        ("there is n't one true ` chan moment ' .", "but there isn't one true 'chan moment' in it"),
        ("it 's a film that does n't care", "it's a film that doesn\u2019t care at all"),
        ("\u4eca\u5929\u7684\u5929\u6c14\u5f88\u597d\u554a", "\u4eca\u5929\u7684\u5929\u6c14\u5f88\u597d\u554a \u662f"),
    ],
)
def test_the_same_words_written_otherwise_are_refused(held: str, row: str) -> None:
    assert sift([row], [held]) == ((), 1)


def test_as_many_as_are_wanted_are_taken_and_those_before_are_counted() -> None:
    rows = [HELD, "free one", HELD, "free two", HELD, "free three"]
    assert sift(rows, [HELD], 2) == (("free one", "free two"), 2)
    assert sift(rows, [HELD]) == (("free one", "free two", "free three"), 3)


_texts = st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=12).map(" ".join), max_size=5)


@settings(max_examples=200, deadline=None)
@given(_texts, _texts)
def test_nothing_that_passes_shares_a_run(rows: list[str], held: list[str]) -> None:
    kept, dropped = sift(rows, held)
    assert len(kept) + dropped == len(rows)
    for row in kept:
        for text in held:
            size = min(RUN, len(text.split()))
            if size < SHORTEST:
                assert row != text
                continue
            runs = [" ".join(text.split()[i : i + size]) for i in range(len(text.split()) - size + 1)]
            assert not any(f" {run} " in f" {row} " for run in runs)


# --- what attacks are handed ----------------------------------------------------------------------------------------


def test_an_attack_gets_text_and_a_model_of_the_victims_vocabulary() -> None:
    cell = _cell(_scenario())
    trained = _trained(cell)
    view = _view(cell, trained)
    granted = view.granted[Knowledge.AUXILIARY_TEXT]
    assert isinstance(granted, Auxiliary)
    assert 200 < len(granted.texts) <= 300
    held = {row.text for row in trained.around.public.held}
    assert not held & set(granted.texts)
    before = torch.get_rng_state()
    model = granted.language_model()
    assert torch.equal(torch.get_rng_state(), before)
    assert granted.language_model() is model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    ids = torch.tensor(trained.tokenizer([granted.texts[0][:40]])["input_ids"])
    assert model(input_ids=ids).logits.shape == (*ids.shape, len(trained.tokenizer))


def test_a_granted_model_that_an_attack_changes_is_noticed() -> None:
    cell = _cell(_scenario())
    trained = _trained(cell)
    view = _view(cell, trained)
    _check(cell, trained)  # nobody asked for it yet
    model = view.granted[Knowledge.AUXILIARY_TEXT].language_model()
    _check(cell, trained)
    next(model.parameters()).view(-1)[0] += 1.0
    with pytest.raises(RuntimeError, match="changed the language model that it was granted"):
        _check(cell, trained)


def test_it_is_trained_once_for_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    from fedsec.models import language_prior

    ran: list[int] = []
    fit = language_prior._fit
    monkeypatch.setattr(language_prior, "_fit", lambda *given: ran.append(1) or fit(*given))
    for seed in ("[0]", "[1]"):
        cell = _cell(_scenario("embedding-algebra", "none", f"matrix.seed={seed}"))
        _trained(cell).around.public.of(cell.scenario).auxiliary.language_model()
    assert ran == [1]


def test_the_clients_own_set_gives_rows_that_nobody_holds() -> None:
    cell = _cell(_scenario("embedding-algebra", "none", "data.train=15", "threat.auxiliary.name=canned-notes"))
    trained = _trained(cell)
    found = trained.around.public.of(cell.scenario)
    held = {row.text for row in trained.around.public.held}
    assert len(found.auxiliary.texts) + found.dropped == 40
    assert found.dropped >= 15
    assert not held & set(found.auxiliary.texts)


def test_it_is_an_error_if_nothing_is_left_or_too_much_is_asked_for() -> None:
    whole = _cell(_scenario("embedding-algebra", "none", "threat.auxiliary.name=canned-notes"))
    with pytest.raises(FedsecError, match="nothing is left of the auxiliary text canned-notes: all 40 rows share"):
        _trained(whole).around.public.of(whole.scenario)
    many = _cell(_scenario("embedding-algebra", "none", "threat.auxiliary.rows=301"))
    with pytest.raises(FedsecError, match="301 is more than the 300 training rows of canned-public"):
        _trained(many).around.public.of(many.scenario)


def test_texts_are_framed_as_the_victim_frames_them() -> None:
    tokenizer = tiny_bert.load(labels=2, generator=SeedTree(0).torch("m"), layers=1, width=16).tokenizer
    (row,) = framed(["the knee"], tokenizer, 16, ended=False)
    assert tokenizer.convert_ids_to_tokens(row) == ["[CLS]", "the", "knee", "[SEP]"]
    pieces = framed(["the knee " * 10], tokenizer, 8, ended=False)
    assert [len(piece) for piece in pieces] == [8, 8, 6]
    assert [token for piece in pieces for token in piece] == tokenizer("the knee " * 10)["input_ids"]


# --- what a cell records --------------------------------------------------------------------------------------------


def test_a_cell_says_what_was_dropped_and_holds_both_baselines() -> None:
    content = score(_cell(_scenario()), _trained(_cell(_scenario())))["cell"]
    assert content["auxiliary"]["texts"] + content["auxiliary"]["dropped"] == 300
    value = content["metrics"]["leakage/token-f1"]
    assert value["baseline"] != value["random_guess"]
    assert 0 <= value["random_guess"] < 1
    assert not content["adaptive"]


def test_a_blocked_cell_counts_what_the_language_model_gets() -> None:
    scenario = _scenario("embedding-algebra", "frozen-embeddings")
    cell = _cell(scenario, "frozen-embeddings")
    content = score(cell, _trained(cell))["cell"]
    assert content["status"] == "blocked"
    value = content["metrics"]["leakage/token-f1"]
    assert value["value"] == value["baseline"] != value["random_guess"]


def test_the_cells_key_knows_the_text_and_the_training_does_not() -> None:
    first, second = (_scenario("embedding-algebra", "none", f"threat.auxiliary.rows={rows}") for rows in (50, 60))
    assert cell_key(_cell(first)) != cell_key(_cell(second))
    assert training_key(_cell(first)) == training_key(_cell(second))
    assert [group.key for group in grouped(tasks_of(first))] == [group.key for group in grouped(tasks_of(second))]


def test_a_files_content_is_part_of_the_key(tmp_path: Path) -> None:
    place = tmp_path / "public.txt"
    keys = []
    for text in ("a first text\n\na second text\n", "a first text\n\nanother text\n"):
        place.write_text(text)
        content = canned.reconstruction("embedding-algebra", "none", ("auxiliary-text",)).model_dump(
            mode="json", by_alias=True
        )
        content["threat"]["auxiliary"] = {"path": str(place)}
        content["model"].update(content["model"].pop("params"))
        content["matrix"] = {"attack": ["embedding-algebra"], "defense": ["none"]}
        keys.append(cell_key(_cell(load_scenario(content))))
    assert keys[0] != keys[1]


def test_varying_the_knowledge_needs_the_text_only_where_it_is_granted() -> None:
    varied = "matrix.vary={threat.knowledge: [[], [auxiliary-text]]}"
    cells = [cell for cell in expand(_scenario("embedding-algebra", "none", varied)) if cell.asked]
    assert len(cells) == 2


def test_rows_are_the_same_in_whatever_order_they_are_held() -> None:
    rows = [f"row {i} of the text" for i in range(30)]
    held = [HELD, "row 3 of the text", "row 17 of the text"]
    shuffled = list(held)
    random.Random(0).shuffle(shuffled)  # noqa: S311 - no secret
    assert sift(rows, held) == sift(rows, shuffled)
