#!/usr/bin/env python3
"""Reads a Delta table with the `deltalake` package and prints what it holds.

Usage: read_delta.py TABLE_PATH
Prints:  rows=<n> version=<n> files=<n> tenants=<comma-separated>
Exit code: 0 when every column could be read and agrees with the log's statistics, 1 otherwise.
Needs: pip install deltalake pyarrow
"""

import sys

import pyarrow
from deltalake import DeltaTable, QueryBuilder

COLUMNS = ["tenant", "date", "ts_ns", "stream_id", "labels", "level", "line", "metadata"]


def main(path: str) -> None:
    table = DeltaTable(path)
    adds = pyarrow.table(table.get_add_actions(flatten=True))
    expected = sum(adds["num_records"].to_pylist())
    # Not to_pyarrow_table: pyarrow's reader threads sometimes abort the interpreter at its exit.
    rows = pyarrow.table(QueryBuilder().register("logs", table).execute("select * from logs").read_all())
    if rows.column_names != COLUMNS:
        raise ValueError(f"columns are {rows.column_names}, not {COLUMNS}")
    if rows.num_rows != expected:
        raise ValueError(f"{rows.num_rows} rows read, the log counts {expected}")
    if rows.num_rows:
        times = rows["ts_ns"].to_pylist()
        bounds = min(adds["min.ts_ns"].to_pylist()), max(adds["max.ts_ns"].to_pylist())
        if (min(times), max(times)) != bounds:
            raise ValueError(f"times {min(times)}..{max(times)} are not those of the log {bounds}")
    tenants = ",".join(sorted(set(rows["tenant"].to_pylist())))
    print(f"rows={rows.num_rows} version={table.version()} files={len(table.file_uris())} tenants={tenants}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except Exception as error:  # any failure is the answer "not readable"
        sys.exit(f"read_delta.py: {type(error).__name__}: {error}")
