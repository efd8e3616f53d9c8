"""A plug-in of pytest with the fixture `fedsec_run`; it loads and does nothing where no test asks for it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fedsec.result import RunResult


class Runs:
    """Runs scenarios into one folder, so that tests that share a scenario share its cells.

    Args:
        folder: of all runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._allowed: list[Path] = []

    def __call__(
        self,
        scenario: Path | str,
        overrides: Sequence[str] = (),
        *,
        plugins: Sequence[Path | str] = (),
        workers: int | None = 1,
    ) -> "RunResult":
        """Run a scenario, or what is left undone of it.

        Args:
            scenario: a file, or the name of a shipped scenario or suite.
            overrides: values to replace, each `PATH=VALUE`, as for `--set`.
            plugins: local plug-in files or folders, as for `--allow-plugins`; allowed until the tests end.
            workers: processes that run cells side by side; 1 runs them in this process, None takes one per core.

        Raises:
            FedsecError: the scenario or a plug-in has a fault, or no cell could run; says what to do.
        """
        from fedsec.config.load import load_scenario, source_of
        from fedsec.plugin_files import allow_plugins
        from fedsec.result import run

        for path in plugins:
            allow_plugins(path)
            self._allowed.append(Path(path).resolve())
        loaded = load_scenario(scenario, overrides)
        return run(loaded, self.folder, workers=workers, source=source_of(scenario))

    def close(self) -> None:
        """Take back what local plug-ins were allowed."""
        from fedsec.plugin_files import disallow_plugins

        for path in dict.fromkeys(self._allowed):
            disallow_plugins(path)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say where runs go."""
    parser.getgroup("fedsec").addoption(
        "--fedsec-out",
        metavar="DIR",
        help="folder of the runs that the fixture fedsec_run makes; kept, and continued by the next tests. "
        "A temporary one if left out.",
    )


@pytest.fixture(scope="session")
def fedsec_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run a scenario: `fedsec_run("gated.yaml", ["matrix.seed=[0, 1]"], plugins=["defenses"])` returns its result."""
    out = request.config.getoption("--fedsec-out")
    runs = Runs(tmp_path_factory.mktemp("fedsec-runs") if out is None else Path(out))
    yield runs
    runs.close()
