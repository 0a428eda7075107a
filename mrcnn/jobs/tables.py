"""The tables of a job as Parquet files, and columns of other people's tables. Needs pyarrow."""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mrcnn.errors import UsageError
from mrcnn.extras import how_to_install
from mrcnn.words import listed, printable

# Names of a column of pictures that are looked for, in this order, where nobody tells one.
COLUMNS = ("path", "url", "file_name", "filename", "file", "image", "picture", "uri")


@functools.cache
def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            f"a job's tables need the package pyarrow ({error}): {how_to_install('jobs')}."
        ) from error
    return pyarrow


def _schema() -> Any:
    pa = _arrow()
    return pa.schema(
        [
            ("path", pa.string()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("boxes", pa.list_(pa.list_(pa.int32(), 4))),
            ("class_ids", pa.list_(pa.int32())),
            ("scores", pa.list_(pa.float32())),
            ("masks", pa.list_(pa.string())),
            ("error", pa.string()),
        ]
    )


def check_installed() -> None:
    """Raise UsageError, which says how to install it, where pyarrow is missing."""
    _arrow()


def as_bytes(rows: Sequence[Mapping[str, Any]], told: Mapping[str, str]) -> bytes:
    """The Parquet file of pictures; of the same rows the same bytes, whoever writes them.

    rows: one for each picture; see the room's page for their keys. told: goes into its metadata.
    """
    pa = _arrow()
    table = pa.Table.from_pylist(list(rows), _schema().with_metadata(dict(told)))
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table, one after the other."""
    with _arrow().parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=16):
            yield from batch.to_pylist()


def summary(path: Path) -> tuple[int, int, dict[int, int]]:
    """(pictures, those that failed, {class id: instances}) of a part."""
    pa = _arrow()
    table = pa.parquet.read_table(path, columns=["class_ids", "error"])
    found = pa.compute.list_flatten(table["class_ids"]).value_counts().to_pylist()
    failed = len(table) - table["error"].null_count
    return len(table), failed, {row["values"]: row["counts"] for row in found}


def failures(paths: Sequence[Path]) -> Iterator[dict[str, str]]:
    """{path, error} of each picture that failed, in the parts of a job."""
    pa = _arrow()
    for path in paths:
        table = pa.parquet.read_table(path, columns=["path", "error"])
        if table["error"].null_count < len(table):
            yield from table.filter(pa.compute.is_valid(table["error"])).to_pylist()


def write_failures(path: Path, rows: Iterator[dict[str, str]]) -> int:
    """Write `failures` as a table; returns how many there are."""
    pa = _arrow()
    schema = pa.schema([("path", pa.string()), ("error", pa.string())])
    table = pa.Table.from_pylist(list(rows), schema)
    pa.parquet.write_table(table, path)
    return len(table)


# -- Lists of pictures ------------------------------------------------------------------------


def write_list(path: Path, pictures: Sequence[str], group: int) -> None:
    """Write the list of a job; each row group holds `group` pictures."""
    pa = _arrow()
    table = pa.table({"path": pa.array(pictures, pa.string())})
    pa.parquet.write_table(table, path, row_group_size=group, compression="zstd")


class PictureList:
    """A list of `write_list`, of which a slice at a time is in memory."""

    def __init__(self, path: Path) -> None:
        self._file = _arrow().parquet.ParquetFile(path)

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def slice(self, number: int) -> list[str]:
        """The pictures of one row group."""
        return list(self._file.read_row_group(number)["path"].to_pylist())


def column_of(file: Any, shown: str, suffix: str, name: str | None) -> list[str]:
    """A column of paths or addresses in an open Parquet or CSV file.

    shown: names the file in messages. suffix: .parquet or .csv. name: of the column; None: one of
    COLUMNS, or the only one. Raises UsageError.
    """
    pa = _arrow()
    try:
        if suffix == ".csv":
            table = pa.csv.read_csv(file)
            have = table.column_names
        else:
            table = pa.parquet.ParquetFile(file)
            have = table.schema_arrow.names
        column = _chosen(have, shown, name)
        values = table[column] if suffix == ".csv" else table.read([column])[column]
    except pa.ArrowInvalid as error:
        raise UsageError(f"{shown} can't be read as a table: {printable(error)}.") from error
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise UsageError(
            f"the column {column!r} of {shown} holds {values.type}, and no paths or addresses: "
            f"name another with --column. There are {listed(have)}."
        )
    return [value for value in values.to_pylist() if value]


def _chosen(have: Sequence[str], shown: str, name: str | None) -> str:
    if name is not None:
        if name in have:
            return name
        raise UsageError(f"{shown} has no column {name!r}: there are {listed(have)}.")
    lower = {column.casefold(): column for column in reversed(have)}
    for known in COLUMNS:
        if known in lower:
            return lower[known]
    if len(have) == 1:
        return have[0]
    raise UsageError(
        f"which column of {shown} holds the pictures? Name it with --column: {listed(have)}."
    )


def version() -> str:
    """Of pyarrow, which writes the tables."""
    return str(_arrow().__version__)


def read_table(paths: Sequence[str | os.PathLike]) -> Any:
    """All parts as one pyarrow table, sorted by path as they are."""
    pa = _arrow()
    tables = [pa.parquet.read_table(path) for path in paths]
    return pa.concat_tables(tables) if tables else _schema().empty_table()
