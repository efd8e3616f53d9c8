"""Atomic writes: whoever looks sees the old file or the new one, never half of one, whatever goes wrong."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fedsec.store.atomic import write_json, write_text

OLD, NEW = "old\n" * 1000, "new\n" * 3000


class Failed(OSError):
    """The disk is full."""


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _failing(*_: Any, **__: Any) -> Any:
    raise Failed("no space left")


def test_text_is_written_as_utf_8_and_parents_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write_text(path, "äöü 漢字 \u2028\n")
    assert path.read_bytes() == "äöü 漢字 \u2028\n".encode()


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    for text in (OLD, NEW, ""):
        write_text(tmp_path / "file", text)
        assert (tmp_path / "file").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640])
def test_permissions_are_those_asked_for_whatever_the_umask(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for umask in (0o000, 0o077):
        before = os.umask(umask)
        try:
            write_text(path, NEW, mode)
        finally:
            os.umask(before)
        assert _mode(path) == mode
    write_text(path, NEW, 0o600)
    assert _mode(path) == 0o600


def test_a_private_file_is_never_readable_by_others_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        seen.extend(_mode(path) for path in tmp_path.iterdir())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    before = os.umask(0)
    try:
        write_text(tmp_path / "file", NEW, 0o600)
    finally:
        os.umask(before)
    assert seen
    assert set(seen) == {0o600}


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace", "write"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failure_at_any_step_leaves_the_old_file_and_nothing_behind(
    step: str, existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    if existing:
        write_text(path, OLD)
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", _failing)
    elif step == "write":
        monkeypatch.setattr(os, "fdopen", _torn_stream)
    else:
        monkeypatch.setattr(Path, step, _failing)
    with pytest.raises(Failed):
        write_text(path, NEW)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == (["file"] if existing else [])
    if existing:
        assert path.read_text() == OLD


class _Torn:
    """A stream whose disk fills up halfway."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __enter__(self) -> "_Torn":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, text: str) -> None:
        self._stream.write(text[: len(text) // 2])
        self._stream.flush()
        raise Failed("no space left")


def _torn_stream(descriptor: int, *arguments: Any, **keywords: Any) -> _Torn:
    return _Torn(open(descriptor, *arguments, **keywords))


def test_a_failing_flush_of_the_folder_leaves_the_new_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls, fsync = tmp_path / "file", [], os.fsync
    write_text(path, OLD)

    def second_fails(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise Failed("no space left")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", second_fails)
    with pytest.raises(Failed):
        write_text(path, NEW)
    assert path.read_text() == NEW
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_content_is_on_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_text(tmp_path / "file", NEW)
    assert steps == ["file", "rename", "folder"]


@pytest.mark.parametrize("content", [float("nan"), {"a": [float("inf")]}, {"a": {1, 2}}, {"text": "\ud800"}, object()])
def test_what_json_cannot_hold_leaves_the_old_file(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"old": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(path, content)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


def test_json_keeps_its_keys_order_and_text(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"z": 1, "a": "ä", "m": [1.5, None, True]})
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert list(json.loads(text).items()) == [("z", 1), ("a", "ä"), ("m", [1.5, None, True])]
    assert text.endswith("}\n")
    assert "ä" in text


def test_a_folder_in_the_way_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="irectory"):
        write_text(tmp_path / "file", NEW)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_readers_and_several_writers_never_see_a_mixture(tmp_path: Path) -> None:
    path = tmp_path / "file"
    texts = [str(i) * 20_000 for i in range(4)]
    write_text(path, texts[0])
    seen: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    def write(text: str) -> None:
        for _ in range(10):
            write_text(path, text)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert seen
    assert seen <= set(texts)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


_KILL_AT: dict[str, str] = {
    "before the file is flushed": "os.fsync = die",
    "before the rename": "Path.replace = die",
    "before the permissions are set": "Path.chmod = die",
    "after the rename": "Path.replace = lambda self, target, replace=Path.replace: (replace(self, target), die())",
}


@pytest.mark.parametrize("moment", _KILL_AT)
def test_a_kill_leaves_the_old_file_or_the_new_one(moment: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, OLD)
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom fedsec.store.atomic import write_text\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{_KILL_AT[moment]}\nwrite_text(Path({str(path)!r}), 'new\\n' * 3000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == (NEW if moment == "after the rename" else OLD)
    write_text(path, NEW)
    assert path.read_text() == NEW


def test_a_kill_amid_many_writes_never_leaves_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "0" * 50_000)
    code = (
        "from itertools import count\nfrom pathlib import Path\nfrom fedsec.store.atomic import write_text\n"
        f"for i in count(1):\n print(flush=True)\n write_text(Path({str(path)!r}), str(i % 10) * 50_000)\n"
    )
    for writes in (1, 2, 5, 17):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(writes):
                process.stdout.readline()
            process.kill()
        text = path.read_text()
        assert len(text) == 50_000
        assert len(set(text)) == 1
