"""Notes that are read from the cache folder are those that would be generated."""

from pathlib import Path

import pytest

from fedsec.data import clinic_notes, kept_notes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDSEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "notes"


def test_what_is_kept_is_what_is_generated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generated = clinic_notes.generate(30, seed=3)
    assert kept_notes.kept_notes(30, seed=3) == generated
    monkeypatch.setattr(clinic_notes, "generate", lambda *_: pytest.fail("generated again"))
    read = kept_notes.kept_notes(30, seed=3)
    assert read == generated
    assert [type(item) for item in read[0].planted] == [clinic_notes.PlantedItem] * len(read[0].planted)


def test_another_seed_count_or_generator_is_another_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for count, seed in ((5, 0), (6, 0), (5, 1)):
        assert kept_notes.kept_notes(count, seed) == clinic_notes.generate(count, seed)
    monkeypatch.setattr(kept_notes, "_version", lambda: "other")
    kept_notes.kept_notes(5, 0)
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"abc\n[]", None])
def test_a_damaged_file_is_made_anew(folder: Path, damage: bytes | None) -> None:
    kept_notes.kept_notes(5)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"a", b"b", 40) if damage is None else damage)
    assert kept_notes.kept_notes(5) == clinic_notes.generate(5)
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEDSEC_CACHE", str(tmp_path / "file"))
    assert kept_notes.kept_notes(5) == clinic_notes.generate(5)
