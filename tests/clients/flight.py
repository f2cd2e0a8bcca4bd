"""Asks a server over Arrow Flight SQL with the ADBC driver and with pyarrow; says what it saw as one line of JSON a check.

    flight.py queries ADDRESS
    flight.py ask     ADDRESS SQL [NAME=VALUE …]    options of the driver; user, password, token, tenant, ca, cert, key
    flight.py stream  ADDRESS
"""

import json
import sys

import adbc_driver_manager
import pyarrow
import pyarrow.flight
from adbc_driver_flightsql import DatabaseOptions, dbapi


def say(name, value):
    print(json.dumps({"check": name, "value": value}, default=str), flush=True)


def connect(address, scheme="grpc", **said):
    options = {}
    for name, value in said.items():
        if name in ("user", "password"):
            options["username" if name == "user" else "password"] = value
        elif name == "token":
            options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {value}"
        elif name == "tenant":
            options[DatabaseOptions.RPC_CALL_HEADER_PREFIX.value + "x-scope-orgid"] = value
        else:
            option = {"ca": DatabaseOptions.TLS_ROOT_CERTS, "cert": DatabaseOptions.MTLS_CERT_CHAIN,
                      "key": DatabaseOptions.MTLS_PRIVATE_KEY}[name]
            options[option.value] = open(value).read()
            scheme = "grpc+tls"
    return dbapi.connect(f"{scheme}://{address}", db_kwargs=options, autocommit=True)


def refusal(connection, sql, params=None):
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            cursor.fetchall()
        return "no error"
    except adbc_driver_manager.Error as error:
        return adbc_driver_manager.AdbcStatusCode(error.status_code).name


def queries(address):
    connection = connect(address)
    cursor = connection.cursor()

    def ask(sql, params=None):
        cursor.execute(sql, params)
        return [list(row) for row in cursor.fetchall()]

    # Rows with their own types.
    cursor.execute("select timestamp, labels, level, line, metadata from logs order by timestamp")
    table = cursor.fetch_arrow_table()
    say("types", [str(field.type) for field in table.schema])
    say("nanoseconds", str(table["timestamp"].cast(pyarrow.int64())[0].as_py()))
    say("metadata", table["metadata"][0].as_py())
    say("frame", len(table.to_pandas()))
    say("numbers", [str(value) for value in ask("select 1, 1.5::double, 12.345::decimal(10,3), true, null, "
        "interval '90 minutes', arrow_cast(18446744073709551615, 'UInt64'), [1, 2], json_get('{\"a\": 7}', 'a')")[0]])
    say("no rows", ask("select line from logs where line = 'nothing'"))
    say("with", ask("with a as (select 1 as x) select x + 1 from a"))
    say("explain", "ScanExec" in str(ask("explain select * from logs")))

    # Parameters and prepared statements.
    say("text parameter", ask("select count(*) from logs where labels['service'] = $1", ("api",)))
    say("two parameters", ask("select line from logs where line like $1 order by timestamp limit $2", ("%n=%", 2)))
    cursor.adbc_prepare("select $1::bigint + 1 as n")
    say("prepared", [ask("select $1::bigint + 1 as n", (number,))[0][0] for number in range(3)])
    say("parameters", [str(field.type) for field in connection.cursor().adbc_prepare("select $1::bigint, $2 = 'x'")])

    # What there is.
    objects = connection.adbc_get_objects(depth="all", table_name_filter="logs").read_all().to_pylist()
    schema = objects[0]["catalog_db_schemas"][0]
    found = schema["db_schema_tables"][0]
    say("objects", [objects[0]["catalog_name"], schema["db_schema_name"], found["table_name"], found["table_type"],
                    [column["column_name"] for column in found["table_columns"]]])
    say("table types", connection.adbc_get_table_types())
    say("schema", connection.adbc_get_table_schema("streams").names)
    info = connection.adbc_get_info()
    say("info", [info["vendor_name"], info["vendor_version"]])

    # Refusals.
    for sql in ("selec", "select * from no_such_view", "insert into logs select * from logs",
                "create table t as select 1", "copy (select 1) to '/tmp/out.csv'", "select 1 / 0",
                "set datafusion.runtime.memory_limit = '1G'"):
        say(sql, refusal(connection, sql))
    try:
        cursor.adbc_ingest("t", pyarrow.table({"a": [1]}))
        say("ingest", "no error")
    except adbc_driver_manager.Error as error:
        say("ingest", str(error).splitlines()[0])

    # Without a driver: handshake, then the commands of Flight SQL by hand.
    client = pyarrow.flight.connect(f"grpc://{address}")
    options = pyarrow.flight.FlightCallOptions(headers=[client.authenticate_basic_token("ana", "any")])
    descriptor = pyarrow.flight.FlightDescriptor.for_command(command("CommandStatementQuery", "select 41 + 1 as n"))
    ticket = client.get_flight_info(descriptor, options).endpoints[0].ticket
    say("pyarrow", client.do_get(ticket, options).read_all().to_pylist())
    for name, asked in (("no command", b"nonsense"), ("no ticket", command("TicketStatementQuery", "selec"))):
        try:
            client.do_get(pyarrow.flight.Ticket(asked), options).read_all()
            say(name, "no error")
        except pyarrow.ArrowException as error:
            say(name, type(error).__name__)


def command(name, text):
    """An `Any` of a message whose first field is a text or bytes."""
    def field(number, value):
        return bytes([number << 3 | 2, len(value)]) + value
    kind = f"type.googleapis.com/arrow.flight.protocol.sql.{name}".encode()
    return field(1, kind) + field(2, field(1, text.encode()))


def ask(address, sql, *said):
    try:
        connection = connect(address, **dict(option.split("=", 1) for option in said))
        cursor = connection.cursor()
        cursor.execute(sql)
        say("rows", [list(row) for row in cursor.fetchall()])
    except adbc_driver_manager.Error as error:
        say("error", [adbc_driver_manager.AdbcStatusCode(error.status_code).name, str(error).splitlines()[0]])


def stream(address):
    """Reads the beginning of an endless answer, then goes away."""
    cursor = connect(address).cursor()
    cursor.execute("select * from generate_series(1, 100000000000)")
    reader = cursor.fetch_record_batch()
    say("first rows", sum(reader.read_next_batch().num_rows for _ in range(5)))
    cursor.close()


if __name__ == "__main__":
    {"queries": queries, "ask": ask, "stream": stream}[sys.argv[1]](*sys.argv[2:])
