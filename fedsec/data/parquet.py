"""Rows of parquet files and of the Arrow tables that the hub's data come as, unpacked within bounds."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fedsec.data.layout import Layout, Row
from fedsec.errors import FedsecError

BATCH = 128
"""Rows unpacked at a time."""
ROW_BYTES = 64
"""Bytes that count for a row beside its texts, so that empty rows are not free."""


def parquet_rows(raw: BinaryIO, layout: Layout, where: str, limit: int) -> Iterator[Row]:
    """The wanted columns of a parquet file, row by row; the others are not unpacked.

    What the file says of its size is checked first. Then all of it is read once and counted, since the file may lie,
    and since one long text may stand for millions of rows that repeat it: what the file keeps in dictionaries is not
    written out for that.

    Args:
        raw: the file.
        layout: the columns.
        where: what messages call the file.
        limit: bytes that its texts may unpack to.

    Raises:
        FedsecError: it cannot be read, or unpacks to too much.
    """
    try:
        yield from _unpacked(raw, layout, where, limit)
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise FedsecError(f"{where} cannot be read: {error!s:.200}") from error


def check_size(batches: Iterable[pa.RecordBatch], where: str, limit: int) -> None:
    """Refuse batches that unpack to too much.

    Args:
        batches: of the wanted columns only.
        where: what messages call their source.
        limit: bytes that all of them may unpack to.

    Raises:
        FedsecError: they unpack to more.
    """
    total = 0
    for batch in batches:
        total += sum(_bytes(column) for column in batch.columns) + ROW_BYTES * batch.num_rows
        if total > limit:
            raise FedsecError(_too_large(where, limit))


def check_types(schema: pa.Schema, layout: Layout, where: str) -> list[str]:
    """The names of the wanted columns, each of a type that can be a text, a label or a group.

    The layout is told of one that is missing, stands twice, or is nested or binary.
    """
    layout.check_columns(schema.names, where)
    names = []
    for name in [name for name in layout.wanted if schema.names.count(name) == 1]:
        kind = schema.field(name).type
        inner = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_nested(inner) or _is_binary(inner) or isinstance(inner, pa.BaseExtensionType):
            fault = f"{where}: column '{name}' holds {str(kind)[:80]}; allowed: texts and numbers"
            layout.how.fault(layout.setting_of(name), fault)
        else:
            names.append(name)
    return names


def _unpacked(raw: BinaryIO, layout: Layout, where: str, limit: int) -> Iterator[Row]:
    file = pq.ParquetFile(raw)
    names = check_types(file.schema_arrow, layout, where)
    metadata = file.metadata
    # Of all columns: looking into single ones ends the process where their part of the metadata is damaged.
    said = sum(max(0, metadata.row_group(group).total_byte_size) for group in range(metadata.num_row_groups))
    if said + ROW_BYTES * metadata.num_rows > limit:
        raise FedsecError(_too_large(where, limit))
    texts = [name for name in names if _is_text(file.schema_arrow.field(name).type)]
    packed = pq.ParquetFile(raw, metadata=metadata, read_dictionary=texts)
    check_size(packed.iter_batches(BATCH, columns=names, use_threads=False), where, limit)
    for batch in packed.iter_batches(BATCH, columns=names, use_threads=False):
        yield from batch.to_pylist()


def _bytes(column: pa.Array) -> int:
    """What a column unpacks to."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    if not _is_text(column.type.value_type):
        return 8 * len(column)
    lengths = pc.take(pc.cast(pc.binary_length(column.dictionary), pa.int64()), column.indices)
    return int(pc.sum(lengths).as_py() or 0)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def _too_large(where: str, limit: int) -> str:
    return f"{where} holds more than {limit:,} bytes unpacked; split it"
