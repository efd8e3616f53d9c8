"""Every malformed scenario of the corpus is refused with exactly the faults that it states.

A file states its faults in `# expect: LINE: TEXT` comments, or in a `.expected` file beside it.
"""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from fedsec.config.load import load_scenario
from fedsec.config.problems import ConfigError
from fedsec.errors import ExitCode, FedsecError

CORPUS = Path(__file__).parent / "malformed"
FILES = sorted(CORPUS.glob("*.yaml"))
EXPECT = re.compile(r"# expect: (\d+): (.+)")


def expected(file: Path) -> list[tuple[int, str]]:
    """The faults that a file states."""
    stated = file.with_suffix(".expected")
    text = (stated if stated.exists() else file).read_text(encoding="utf-8")
    return [(int(line), message) for line, message in EXPECT.findall(text)]


def test_the_corpus_is_large() -> None:
    assert len(FILES) >= 40


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_states_exactly_its_faults(file: Path) -> None:
    with pytest.raises(FedsecError) as caught:
        load_scenario(file)
    error = caught.value
    assert isinstance(error, ConfigError)
    assert error.exit_code == ExitCode.USAGE
    left = [(problem.line, str(problem)) for problem in error.problems]
    for line, message in expected(file):
        found = next((one for one in left if one[0] == line and message in one[1]), None)
        assert found is not None, f"line {line}: {message!r} is not among\n{error}"
        left.remove(found)
    assert not left, f"not stated: {left}"
    assert str(error).isprintable() or str(error).replace("\n", "").isprintable()


@pytest.mark.skipif(find_spec("fedsec.cli") is None or find_spec("fedsec.cli.main") is None, reason="no CLI yet")
def test_the_command_line_refuses_all_of_them(tmp_path: Path) -> None:
    code = (
        "import contextlib, io, json, sys\n"
        "from fedsec.cli.main import main\n"
        "results = {}\n"
        "for file in sys.argv[1:]:\n"
        "    sys.argv = ['fedsec', 'validate', file]\n"
        "    out, err = io.StringIO(), io.StringIO()\n"
        "    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n"
        "        try:\n"
        "            code = main()\n"
        "        except SystemExit as stop:\n"
        "            code = stop.code\n"
        "    results[file] = [code, out.getvalue() + err.getvalue()]\n"
        "print(json.dumps(results))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, FILES)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, tuple[int, str]] = json.loads(done.stdout)
    assert len(results) == len(FILES)
    for name, (exit_code, shown) in results.items():
        assert exit_code == ExitCode.USAGE, f"{name}: {exit_code}\n{shown}"
        assert "Traceback" not in shown, name
        assert Path(name).name in shown, f"{name}: the message names no file\n{shown}"
    assert list(tmp_path.iterdir()) == []
