"""Cores, memory, threads: what a run may use."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedsec.errors import FedsecError
from fedsec.runner import machine
from fedsec.runner.machine import Machine, limited_threads, parse_memory, resolve_device, thread_variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8GB", 8 * 10**9), ("500 MiB", 500 * 2**20), ("1.5g", 1_500_000_000), ("123", 123), (7, 7), (None, None)],
)
def test_memory_is_read_with_its_unit(text: str | int | None, expected: int | None) -> None:
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1", "8 apples", "1e9", "0", 0, -5, "0.0001", "9" * 400, "٣GB"])
def test_memory_that_is_none_is_refused(text: str | int) -> None:
    with pytest.raises(FedsecError, match="8GB or 500MiB"):
        parse_memory(text)


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_a_clear_error(text: str) -> None:
    try:
        found = parse_memory(text)
    except FedsecError:
        return
    assert found is not None
    assert found > 0


def test_workers_are_bounded_by_groups_and_threads_never_follow_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    assert Machine(workers=None).count(100) == 8
    assert Machine(workers=None, threads=3).count(100) == 2
    assert Machine(workers=None, threads=16).count(100) == 1
    assert Machine(workers=None).count(3) == 3
    assert Machine(workers=20).count(100) == 20
    assert Machine(workers=20).count(0) == 1
    assert Machine(workers=None).count(100, "cuda") == 1
    assert Machine(workers=2).count(100, "cuda") == 2
    assert Machine(workers=20).threads == 1


def _group(folder: Path, limit: str, used: int, inactive: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")


def test_limits_of_control_groups_count_all_the_way_up(tmp_path: Path) -> None:
    root, groups = tmp_path / "sys", tmp_path / "cgroup"
    _group(root / "a" / "b", "max", 100)
    _group(root / "a", "1000", 300, inactive=50)
    groups.write_text("0::/a/b\n")
    assert machine._group_limits(root, groups) == [750]
    _group(root / "a" / "b", "400", 390)
    assert sorted(machine._group_limits(root, groups)) == [10, 750]


@pytest.mark.parametrize("text", ["", "nonsense\n", "0::\n", "::::\n", "4:cpu:/x\n", "0::/../../..\n"])
def test_control_groups_that_say_nothing_limit_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(text)
    assert machine._group_limits(tmp_path / "sys", tmp_path / "cgroup") == []


def test_version_1_control_groups(tmp_path: Path) -> None:
    folder = tmp_path / "sys" / "memory" / "job"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("900")
    (folder / "memory.usage_in_bytes").write_text("400")
    (tmp_path / "cgroup").write_text("4:cpu:/job\n7:memory:/job\n")
    assert machine._group_limits(tmp_path / "sys", tmp_path / "cgroup") == [500]


def test_this_machine_has_memory() -> None:
    assert machine.available_memory() > 10**8
    assert 0 < Machine().bound < machine.available_memory()
    assert machine.used_memory(2**30) == 0


def _blas() -> dict[str, int]:
    from threadpoolctl import threadpool_info

    return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_threads_are_limited_and_put_back() -> None:
    import scipy.linalg  # noqa: F401  (loads a library of its own)

    torch_before, before = torch.get_num_threads(), _blas()
    with limited_threads(1):
        assert torch.get_num_threads() == 1
        assert set(_blas().values()) == {1}
        with limited_threads(2):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == torch_before
    assert _blas() == before


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(FedsecError, match="--device cpu"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("cuda") == "cuda"


def test_threads_that_wait_sleep_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert thread_variables(2)["OMP_WAIT_POLICY"] == "passive"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert thread_variables(2)["OMP_WAIT_POLICY"] == "active"
