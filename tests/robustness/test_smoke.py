"""`ci/smoke` passes as it is, and catches each of three defenses that were weakened by one line."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import fedsec
from fedsec.config.load import source_of
from fedsec.defenses.aggregation import krum, norm_bound
from fedsec.defenses.privacy import dp_sgd
from fedsec.gate import baseline
from fedsec.gate.judge import judge, look
from fedsec.gate.verdict import Verdict
from fedsec.result import read

SMOKE = "ci/smoke"
KRUM, BOUND = ("utility/next-token-accuracy/sign-flip/krum", "utility/next-token-accuracy/sign-flip/norm-bound")
NOISE, SIGNAL = ("dp-sgd/noise-norm/none/dp-sgd", "dp-sgd/signal-norm/none/dp-sgd")


def neighbours_reversed(patch: pytest.MonkeyPatch) -> None:
    """Krum takes the row that is farthest from its neighbours."""
    right = krum.krum_scores
    patch.setattr(krum, "krum_scores", lambda *given: -right(*given))


def bound_removed(patch: pytest.MonkeyPatch) -> None:
    """The bound scales no row down."""
    patch.setattr(norm_bound, "clipped_to", lambda norms, bound: torch.eye(len(norms), dtype=torch.float64))


def clip_removed(patch: pytest.MonkeyPatch) -> None:
    """DP-SGD clips no record's gradient."""
    right = dp_sgd.clipped_sum
    patch.setattr(dp_sgd, "clipped_sum", lambda each, bound: right(each, float("inf")))


def tenth_of_the_noise(patch: pytest.MonkeyPatch) -> None:
    """DP-SGD adds noise of a tenth of what its accountant counts."""
    own = SimpleNamespace(**vars(torch))
    own.randn = lambda *size, **more: torch.randn(*size, **more) / 10
    patch.setattr(dp_sgd, "torch", own)


CHANGES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], set[str]]] = {
    "krum's neighbours reversed": (neighbours_reversed, {KRUM}),
    "a bound removed": (bound_removed, {BOUND}),
    "a clip removed": (clip_removed, {SIGNAL}),
    "noise a tenth": (tenth_of_the_noise, {NOISE}),
}


def verdict_of(out: Path, against: Path | None = None) -> Verdict:
    """The verdict on a run of ci/smoke in this process; without a baseline it is blessed and held against itself."""
    result = fedsec.run(fedsec.load_scenario(SMOKE), out, device="cpu", source=source_of(SMOKE))
    _, record = read(result.path)
    looked = look(result.path, record, result.scorecard, result.cells)
    if against is None:
        against = out / "baseline.json"
        baseline.write(against, looked.baseline())
    return judge(looked, against)


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline of ci/smoke as it is."""
    out = tmp_path_factory.mktemp("trusted")
    verdict = verdict_of(out)
    assert verdict.outcome.word == "pass", verdict.sentence
    return out / "baseline.json"


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_weakened_defense_is_caught(
    change: str, trusted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weaken, caught = CHANGES[change]
    weaken(monkeypatch)
    verdict = verdict_of(tmp_path, trusted)
    failed: set[Any] = {check.rule for check in verdict.checks if check.outcome.word == "failed"}
    assert verdict.exit_code == 10, verdict.sentence
    assert failed >= caught
    assert all(check.place is not None for check in verdict.checks)


@pytest.mark.slow
def test_a_baseline_of_one_thread_count_passes_with_another(trusted: Path, tmp_path: Path) -> None:
    result = fedsec.run(fedsec.load_scenario(SMOKE), tmp_path, device="cpu", threads=2)
    _, record = read(result.path)
    assert judge(look(result.path, record, result.scorecard, result.cells), trusted).exit_code == 0
