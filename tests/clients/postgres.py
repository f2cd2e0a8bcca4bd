"""Asks a server over the Postgres wire with psycopg and SQLAlchemy; says what it saw as one line of JSON a check.

    postgres.py queries  HOST PORT
    postgres.py login    HOST PORT USER PASSWORD DATABASE SQL
    postgres.py cancel   HOST PORT
"""

import datetime
import json
import sys
import threading
import time

import psycopg
import sqlalchemy


def connect(host, port, user="ana", password="", database="millrace", **more):
    return psycopg.connect(host=host, port=port, user=user, password=password, dbname=database, autocommit=True, **more)


def say(name, value):
    print(json.dumps({"check": name, "value": value}, default=str), flush=True)


def code(connection, sql, params=None):
    try:
        connection.execute(sql, params).fetchall()
        return "no error"
    except psycopg.Error as error:
        return error.sqlstate


def queries(host, port):
    connection = connect(host, port)
    ask = lambda sql, params=None, **how: connection.execute(sql, params, **how).fetchall()

    # Values and types.
    logs = "select timestamp, labels, level, line, metadata from logs order by timestamp"
    for binary in (False, True):
        at, labels, level, line, metadata = ask(logs, binary=binary)[0]
        say(f"row binary={binary}", [at.astimezone(datetime.timezone.utc).isoformat(), labels, level, line, metadata])
    say("types", [column.type_display for column in connection.execute(logs).description])
    numbers = """select 1::smallint as a, 2::int as b, 3::bigint as c, 1.5::double as d, 12.345::decimal(10, 3) as e, true as f,
        null as g, date '2026-01-15' as h, interval '90 minutes' as i, arrow_cast(18446744073709551615, 'UInt64') as j,
        [1, 2, 3] as k, 'x' as l, json_get('{"a": {"b": 1}}', 'a') as m, json_get('{"a": 7}', 'a') as n"""
    for binary in (False, True):
        say(f"numbers binary={binary}", [str(value) for value in ask(numbers, binary=binary)[0]])
    ns = ask("select timestamp::bigint as ns from logs order by timestamp limit 1")[0][0]
    say("nanoseconds", str(ns))

    # Parameters, each way they are sent.
    say("text parameter", ask("select count(*) from logs where labels['service'] = %s", ["api"])[0][0])
    say("two parameters", ask("select line from logs where line like %s order by timestamp limit %s", ["%n=%", 2]))
    when = datetime.datetime(2026, 1, 15, 10, 1, tzinfo=datetime.timezone.utc)
    say("time parameter", ask("select count(*) from logs where timestamp >= %s", [when])[0][0])
    say("text as time", ask("select count(*) from logs where timestamp >= %s", ["2026-01-15T10:01:00Z"])[0][0])
    say("number parameter", ask("select %s::bigint + 1", [41])[0][0])
    say("null parameter", ask("select %s::text is null", [None])[0][0])
    say("binary parameter", ask("select count(*) from logs where timestamp >= %b and line <> %b", [when, ""])[0][0])
    for _ in range(3):
        say("prepared", ask("select count(*) from logs where labels['service'] = %s", ["worker"], prepare=True)[0][0])
    say("pipeline", pipeline(connection))

    # Cursors and transactions.
    say("cursor", [batch for batch in cursor_batches(host, port)])
    with connect(host, port) as other:
        other.autocommit = False
        other.execute("select 1")
        say("failed", [code(other, "select nothing"), code(other, "select 1")])
        other.rollback()
        say("after rollback", other.execute("select 2").fetchone()[0])

    # Refusals.
    for sql in (
        "selec",
        "select * from no_such_view",
        "select nope from logs",
        "select no_such_function(1)",
        "select 1 / 0",
        "select 'x'::int",
        "insert into logs select * from logs",
        "delete from logs",
        "create table t as select 1",
        "copy (select 1) to '/tmp/out.csv'",
        "set datafusion.runtime.memory_limit = '1G'",
        "set role postgres",
        "explain analyze insert into logs select * from logs",
        "select * into t from logs",
        "prepare p as select 1",
        "select $1",
    ):
        say(sql, code(connection, sql))
    say("too many at once", code(connection, "select 1; select %s", [2]))

    # Rows by COPY.
    rows = "(values (1, 'one'), (2, 't,wo'), (3, null)) as v(n, t)"
    with connection.cursor().copy(f"copy (select * from {rows} order by n) to stdout (format csv, header)") as copy:
        say("copy", b"".join(copy).decode().splitlines())
    with connection.cursor().copy(f"copy (select n::int as n, t from {rows} order by n) to stdout (format binary)") as copy:
        copy.set_types(["int4", "text"])
        say("copy binary", [list(row) for row in copy.rows()])
    with connection.cursor().copy(f"copy (select * from {rows} order by n) to stdout") as copy:
        say("copy text", b"".join(copy).decode())

    # What programs ask of Postgres itself.
    say("version", ask("select version()")[0][0].split(" (")[0])
    say("where", ask("select current_database(), current_schema(), current_setting('server_version_num')")[0])
    say("settings", [connection.execute(f"show {name}").fetchone()[0] for name in ("server_version", "timezone")])
    connection.execute("set application_name = 'test'")
    connection.execute("set statement_timeout = '20s'")
    say("set", [connection.execute(f"show {name}").fetchone()[0] for name in ("application_name", "statement_timeout")])

    # Grafana's PostgreSQL data source: macros as it expands them.
    grafana = """SELECT floor(extract(epoch from "timestamp")/60)*60 AS "time", level AS metric, count(*) AS value
        FROM logs WHERE "timestamp" BETWEEN '2026-01-15T10:00:00Z' AND '2026-01-15T10:05:00Z' GROUP BY 1, 2 ORDER BY 1, 2"""
    say("grafana", [[float(at), metric, value] for at, metric, value in ask(grafana)])
    say("grafana columns", sorted(name for (name,) in ask(
        "SELECT quote_ident(column_name) FROM information_schema.columns WHERE table_name = 'logs' ORDER BY column_name")))
    say("grafana version", ask("SELECT current_setting('server_version_num')::int/100 as version")[0][0])
    say("grafana tables", "logs" in [row[0] for row in ask(
        "SELECT quote_ident(table_name) as \"table\" FROM information_schema.tables "
        "WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog') ORDER BY 1")])

    # SQLAlchemy looks around, asks, and gives the connection back.
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://ana@{host}:{port}/millrace")
    with engine.connect() as connected:
        rows = connected.execute(
            sqlalchemy.text("select line from logs where labels['service'] = :service order by timestamp"),
            {"service": "api"})
        say("sqlalchemy", [row.line for row in rows])
    inspector = sqlalchemy.inspect(engine)
    say("sqlalchemy tables", sorted(set(inspector.get_table_names()) | set(inspector.get_view_names())))
    say("sqlalchemy columns", [column["name"] for column in inspector.get_columns("logs")])
    table = sqlalchemy.Table("logs", sqlalchemy.MetaData(), autoload_with=engine)
    with engine.connect() as connected:
        say("sqlalchemy table", connected.execute(
            sqlalchemy.select(sqlalchemy.func.count()).select_from(table).where(table.c.level == "info")).scalar())


def pipeline(connection):
    with connection.pipeline():
        cursors = [connection.execute("select %s::int", [number]) for number in range(5)]
    return [cursor.fetchone()[0] for cursor in cursors]


def cursor_batches(host, port):
    with connect(host, port) as connection, connection.transaction():
        for binary in (False, True):
            with connection.cursor(f"c{binary}", binary=binary) as cursor:
                cursor.execute("select * from generate_series(1, 1000) as t(n) where n > %s", [10])
                first = cursor.fetchmany(100)
                rest = cursor.fetchall()
                yield [len(first), first[0][0], len(rest), rest[-1][0], cursor.description[0].name]


def login(host, port, user, password, database, sql):
    try:
        connection = connect(host, port, user, password, database)
    except psycopg.OperationalError as error:
        say("refused", str(error).split("FATAL:")[-1].strip().splitlines()[0])
        return
    try:
        say("rows", connection.execute(sql).fetchall())
    except psycopg.Error as error:
        say("error", [error.sqlstate, str(error).splitlines()[0]])


def scram(host, port, user, password, database):
    """Logs in where only SCRAM is taken; somebody who can only show a password is refused by the client itself."""
    only = {"require_auth": "scram-sha-256"}
    with connect(host, port, user, password, database, **only) as connection:
        proven = str(connection.execute("select 1").fetchone()[0])
    try:
        connect(host, port, "somebody", password, database, **only)
        say("scram", [proven, "let in"])
    except psycopg.OperationalError:
        say("scram", [proven, "refused"])


def cancel(host, port):
    """A long statement is stopped by its client, then by time; the connection goes on."""
    connection = connect(host, port)
    long = "select count(*) from generate_series(1, 100000000) a, generate_series(1, 100000000) b"
    threading.Timer(1.0, connection.cancel).start()
    started = time.time()
    say("canceled", code(connection, long))
    say("soon", time.time() - started < 20)
    say("goes on", connection.execute("select 1").fetchone()[0])
    connection.execute("set statement_timeout = 500")
    say("timed out", code(connection, long))
    # Rows that are being read are stopped too.
    connection.execute("set statement_timeout = 0")
    rows = "select * from generate_series(1, 100000000)"
    threading.Timer(1.0, connection.cancel).start()
    try:
        for _ in connection.cursor().stream(rows):
            pass
        say("stream canceled", "no error")
    except psycopg.Error as error:
        say("stream canceled", error.sqlstate)
    say("still goes on", connection.execute("select 2").fetchone()[0])


if __name__ == "__main__":
    {"queries": queries, "login": login, "scram": scram, "cancel": cancel}[sys.argv[1]](*sys.argv[2:])
