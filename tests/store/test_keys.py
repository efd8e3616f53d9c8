"""Hashes of data and weights: whatever a result depends on changes them, and nothing else does."""

import os
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from fedsec.errors import FedsecError
from fedsec.store.keys import data_hash, digest, file_hashes, weights_hash


def test_a_digest_is_of_content_and_not_of_order() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    contents = ({"a": 1}, {"a": "1"}, {"a": 1.5}, {"a": [1]}, {"a": None}, {"b": 1}, [1, 2], [2, 1], "ä", "a")
    assert len({digest(content) for content in contents}) == len(contents)
    assert len(digest({})) == 16


def test_a_data_file_is_known_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("one")
    before = data_hash(None, str(file))
    file.touch()
    assert data_hash(None, str(file)) == before
    file.write_text("two")
    assert data_hash(None, str(file)) != before


def test_a_data_folder_is_known_by_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("one")
    hashes = [data_hash(None, str(tmp_path))]
    (tmp_path / "test.jsonl").write_text("two")
    hashes.append(data_hash(None, str(tmp_path)))
    (tmp_path / "test.jsonl").rename(tmp_path / "validation.jsonl")
    hashes.append(data_hash(None, str(tmp_path)))
    assert len(set(hashes)) == 3


def test_a_named_set_is_known_by_its_folders_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path))
    (tmp_path / "sst2").mkdir()
    (tmp_path / "sst2" / "train.jsonl").write_text("one")
    before = data_hash("sst2", None)
    (tmp_path / "sst2" / "train.jsonl").write_text("two")
    assert data_hash("sst2", None) != before
    assert data_hash("sst2", None) != data_hash("cola", None)


def test_a_local_model_is_known_by_its_files_and_another_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = weights_hash(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert weights_hash(str(tmp_path)) != before
    assert weights_hash("tiny-bert") != weights_hash("minilm")


def test_missing_files_have_no_hash(tmp_path: Path) -> None:
    assert file_hashes([tmp_path / "nothing"]) == {}


def _aged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a file be one that settled long ago."""
    os.utime(path, (1_000_000_000, 1_000_000_000))
    now = time.time()
    monkeypatch.setattr("fedsec.store.keys.time.time", lambda: now + 60)


def _count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    reads: list[Path] = []
    opened = Path.open

    def counting(self: Path, *arguments: object, **named: object) -> object:
        reads.append(self)
        return opened(self, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", counting)
    return reads


def test_a_file_is_read_once_and_again_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("one")
    _aged(file, monkeypatch)
    reads = _count_reads(monkeypatch)
    before = [data_hash(None, str(file)) for _ in range(5)]
    assert len(set(before)) == 1
    assert len(reads) == 1
    file.write_text("two")  # the same size
    reads.clear()
    assert data_hash(None, str(file)) != before[0]
    os.utime(file, (1_000_000_000, 1_000_000_000))  # the same time of change as before
    assert data_hash(None, str(file)) != before[0]


def test_a_file_that_just_changed_is_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("one")  # a second change may come before the file system's clock ticks
    reads = _count_reads(monkeypatch)
    assert len({data_hash(None, str(file)) for _ in range(3)}) == 1
    assert len(reads) == 3


def test_a_file_that_cannot_be_read_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("one")

    def refuses(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuses)
    with pytest.raises(FedsecError, match=r"rows\.jsonl"):
        data_hash(None, str(file))


def _cached_model(cache: Path, commit: str) -> None:
    folder = cache / "models--someone--model"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "snapshots" / commit / "config.json").write_text("{}")


def test_a_hub_id_is_known_by_the_revision_that_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    hashes = [weights_hash("someone/model")]
    for commit in ("a" * 40, "b" * 40):
        _cached_model(tmp_path, commit)
        hashes.append(weights_hash("someone/model"))
    assert len(set(hashes)) == 3
    assert hashes[0] == digest("someone/model")


@pytest.mark.parametrize("name", ["no/such/folder", "../x", "a" * 300, "--", "a b", "/nowhere"])
def test_what_is_no_hub_id_is_known_by_its_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert weights_hash(name) == digest(name)
