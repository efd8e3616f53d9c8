"""Rounds on disk: as they were, private, mapped, and gone when they are cleared."""

import os
from pathlib import Path

import pytest
import torch

from fedsec.federation.rounds import RoundStore
from fedsec.federation.transcript import Observed


def _round(number: int = 3, *, started: bool = True, weights: bool = True) -> Observed:
    draw = torch.Generator().manual_seed(number)
    return Observed(
        round=number,
        cohort=(0, 2, 5),
        clients=(0, 5),
        examples=(4, 7),
        rows=torch.randn(2, 11, generator=draw),
        weights=torch.tensor([1 / 3, 2 / 3], dtype=torch.float64) if weights else None,
        aggregate=torch.randn(11, generator=draw),
        start=torch.randn(11, generator=draw),
        end=torch.randn(11, generator=draw),
        staleness=(0, 1) if started else (),
        started=torch.randn(2, 11, generator=draw) if started else None,
        upload_bytes=44,
    )


def _same(one: Observed, other: Observed) -> bool:
    first, second = one.as_json(), other.as_json()
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
        for name, value in first.items()
    )


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("weights", [True, False])
def test_a_round_comes_back_as_it_was(started: bool, weights: bool, tmp_path: Path) -> None:
    store, one = RoundStore(tmp_path / "rounds"), _round(started=started, weights=weights)
    store.keep(one)
    assert list(store) == [3]
    assert _same(store[3], one)
    with pytest.raises(KeyError):
        store[4]


def test_what_changes_a_round_in_memory_changes_no_file(tmp_path: Path) -> None:
    store, one = RoundStore(tmp_path / "rounds"), _round()
    store.keep(one)
    store[3].rows.zero_()
    assert _same(store[3], one)


def test_rounds_are_private_and_go_when_they_are_cleared(tmp_path: Path) -> None:
    store = RoundStore(tmp_path / "rounds")
    store.keep(_round())
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}
    store.clear()
    assert not store.folder.exists()
    assert len(store) == 0


def test_a_store_without_a_folder_leaves_nothing(tmp_path: Path) -> None:
    store = RoundStore()
    store.keep(_round())
    place = store.folder
    assert place.is_dir()
    del store
    assert not place.exists()


def test_another_process_takes_rounds_up(tmp_path: Path) -> None:
    RoundStore(tmp_path / "rounds").keep(_round())
    again = RoundStore(tmp_path / "rounds")
    assert list(again) == []
    again.take_up([3])
    assert _same(again[3], _round())


@pytest.mark.parametrize("damage", ["cut", "no values", "no description", "nonsense", "another round"])
def test_a_round_that_is_not_whole_is_refused(damage: str, tmp_path: Path) -> None:
    RoundStore(tmp_path / "rounds").keep(_round())
    values, about = tmp_path / "rounds" / "3.f32", tmp_path / "rounds" / "3.json"
    match damage:
        case "cut":
            os.truncate(values, values.stat().st_size - 4)
        case "no values":
            values.unlink()
        case "no description":
            about.unlink()
        case "nonsense":
            about.write_text("[1, 2]")
    again = RoundStore(tmp_path / "rounds")
    with pytest.raises(ValueError, match="cannot be read"):
        again.take_up([4] if damage == "another round" else [3])
    assert len(again) == 0


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "rounds").symlink_to(elsewhere)
    (tmp_path / "file").write_text("")
    for place in ("rounds", "rounds/below", "file/below"):
        store = RoundStore(tmp_path / place)
        store.keep(_round())
        assert _same(store[3], _round())
        store.clear()
    assert list(elsewhere.iterdir()) == []
