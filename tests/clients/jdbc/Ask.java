import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;

/**
 * Asks a server through a JDBC driver and says what it saw, `check<TAB>value` a line.
 *
 *     java -cp JARS tests/clients/jdbc/Ask.java URL USER PASSWORD queries
 *     java -cp JARS tests/clients/jdbc/Ask.java URL USER PASSWORD catalog      what DBeaver asks of Postgres
 */
public class Ask {
    public static void main(String[] arguments) {
        try {
            ask(arguments);
        } catch (Throwable failure) {
            failure.printStackTrace();
            // A driver's threads may go on.
            System.exit(1);
        }
        System.exit(0);
    }

    static void ask(String[] arguments) throws Exception {
        try (Connection connection = DriverManager.getConnection(arguments[0], arguments[1], arguments[2])) {
            if (arguments[3].equals("catalog")) catalog(connection);
            else queries(connection);
        }
    }

    static void say(String check, Object value) {
        System.out.println(check + "\t" + value);
    }

    static void queries(Connection connection) throws SQLException {
        DatabaseMetaData about = connection.getMetaData();
        say("product", about.getDatabaseProductName());
        try (Statement statement = connection.createStatement()) {
            ResultSet rows = statement.executeQuery("select timestamp, level, line from logs order by timestamp");
            ResultSetMetaData columns = rows.getMetaData();
            List<String> types = new ArrayList<>();
            for (int at = 1; at <= columns.getColumnCount(); at++) {
                types.add(columns.getColumnName(at) + ":" + java.sql.JDBCType.valueOf(columns.getColumnType(at)));
            }
            say("columns", types);
            List<String> lines = new ArrayList<>();
            long first = 0;
            while (rows.next()) {
                if (rows.getRow() == 1) first = rows.getTimestamp(1).getTime();
                lines.add(rows.getString(3));
            }
            say("lines", lines);
            say("first, ms", first);
        }
        try (PreparedStatement prepared = connection.prepareStatement("select count(*) from logs where labels['service'] = ?")) {
            for (String service : new String[] {"api", "worker", "nobody"}) {
                prepared.setString(1, service);
                try (ResultSet rows = prepared.executeQuery()) {
                    rows.next();
                    say("rows of " + service, rows.getLong(1));
                }
            }
        }
        try (PreparedStatement prepared = connection.prepareStatement("select ? + 1, ? || '!'")) {
            prepared.setLong(1, 41);
            prepared.setString(2, "so");
            try (ResultSet rows = prepared.executeQuery()) {
                rows.next();
                say("parameters", rows.getLong(1) + " " + rows.getString(2));
            }
        } catch (SQLException untyped) {
            say("parameters", untyped.getMessage());
        }
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(1000);
            ResultSet rows = statement.executeQuery("select value, value * 0.5 as half, null as nothing from generate_series(1, 5000)");
            long sum = 0;
            double halves = 0;
            boolean empty = true;
            while (rows.next()) {
                sum += rows.getLong(1);
                halves += rows.getDouble(2);
                empty &= rows.getObject(3) == null;
            }
            say("series", sum + " " + halves + " " + empty);
        }
        for (String sql : new String[] {"select * from no_such_view", "create table t as select 1"}) {
            try (Statement statement = connection.createStatement()) {
                statement.executeQuery(sql).next();
                say(sql, "no error");
            } catch (SQLException refused) {
                say(sql, refused.getMessage().replace('\n', ' '));
            }
        }
        say("tables", column(about.getTables(null, null, "%", null), "TABLE_NAME"));
        say("columns of logs", column(about.getColumns(null, null, "logs", "%"), "COLUMN_NAME"));
        say("schemas", column(about.getSchemas(), "TABLE_SCHEM"));
        say("keys", column(about.getPrimaryKeys(null, null, "logs"), "COLUMN_NAME"));
        try {
            say("types known", !column(about.getTypeInfo(), "TYPE_NAME").isEmpty());
        } catch (SQLException | UnsupportedOperationException refused) {
            say("types known", refused.getMessage());
        }
        say("valid", connection.isValid(5));
    }

    static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        try (rows) {
            while (rows.next()) values.add(rows.getString(name));
        }
        return values;
    }

    /** What DBeaver's navigator and editor ask when a connection is opened and a view unfolded. */
    static void catalog(Connection connection) throws SQLException {
        String[][] asked = {
            {"session", "SELECT current_schema(), session_user"},
            {"version", "SELECT version()"},
            {"databases", "SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datallowconn AND NOT datistemplate OR db.datname = current_database() ORDER BY db.datname"},
            {"schemas", "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname"},
            {"types", "SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')"},
            {"relations", "SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, pg_catalog.pg_get_partkeydef(c.oid) as partition_key FROM pg_catalog.pg_class c INNER JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass WHERE n.nspname='public' AND c.relkind not in ('i','I','c')"},
            {"columns", "SELECT c.relname,a.*,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid) LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum) LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) WHERE NOT a.attisdropped AND c.relname = 'logs' ORDER BY a.attnum"},
            {"settings", "show search_path"},
        };
        for (String[] check : asked) {
            try (Statement statement = connection.createStatement()) {
                ResultSet rows = statement.executeQuery(check[1]);
                int seen = 0;
                StringBuilder names = new StringBuilder();
                int name = place(rows, "datname", "nspname", "relname", "attname");
                while (rows.next()) {
                    seen++;
                    if (name > 0 && !check[0].equals("types")) names.append(' ').append(rows.getString(check[0].equals("columns") ? place(rows, "attname") : name));
                }
                say(check[0], (seen > 0 ? "rows" : "none") + names);
            } catch (SQLException refused) {
                say(check[0], refused.getMessage().replace('\n', ' '));
            }
        }
    }

    static int place(ResultSet rows, String... names) throws SQLException {
        for (String name : names) {
            for (int at = 1; at <= rows.getMetaData().getColumnCount(); at++) {
                if (rows.getMetaData().getColumnName(at).equals(name)) return at;
            }
        }
        return 0;
    }
}
