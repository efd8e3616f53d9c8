"""An attack's work: its clock, how far it is, and what is kept of it over an interruption."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fedsec.api import PublicModel, Reconstruction, ServerView, TrainingSettings, Work
from fedsec.cell import work as module
from fedsec.cell.claims_file import ClaimsFile, ClientRead
from fedsec.cell.work import CellWork
from fedsec.federation.progress import ClientsRead

CLIENTS = (4, 0, 7)


class Clock:
    """A time that goes by only when somebody reads."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module.time, "perf_counter", found)
    monkeypatch.setattr(module.time, "monotonic", found)
    return found


def _view(work: Work, round_number: int = 1, clients: tuple[int, ...] = CLIENTS) -> ServerView:
    settings = TrainingSettings(update="gradient", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=1)
    return ServerView(
        round=round_number,
        cohort=clients,
        clients=clients,
        rows=torch.zeros(len(clients), 2),
        aggregate=None,
        model=PublicModel(module=None, tokenizer=None, layout=None),  # type: ignore[arg-type]
        upload_bytes=8,
        training=settings,
        granted={},
        generator=torch.Generator().manual_seed(5),
        work=work,
    )


def _reader(
    clock: Clock, seen: list[int] | None = None, stop_at: int | None = None
) -> Callable[[Any, int], list[Reconstruction]]:
    """Takes ten seconds for a client, of which it claims what it draws; stops at one of them as Ctrl-C does."""

    def read(view: Any, place: int) -> list[Reconstruction]:
        client = view.clients[place]
        if client == stop_at:
            raise KeyboardInterrupt
        if seen is not None:
            seen.append(client)
        clock.now += 10.0
        drawn = torch.randint(1000, (4,), generator=view.generator).tolist()
        score = float(torch.rand((), generator=view.generator, dtype=torch.float64))
        return [Reconstruction(client=client, tokens=tuple(drawn), score=score, notes={"rank": 3.0})]

    return read


def _read(work: CellWork, read: Any, **view: Any) -> list[Reconstruction]:
    with work.running():
        return _view(work, **view).each_client(read)


def test_what_is_claimed_of_a_client_does_not_depend_on_who_was_read_before(clock: Clock) -> None:
    together = _view(Work()).each_client(_reader(clock))
    assert [claim.client for claim in together] == list(CLIENTS)
    assert len({claim.tokens for claim in together}) == 3
    alone = _view(Work(), clients=(7,)).each_client(_reader(clock))
    assert alone == [together[2]]


def test_an_interrupted_attack_goes_on_to_the_same_claims(clock: Clock, tmp_path: Path) -> None:
    whole = _read(CellWork(), _reader(clock))
    file = ClaimsFile(tmp_path / "checkpoints" / "k.claims.json", "k")
    with pytest.raises(KeyboardInterrupt):
        _read(CellWork(file=file, pause=1e9), _reader(clock, stop_at=7))
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    seen: list[int] = []
    again = CellWork(file=file)
    assert _read(again, _reader(clock, seen)) == whole
    assert seen == [7]
    assert again.spent == 30.0, "the seconds before the interruption count"
    other = CellWork(file=ClaimsFile(file.path, "other settings"))
    _read(other, _reader(clock, seen))
    assert seen == [7, *CLIENTS]


def test_a_process_that_is_killed_loses_a_little_work_only(clock: Clock, tmp_path: Path) -> None:
    file = ClaimsFile(tmp_path / "k.claims.json", "k")
    work = CellWork(file=file, pause=15.0)
    with work.running():
        clients = iter(_view(work).each_client(_reader(clock)))
    del clients
    assert {client for _, client in file.load()} == {4, 0}, "the third came within the pause"


def test_time_that_is_over_ends_the_attack_between_clients(clock: Clock) -> None:
    told: list[ClientsRead] = []
    work = CellWork(15.0, told=told.append)
    assert [claim.client for claim in _read(work, _reader(clock))] == [4, 0]
    assert work.over
    assert work.stopped
    assert work.verdict() == "threat.attack_seconds 15 ended it, with 2 of 3 clients read"
    assert told == [ClientsRead(1, 3, 5.0), ClientsRead(2, 3, 0.0)], "no longer than the limit"
    assert not CellWork(15.0).over


def test_a_client_that_was_read_in_part_is_not_kept(clock: Clock, tmp_path: Path) -> None:
    def read(view: Any, place: int) -> list[Reconstruction]:
        clock.now += 10.0
        return [] if view.seconds_left() else [Reconstruction(client=0, tokens=(1,), score=0.0)]

    file = ClaimsFile(tmp_path / "k.claims.json", "k")
    assert len(_read(CellWork(15.0, file=file, pause=0.0), read)) == 1
    assert {client for _, client in file.load()} == {4}


def test_an_attack_that_does_not_look_at_its_time_is_told_of(clock: Clock) -> None:
    work = CellWork(15.0)
    with work.running():
        clock.now += 40.0
    assert work.over
    assert not work.stopped
    assert work.verdict() == "it took 40 s of threat.attack_seconds 15, at which it does not look"


def test_several_rounds_are_one_work(clock: Clock, tmp_path: Path) -> None:
    told: list[ClientsRead] = []
    file = ClaimsFile(tmp_path / "k.claims.json", "k")
    work = CellWork(rounds=2, told=told.append, file=file, pause=0.0)
    claims = [_read(work, _reader(clock), round_number=number) for number in (1, 2)]
    assert told[0] == ClientsRead(1, 6, 50.0)
    assert told[-1] == ClientsRead(6, 6, 0.0)
    seen: list[int] = []
    again = CellWork(rounds=2, file=file)
    assert [_read(again, _reader(clock, seen), round_number=number) for number in (1, 2)] == claims
    assert seen == []
    _read(again, _reader(clock, seen), round_number=1)
    assert seen == list(CLIENTS), "a second look at a round is another one"


def test_the_view_of_one_client_keeps_nothing_and_shares_the_clock(clock: Clock, tmp_path: Path) -> None:
    file = ClaimsFile(tmp_path / "k.claims.json", "k")
    left: list[float] = []

    def within(view: Any, place: int) -> list[Reconstruction]:
        left.append(view.seconds_left())
        return list(view.each_client(_reader(clock)))

    _read(CellWork(1000.0, file=file, pause=0.0), within)
    assert left == [1000.0, 970.0, 940.0]
    assert [len(one.claims) for one in file.load().values()] == [3, 3, 3]


def test_claims_come_back_to_the_last_bit_and_those_that_json_cannot_hold_are_left_out(tmp_path: Path) -> None:
    file = ClaimsFile(tmp_path / "k.claims.json", "k")
    claims = (
        Reconstruction(client=None, tokens=(), score=0.1 + 0.2, verified=True, notes={"a": 1e-310}),
        Reconstruction(client=3, tokens=(2**31 - 1, 0), score=-1 / 3),
    )
    odd = (Reconstruction(client=3, tokens=(1,), score=float("inf")),)
    strange: Any = (Reconstruction(client=3, tokens=("a text",), score=0.0),)  # type: ignore[arg-type]
    file.save({(1, 3): ClientRead(claims, 2.5), (1, 4): ClientRead(odd, 1.0), (1, 5): ClientRead(strange, 1.0)})
    assert file.load() == {(1, 3): ClientRead(claims, 2.5)}


_WHOLE: dict[str, Any] = {
    "schema": 1,
    "key": "k",
    "read": [
        {
            "round": 1,
            "client": 4,
            "seconds": 1.0,
            "claims": [{"client": 4, "tokens": [5], "score": 0.5, "verified": False, "notes": {}}],
        }
    ],
}


def _changed(*path: Any, value: Any) -> bytes:
    content = json.loads(json.dumps(_WHOLE))
    place = content
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95\x1a",  # the beginning of a pickle
        b"[" * 100_000,
        json.dumps(_WHOLE).encode()[:-20],
        _changed("schema", value=2),
        _changed("key", value="another"),
        _changed("more", value=1),
        _changed("read", value={"1": 2}),
        _changed("read", 0, "client", value=-1),
        _changed("read", 0, "seconds", value=float("nan")),
        _changed("read", 0, "seconds", value=-5.0),
        _changed("read", 0, "claims", 0, "tokens", value=[2**40]),
        _changed("read", 0, "claims", 0, "tokens", value="5"),
        _changed("read", 0, "claims", 0, "score", value="0.5"),
        _changed("read", 0, "claims", 0, "notes", value={"a": None}),
    ],
)
def test_a_file_that_is_damaged_or_not_the_cells_is_not_believed(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "k.claims.json"
    path.write_bytes(json.dumps(_WHOLE).encode())
    assert len(ClaimsFile(path, "k").load()) == 1
    path.write_bytes(content)
    assert ClaimsFile(path, "k").load() == {}


def test_nothing_is_written_through_a_folder_that_is_a_link(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "elsewhere")
    work = CellWork(file=ClaimsFile(tmp_path / "checkpoints" / "k.claims.json", "k"), pause=0.0)
    assert len(_read(work, _reader(clock))) == 3, "the attack goes on"
    assert not list((tmp_path / "elsewhere").iterdir())
