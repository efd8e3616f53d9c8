"""One aggregation rule on rows in memory: ours, a peer's, and what the least would cost, in turn in one process.

Ours is a round's aggregation from the rows to the update: `Rows` anew each time, so that products are computed, then
filters, rule and weighted sum. The floor of a rule that works from distances is one plain fp32 product of the rows
with themselves and one weighted sum; that of a rule that works by coordinates is sorting them, in chunks that are
transposed first.
"""

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from aggregation_peers import Reply, flower_bulyan, flower_multi_krum, load_byzfl, records, versions

from fedsec import registry
from fedsec.api import Layout, RoundContext, TrainingSettings, Weighted, implements
from fedsec.maths.rows import Rows

CHUNK = 1 << 14
PAUSE = 0.2
"""Seconds before each timed call: the threads of the library that ran before wait busily for a while (OpenBLAS's for
up to 0.07 s), on cores that the next one needs."""
TAKES_F = ("Krum", "MultiKrum", "TrMean", "Meamed", "MDA", "NNM", "ARC")
KINDS = ("random", "opposed", "huge")
Run = Callable[[], Any]


def instance(kind: str, rows: int, columns: int, declared: int) -> torch.Tensor:
    """Rows of independent normal numbers, fp32 [rows, columns]; the last `declared` hostile unless `random`.

    Args:
        kind: `opposed`: colluders all send -10 times the others' mean; `huge`: each sends noise of scale 1e6.
        rows: how many.
        columns: parameters.
        declared: f.
    """
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    if kind == "opposed":
        matrix[rows - declared :] = -10 * matrix[: rows - declared].mean(dim=0)
    elif kind == "huge":
        matrix[rows - declared :] *= 1e6
    return matrix


def ours(names: list[str], parameters: dict[str, Any], matrix: torch.Tensor, declared: int) -> Run:
    """A round's aggregation by filters and, last, a rule; with memory kept from call to call, as in a federation."""
    *filters, rule = [_plugin(name, parameters if name == names[-1] else {}) for name in names]

    def aggregate() -> Any:
        rows, context = Rows(matrix), _context(matrix, declared)
        for step in filters:
            mixed = step.mix(rows, context)
            rows, context = rows.mixed(mixed.mixing), replace(context, declared_malicious=mixed.declared_malicious)
        vector = _vector(rule, rows, context)
        return rule.on_aggregate(vector.clone(), context) if implements(rule, "on_aggregate") else vector

    return aggregate


def _vector(rule: Any, rows: Rows, context: RoundContext) -> torch.Tensor:
    if implements(rule, "vector"):
        vector: torch.Tensor = rule.vector(rows, context)
        return vector
    found = rule.weights(rows, context)
    if isinstance(found, Weighted):
        return rows.weighted_sum(found.weights) + found.plus
    return rows.weighted_sum(found)


def _plugin(name: str, parameters: dict[str, Any]) -> Any:
    card = registry.defenses().get(name)
    return registry.load_target(card)(**card.resolve(parameters))


def _context(matrix: torch.Tensor, declared: int) -> RoundContext:
    rows, columns = matrix.shape
    return RoundContext(
        round=1,
        clients=tuple(range(rows)),
        examples=(1,) * rows,
        declared_malicious=declared,
        layout=Layout((), (), columns),
        training=TrainingSettings(
            update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=1, cohort=rows, rounds=1
        ),
        global_parameters=torch.empty(0),
        trusted=lambda: matrix[0] + matrix[1],
        generator=torch.Generator().manual_seed(0),
    )


def floor(kind: str, matrix: torch.Tensor) -> Run:
    """The least that any rule of that kind could cost: `gram` or `sort`."""
    weights = torch.full((len(matrix),), 1 / len(matrix))

    def gram() -> None:
        _ = matrix @ matrix.T
        _ = weights @ matrix

    def sort() -> None:
        for start in range(0, matrix.shape[1], CHUNK):
            np.sort(np.ascontiguousarray(matrix[:, start : start + CHUNK].numpy().T), axis=1)

    return gram if kind == "gram" else sort


def byzfl_forms(names: list[str], matrix: torch.Tensor, declared: int) -> dict[str, Run]:
    """The rule of byzfl on a torch tensor and on a numpy array, both of which it takes; steps in turn."""
    byzfl = load_byzfl()

    def form(matrix: Any) -> Run:
        steps = [getattr(byzfl, name)(**({"f": declared} if name in TAKES_F else {})) for name in names]
        return lambda: reduce(lambda vectors, step: step(vectors), steps, matrix)

    return {"torch": form(matrix), "numpy": form(matrix.numpy())}


def flower_forms(name: str, matrix: torch.Tensor, declared: int) -> dict[str, Run]:
    """Flower's rule of that name on arrays in memory, and on records, from which it reads the arrays itself."""
    vectors = list(matrix.numpy())

    def form(replies: list[Any]) -> Run:
        if name == "bulyan":
            return partial(flower_bulyan, replies, declared)
        return partial(flower_multi_krum, replies, declared, 1 if name == "krum" else len(matrix) - declared - 2)

    return {"arrays": form([Reply(v) for v in vectors]), "records": form(records(vectors))}


def main() -> None:
    """Write seconds of every repetition: ours, and of the other in each of its forms."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    matrix = instance(arguments.kind, arguments.rows, arguments.columns, arguments.declared)
    mine = ours(arguments.ours.split("+"), json.loads(arguments.parameters), matrix, arguments.declared)
    others = _others(arguments, matrix)
    result = torch.as_tensor(mine())
    references = [run() for run in others.values()]
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *others)}
    cpu: dict[str, list[float]] = {name: [] for name in seconds}
    for _ in range(arguments.repeats):
        for name, run in {"ours": mine, **others}.items():
            time.sleep(PAUSE)
            began, cpu_began = time.perf_counter(), time.process_time()
            run()
            seconds[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - cpu_began)
    difference = None if references[0] is None else _difference(result, references[0])
    found = {"seconds": seconds, "cpu": cpu, "difference": difference, "versions": versions()}
    arguments.out.write_text(json.dumps(found))


def _difference(ours: torch.Tensor, theirs: Any) -> float:
    expected = torch.as_tensor(theirs).double()
    return float((ours.double() - expected).norm() / expected.norm())


def _others(arguments: Namespace, matrix: torch.Tensor) -> dict[str, Run]:
    """What ours is compared with, by form; the first one counts."""
    peer, _, name = arguments.other.partition(":")
    if peer == "floor":
        return {name: floor(name, matrix)}
    if peer == "byzfl":
        return byzfl_forms(name.split("+"), matrix, arguments.declared)
    if peer == "flwr":
        return flower_forms(name, matrix, arguments.declared)
    peaceful = instance("random", arguments.rows, arguments.columns, arguments.declared)
    return {"random": ours(arguments.ours.split("+"), json.loads(arguments.parameters), peaceful, arguments.declared)}


def _arguments() -> Namespace:
    parser = ArgumentParser()
    parser.add_argument("--out", type=Path, required=True, help="file for the result, JSON")
    for name in ("rows", "columns", "declared", "repeats", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--ours", required=True, help="registered names, filters first: nnm+krum")
    parser.add_argument("--parameters", default="{}", help="of the rule, JSON")
    parser.add_argument("--other", required=True, help="floor:gram, floor:sort, byzfl:NNM+Krum, flwr:krum, ours:")
    parser.add_argument("--kind", choices=KINDS, default="random")
    return parser.parse_args()


if __name__ == "__main__":
    main()
