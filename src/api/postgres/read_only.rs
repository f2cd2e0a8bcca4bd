//! What a statement is: one that reads, one about the session, or one that this door refuses.

use datafusion::sql::sqlparser::ast::{self, CloseCursor, CopyTarget, DeclareType};

use super::errors;
use datafusion_postgres::pgwire::error::PgWireError;

/// What is done with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The engine computes rows.
    Reads,
    /// Transactions, `SET`, and the like: answered with a word.
    Session,
    /// `SHOW`: one row.
    Show,
    /// `COPY … TO STDOUT`: rows in a form of its own.
    Copy,
    Declare,
    Fetch,
    Close,
}

/// # Errors
/// 25006 for what writes, as in a transaction that is read only; 0A000 for what this door does not know.
pub(super) fn kind(statement: &ast::Statement) -> Result<Kind, PgWireError> {
    use ast::Statement as S;

    Ok(match statement {
        S::Query(query) => match &*query.body {
            ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) | ast::SetExpr::Merge(_) => {
                return Err(writes(statement));
            }
            _ => Kind::Reads,
        },
        S::Explain { .. } | S::ExplainTable { .. } => Kind::Reads,
        S::ShowTables { .. } | S::ShowColumns { .. } | S::ShowFunctions { .. } => Kind::Reads,
        S::ShowVariable { .. } => Kind::Show,
        S::Set(_) | S::Reset(_) | S::Deallocate { .. } | S::Discard { .. } => Kind::Session,
        S::StartTransaction { .. } | S::Commit { .. } | S::Rollback { .. } => Kind::Session,
        S::Savepoint { .. } | S::ReleaseSavepoint { .. } => Kind::Session,
        S::UNLISTEN { .. } => Kind::Session,
        S::Declare { stmts } => match stmts.as_slice() {
            [declare] if declare.declare_type == Some(DeclareType::Cursor) && declare.for_query.is_some() => {
                Kind::Declare
            }
            _ => return Err(errors::error("42601", "DECLARE takes one cursor and its query")),
        },
        S::Fetch { .. } => Kind::Fetch,
        S::Close { cursor: CloseCursor::All | CloseCursor::Specific { .. } } => Kind::Close,
        S::Prepare { .. } | S::Execute { .. } => return Err(unknown("PREPARE and EXECUTE in SQL")),
        S::LISTEN { .. } | S::NOTIFY { .. } | S::Call(_) | S::ShowStatus { .. } => {
            return Err(unknown(&words(statement)));
        }
        S::Copy { to: true, target: CopyTarget::Stdout, .. } => Kind::Copy,
        _ => return Err(writes(statement)),
    })
}

/// Refuses what a plan would write.
pub(super) fn writes(statement: &ast::Statement) -> PgWireError {
    errors::error("25006", format!("cannot execute {} in a read-only transaction", words(statement)))
}

fn unknown(what: &str) -> PgWireError {
    errors::error("0A000", format!("{what} is not supported"))
}

/// `INSERT`, `CREATE TABLE`: how a statement begins.
fn words(statement: &ast::Statement) -> String {
    let text = statement.to_string();
    let mut words = text.split_whitespace().map(str::to_ascii_uppercase);
    let first = words.next().unwrap_or_default();
    match first.as_str() {
        "CREATE" | "DROP" | "ALTER" => format!("{first} {}", words.next().unwrap_or_default()),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;
    use datafusion_postgres::pgwire::error::ErrorInfo;

    use super::*;

    #[test]
    fn statements_read_or_are_refused() {
        let check = |sql: &str, expected: Result<Kind, (&str, &str)>| {
            let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).expect(sql);
            let got = kind(&statements[0]).map_err(ErrorInfo::from);
            let got = got.as_ref().map_err(|error| (error.code.as_str(), error.message.as_str()));
            assert_eq!(got.copied(), expected, "{sql}");
        };
        let read_only = |what: &'static str| Err(("25006", what));
        check("select 1", Ok(Kind::Reads));
        check("with a as (select 1) select * from a", Ok(Kind::Reads));
        check("explain analyze select 1", Ok(Kind::Reads));
        check("values (1)", Ok(Kind::Reads));
        check("show tables", Ok(Kind::Reads));
        check("show server_version", Ok(Kind::Show));
        check("set search_path to public", Ok(Kind::Session));
        check("begin read only", Ok(Kind::Session));
        check("declare c cursor for select 1", Ok(Kind::Declare));
        check("fetch forward 10 from c", Ok(Kind::Fetch));
        check("close all", Ok(Kind::Close));
        check("insert into logs values (1)", read_only("cannot execute INSERT in a read-only transaction"));
        check("update logs set line = ''", read_only("cannot execute UPDATE in a read-only transaction"));
        check("delete from logs", read_only("cannot execute DELETE in a read-only transaction"));
        check("create table t (a int)", read_only("cannot execute CREATE TABLE in a read-only transaction"));
        check("drop view logs", read_only("cannot execute DROP VIEW in a read-only transaction"));
        check("truncate logs", read_only("cannot execute TRUNCATE in a read-only transaction"));
        check("grant select on logs to ana", read_only("cannot execute GRANT in a read-only transaction"));
        check("copy logs from '/etc/passwd'", read_only("cannot execute COPY in a read-only transaction"));
        check("copy (select 1) to '/tmp/x'", read_only("cannot execute COPY in a read-only transaction"));
        check("copy (select 1) to program 'sh'", read_only("cannot execute COPY in a read-only transaction"));
        check("copy (select 1) to stdout", Ok(Kind::Copy));
        check("prepare p as select 1", Err(("0A000", "PREPARE and EXECUTE in SQL is not supported")));
        check("listen x", Err(("0A000", "LISTEN is not supported")));
    }
}
