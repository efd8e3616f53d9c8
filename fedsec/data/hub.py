"""Data sets of the Hugging Face hub, read through `datasets` at a pinned commit; no code of a repository is run.

`datasets` keeps what it downloaded and prepared under its own cache folder. Here every commit gets a folder of its own
in there: without network, `datasets` falls back to the latest copy of a repository that it finds in its cache,
whatever its commit, and in a folder of one commit it finds that one or none.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fedsec.api import HubSource
from fedsec.data.files import MAX_UNPACKED_BYTES
from fedsec.data.layout import Layout, Split, read_split
from fedsec.errors import FedsecError, MissingDataError

READERS = ("parquet", "json", "csv", "text", "arrow", "cache")
"""Readers of `datasets` that a repository may ask for: bare tables and texts; `cache` reads what these prepared."""
TEST_SPLITS = ("test", "validation", "val", "valid", "dev", "eval")
"""What a split to test on may be called, the first of them before the others."""


class FromHub(NamedTuple):
    """What was read of a repository."""

    train: Split
    test: Split | None
    """None if it has no split to test on."""
    labels: tuple[str, ...]
    """Names of the labels as the repository gives them; empty if it gives none."""


def read_hub(source: HubSource, revision: str, layout: Layout, *, find_test: bool = False) -> FromHub:
    """The splits of a repository at one commit.

    Args:
        source: the repository, its configuration and splits.
        revision: full commit hash.
        layout: columns of the training split; its group is not asked of the test split. Where it says so, nothing is
            fetched.
        find_test: whether to look for a split to test on where the source names none.

    Raises:
        MissingDataError: the repository cannot be had at that commit, for whatever reason.
        FedsecError: it was had and cannot be used.
    """
    where = f"{source.id} at {revision[:12]}"
    with ExitStack() as around:
        if layout.how.offline:
            if not _may_be_kept(revision):  # `datasets` takes a second or two to import
                raise MissingDataError(f"{where} was not fetched from the hub before")
            around.enter_context(_offline())
        around.enter_context(_quiet())
        try:
            dataset = _prepared(source, revision)
        except FedsecError:
            raise
        except Exception as error:  # the hub's client, `datasets` and the network raise all kinds
            said = f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.'):.300}"
            raise MissingDataError(f"{where} cannot be had from the hub: {said}") from error
        test = source.test
        if test is None and find_test:
            test = next((name for name in TEST_SPLITS if name in dataset), None)
        train_split = _split(dataset, source.train, layout, where)
        test_split = _split(dataset, test, replace(layout, group=None), where) if test else None
    feature = dataset[source.train].features.get(layout.columns.label) if layout.columns.label else None
    return FromHub(train_split, test_split, tuple(getattr(feature, "names", ()) or ()))


def _prepared(source: HubSource, revision: str) -> Any:
    """All splits of the configuration."""
    import datasets

    folder = Path(datasets.config.HF_DATASETS_CACHE) / f"pinned-{revision}"
    # With `hf://` a local folder of that name is never taken for the repository.
    builder = datasets.load_dataset_builder(
        f"hf://datasets/{source.id}", source.config, revision=revision, cache_dir=str(folder)
    )
    reader = type(builder).__module__.rpartition(".")[2]
    if reader not in READERS:
        raise FedsecError(f"{source.id} holds data for the reader '{reader}'; allowed: {', '.join(READERS)}")
    if builder.hash != revision:
        raise MissingDataError(f"{source.id} came as {builder.hash!s:.60} when asked for {revision}")
    said = max(builder.info.dataset_size or 0, builder.info.download_size or 0)
    if said > MAX_UNPACKED_BYTES:
        raise FedsecError(f"{source.id} holds {said:,} bytes; allowed: at most {MAX_UNPACKED_BYTES:,}")
    builder.download_and_prepare()
    return builder.as_dataset()


def _split(dataset: Any, name: str, layout: Layout, where: str) -> Split:
    from fedsec.data.parquet import check_size, check_types

    where = f"{where}, split '{name}'"
    if name not in dataset:
        raise FedsecError(f"{where} does not exist; there is: {', '.join(dataset)}")
    table = dataset[name].data.table  # memory-mapped
    names = check_types(table.schema, layout, where)
    batches = table.select(names).to_batches(max_chunksize=1024)
    check_size(batches, where, MAX_UNPACKED_BYTES)
    return read_split((row for batch in batches for row in batch.to_pylist()), layout, where)


def _may_be_kept(revision: str) -> bool:
    """Whether there is a folder of that commit where `datasets` keeps what it prepared."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    kept = Path(os.environ.get("HF_DATASETS_CACHE") or Path(home) / "datasets").expanduser()
    return (kept / f"pinned-{revision}").is_dir()


@contextmanager
def _offline() -> Iterator[None]:
    """Without network for `datasets` and the hub's client."""
    import datasets
    import huggingface_hub

    places: tuple[Any, ...] = (datasets.config, huggingface_hub.constants)
    before = [place.HF_HUB_OFFLINE for place in places]
    for place in places:
        place.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and warnings of `datasets` and the hub's client, which know nothing of our display."""
    import datasets

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    bars, levels = datasets.are_progress_bars_disabled(), [logger.level for logger in loggers]
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)  # what matters of it is raised as well
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
