"""About how long a training takes and how much memory it needs, from a scenario alone. Imports no torch.

Time: 2 floating point operations per parameter and token forward, as many backward through activations and again into
weights (so 6 under full tuning, 4 under LoRA, 2 to evaluate), at the rate of a matrix product measured here, times what
small batches reach of it; plus what each local step costs beside its products, and its and the defenses' passes over
memory. Against quick/byzantine, quick/inversion and LoRA on minilm (one thread, little else running), times and memory
lay within a factor of 2 of what was measured; a machine that is busy takes as much longer. What attacks that read take
is no part of it.
"""

import gzip
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from fedsec import registry
from fedsec.config.endings import ENDINGS
from fedsec.config.schema import Scenario
from fedsec.data.hub import TEST_SPLITS
from fedsec.data.named import folder_of
from fedsec.plan.cells import Cell
from fedsec.plan.tasks import Group

SHARE_OF_PEAK = 0.45
"""What training and evaluation reach of a large matrix product's rate."""
STEP_SECONDS = 1.5e-3
"""Per local step and layer, beside the products: dispatch, batches, the optimizer's bookkeeping."""
PASSES = 12
"""Times that a local step under full tuning moves every trained parameter through memory."""
PROCESS_BYTES = 600_000_000
"""Python with torch and transformers, a corpus and the allocator's reserve, without pages that processes share."""
UNKNOWN_BYTES = 1_000_000_000
"""Assumed of a model of which nothing is known."""
START_SECONDS = 4.0
"""Of a worker, until its first cell trains."""
_WHOLE = 3
"""Whole vectors that are kept of a round beside its rows: the aggregate, the model before and after."""
_COPIES = 0.5
"""Of a round's rows, made by aggregation, which works in chunks."""
_ACTIVATIONS = 34
"""Numbers kept per token, layer and unit of width for the backward pass (Korthikanti et al. 2022, section 4.1)."""
_CHARACTERS_PER_TOKEN = 4.2
_LINES = 200
_COUNTED_BYTES = 50_000_000
_LONGEST_LINE = 1_000_000


@dataclass(frozen=True, slots=True)
class Architecture:
    """The sizes of a transformer that time and memory depend on."""

    layers: int
    width: int
    inner: int
    vocabulary: int
    positions: int
    """Rows of the table of positions; 0 for rotary ones."""
    inner_maps: int = 2
    """Linear maps between width and inner width in a layer; gated ones are three."""
    shared: int | None = None
    """Outputs of a layer's keys, and of its values, where heads share them; the width if None."""

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Inputs and outputs of the linear maps of a layer: queries, values, keys, attention's output, feed-forward."""
        whole, pair = (self.width, self.width), (self.width, self.shared or self.width)
        return (whole, pair, pair, whole, *self.inner_maps * ((self.width, self.inner),))

    @property
    def body(self) -> int:
        """Parameters that multiply every token: attention and feed-forward."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.maps)

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.body + (self.vocabulary + self.positions) * self.width

    def trained(self, scenario: Scenario) -> int:
        """Parameters that are trained and sent."""
        tuning = scenario.model.tuning
        embeddings = (self.vocabulary + self.positions) * self.width if tuning.trains_embeddings else 0
        if tuning.kind == "full":
            return self.body + embeddings
        head = 8 * self.width
        if tuning.kind != "lora":
            return embeddings + head
        adapted = self.maps if tuning.targets == "all-linear" else self.maps[:2]
        return embeddings + head + self.layers * tuning.rank * sum(map(sum, adapted))


@dataclass(frozen=True, slots=True)
class Speed:
    """What this machine does with one thread."""

    operations: float
    """Floating point operations per second of a matrix product."""
    bytes: float
    """Bytes per second of a copy."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of one training and the cells that share it."""

    seconds: float | None
    """None where nothing is known of the model."""
    memory: int
    """Bytes of the process that runs it."""
    measured: bool = False
    """Whether the time is that of finished cells of the same training."""


def measure_speed() -> Speed:
    """A few matrix products and copies: about 50 ms."""
    left = np.ones((384, 384), dtype=np.float32)
    best_product = min(_timed(lambda: left @ left) for _ in range(15))
    block = np.ones(4_000_000, dtype=np.float32)
    best_copy = min(_timed(block.copy) for _ in range(4))
    return Speed(2 * 384**3 / best_product, 2 * block.nbytes / best_copy)


def estimate(group: Group, speed: Speed, finished: Sequence[dict[str, Any]] = (), *, encoded: bool = False) -> Estimate:
    """Time and memory of a group of cells, reading attacks' own time aside.

    Args:
        group: cells that share one training.
        speed: of this machine.
        finished: the contents of cells of this training that ran before.
        encoded: whether a group before it ran the same texts through a frozen encoder.
    """
    cell = group.tasks[0].cell
    per_round = [
        content["cell"]["metrics"]["cost/seconds-per-round"]["value"]
        for content in finished
        if "cost/seconds-per-round" in content["cell"]["metrics"]
    ]
    if per_round:
        return Estimate(min(per_round) * cell.scenario.federation.rounds, memory_of(group), measured=True)
    return Estimate(_seconds(cell, speed, encoded=encoded), memory_of(group))


def longest_first(groups: Sequence[Group]) -> list[Group]:
    """The groups in an order in which several workers end together: those that take long begin, unknown ones foremost.

    Args:
        groups: cells that share one training, each.
    """
    speed = Speed(50e9, 10e9)  # any one: the order hardly depends on it, and is the same on every machine
    seconds = {group.key: estimate(group, speed).seconds for group in groups}
    return sorted(groups, key=lambda group: -(seconds[group.key] or inf))


def memory_of(group: Group) -> int:
    """Bytes of a process that runs this group: torch, the model, its optimizer, a batch, and the round's rows."""
    cell = group.tasks[0].cell
    scenario = cell.scenario
    known = architecture(scenario)
    if known is None:
        return PROCESS_BYTES + UNKNOWN_BYTES
    federation, trained = scenario.federation, known.trained(scenario)
    rows = federation.cohort * trained * (1 + _COPIES)  # rounds that attacks look at lie on disk
    states = trained * (2 + 2 * (federation.optimizer == "adamw"))  # start and gradient; two moments
    batch = federation.batch_size * int(_tokens(scenario)) * known.layers * known.width * _ACTIVATIONS
    return PROCESS_BYTES + 4 * int(known.parameters + rows + states + batch)


def disk_of(group: Group) -> int:
    """Bytes on disk while this group runs: the rounds that attacks look at, and a checkpoint; 0 if nothing is known."""
    cell = group.tasks[0].cell
    known = architecture(cell.scenario)
    if known is None:
        return 0
    rounds = {number for task in group.tasks if not task.cell.observes for number in task.cell.rounds}
    federation, trained = cell.scenario.federation, known.trained(cell.scenario)
    kept = len(rounds) * (federation.cohort + _WHOLE) * trained
    checkpoint = trained * (1 + 2 * (federation.server_optimizer != "average"))
    return 4 * (kept + checkpoint)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Time until the last of several workers is done, groups being handed out in order as workers get free."""
    free = [0.0] * workers
    for duration in seconds:
        earliest = min(range(workers), key=free.__getitem__)
        free[earliest] += duration
    return max(free)


def architecture(scenario: Scenario) -> Architecture | None:
    """The sizes of a scenario's model, from its name, its parameters or its config.json; None if none says."""
    model = scenario.model
    if model.name == "minilm":
        return Architecture(6, 384, 1536, 30_522, 512)
    layers, width = model.params.get("layers"), model.params.get("width")
    if model.name == "smollm2-135m":
        return Architecture(int(layers or 30), 576, 1536, 49_152, 0, inner_maps=3, shared=192)
    if isinstance(layers, int) and isinstance(width, int):
        return Architecture(layers, width, 4 * width, 1_200 if model.name == "tiny-bert" else 4_000, 512)
    try:
        config = json.loads((Path(model.name) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return _of_config(config) if isinstance(config, dict) else None


def _of_config(config: dict[str, Any]) -> Architecture | None:
    def first(*names: str) -> int | None:
        return next((config[name] for name in names if isinstance(config.get(name), int)), None)

    layers = first("num_hidden_layers", "n_layer", "n_layers")
    width = first("hidden_size", "n_embd", "dim")
    if layers is None or width is None:
        return None
    inner = first("intermediate_size", "n_inner", "hidden_dim") or 4 * width
    positions = first("max_position_embeddings", "n_positions") or 0
    return Architecture(layers, width, inner, first("vocab_size") or 30_000, positions)


def _seconds(cell: Cell, speed: Speed, *, encoded: bool) -> float | None:
    scenario = cell.scenario
    known = architecture(scenario)
    if known is None:
        return None
    federation, tuning, tokens = scenario.federation, scenario.model.tuning.kind, _tokens(scenario)
    forward = 2 * known.body + 4 * known.layers * known.width * tokens  # per token, attention over `tokens` included
    rate = speed.operations * SHARE_OF_PEAK
    steps = federation.rounds * federation.cohort * federation.local_steps
    train_rows, test_rows = _rows(scenario)
    evaluations = -(-federation.rounds // federation.evaluate_every) + 1
    frozen = tuning == "head" and scenario.model.task == "sequence-classification"
    if frozen:  # the encoder runs once per text that is drawn
        drawn = min(train_rows, steps * federation.batch_size)
        products = 0.0 if encoded else (drawn + test_rows) * tokens * forward
        beside = steps * STEP_SECONDS
    else:
        factor = {"full": 3.0, "lora": 2.0}.get(tuning, 1.0)
        asked = scenario.evaluation
        read = steps * federation.batch_size * factor + evaluations * test_rows  # texts
        if asked.generate is not None:  # before and after, with each token computed once
            read += 2 * asked.generate * (1 + asked.max_new_tokens / tokens)
        products = read * tokens * forward
        beside = steps * STEP_SECONDS * known.layers
    trained = known.trained(scenario)
    moved = 4 * trained * (steps * PASSES + federation.rounds * federation.cohort * _passes(cell))
    return float(products / rate + beside + moved / speed.bytes)


def _passes(cell: Cell) -> float:
    """Passes of the cell's defenses over an update."""
    return sum(registry.defenses().get(component.name).passes for component in cell.defense)


def _tokens(scenario: Scenario) -> float:
    """Tokens of a typical text."""
    longest = float(scenario.data.max_tokens)
    if scenario.data.name == "clinic-notes":
        return min(longest, 32.0)
    file = _file(scenario, ("train",))
    lengths = [_length(line) for line in islice(_lines(file), _LINES)] if file else []
    return min(longest, sum(lengths) / len(lengths) / _CHARACTERS_PER_TOKEN + 2) if lengths else longest / 2


def _rows(scenario: Scenario) -> tuple[int, int]:
    """Rows to train on and to test on, counted where the scenario does not say."""
    data = scenario.data
    card = registry.datasets().get(data.name) if data.name and data.name in registry.datasets() else None
    if card is not None and card.rows is not None:
        return data.train or card.rows[0], data.test or card.rows[1]
    if data.train and data.test:
        return data.train, data.test
    file, tested = _file(scenario, ("train",)), _file(scenario, TEST_SPLITS)
    rows = _count(file)
    if tested is None or tested == file:  # a tenth is held out
        held_out = max(1, rows // 10)
        return data.train or max(1, rows - held_out), data.test or held_out
    return data.train or rows, data.test or _count(tested)


def _file(scenario: Scenario, stems: tuple[str, ...]) -> Path | None:
    data = scenario.data
    place = Path(data.path) if data.path else folder_of(str(data.name))
    try:
        if place is None or place.is_file():
            return place
        named = (place / f"{stem}{ending}" for stem in stems for ending in ENDINGS)
        return next((path for path in named if path.is_file()), None)
    except OSError:
        return None


def _lines(file: Path) -> Iterator[str]:
    """Lines, or pieces of very long ones, of the first `_COUNTED_BYTES` of a file."""
    try:
        opened: Any = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", encoding="utf-8", errors="replace") as stream:
            read = 0
            while read <= _COUNTED_BYTES and (line := stream.readline(_LONGEST_LINE)):
                read += len(line)
                yield line
    except (OSError, EOFError):
        return


def _length(line: str) -> int:
    """Characters of the longest text of a row."""
    try:
        row = json.loads(line)
    except ValueError:
        return len(line)
    texts = [value for value in row.values() if isinstance(value, str)] if isinstance(row, dict) else []
    return max(map(len, texts), default=len(line))


def _count(file: Path | None) -> int:
    """Lines of a file, up to 50 MB of it."""
    read = lines = 0
    for line in _lines(file) if file else ():
        read, lines = read + len(line), lines + 1
        if read > _COUNTED_BYTES:
            break
    return max(1, lines)


def _timed(action: Any) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
