//! Errors as Postgres' clients know them: a severity, a SQLSTATE, a text.
//!
//! Source of the codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};

use crate::api::error::ApiError;
use crate::query::QueryError;

/// A statement failed; the connection goes on.
pub(super) fn error(code: &str, text: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), code.to_owned(), text.into())))
}

/// The connection ends.
pub(super) fn fatal(code: &str, text: impl Into<String>) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("FATAL".to_owned(), code.to_owned(), text.into())))
}

/// A statement was stopped by its client.
pub(super) fn canceled() -> PgWireError {
    error("57014", "canceling statement due to user request")
}

/// Whether nothing more may come after it.
pub(super) fn is_fatal(error: &PgWireError) -> bool {
    match error {
        PgWireError::UserError(info) => info.is_fatal(),
        PgWireError::IoError(_) => true,
        _ => false,
    }
}

/// What went wrong while a statement ran.
pub(super) fn of_api(refused: &ApiError) -> PgWireError {
    let text = refused.text.trim_end();
    let code = match refused.status.as_u16() {
        400 if text.contains("Divide by zero") => "22012",
        400 if text.contains("Error parsing timestamp") => "22007",
        400 if text.contains("Cannot cast") || text.contains("Cast error") => "22P02",
        400 => "22000",
        401 => "28000",
        403 => "42501",
        404 => "42704",
        413 => "54000",
        429 => "53000",
        499 => "57014",
        503 => "57P03",
        504 => "57014",
        _ => "XX000",
    };
    error(code, text)
}

/// Why a statement could not be planned.
pub(super) fn of_planning(failed: DataFusionError) -> PgWireError {
    let code = planning_code(&failed);
    error(code, QueryError::from(failed).to_string())
}

fn planning_code(failed: &DataFusionError) -> &'static str {
    match failed.find_root() {
        DataFusionError::Collection(errors) => errors.first().map_or("42000", planning_code),
        DataFusionError::SQL(..) => "42601",
        DataFusionError::SchemaError(schema, _) => match **schema {
            SchemaError::AmbiguousReference { .. } => "42702",
            SchemaError::FieldNotFound { .. } => "42703",
            SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => "42701",
        },
        DataFusionError::Plan(text) => match text.as_str() {
            text if text.starts_with("table '") && text.contains("not found") => "42P01",
            text if text.contains("Invalid function") || text.contains("Table function") => "42883",
            text if text.contains("No function matches") => "42883",
            text if text.contains("No field named") || text.contains("Invalid identifier") => "42703",
            text if text.contains("could not be resolved from available columns") => "42803",
            _ => "42000",
        },
        DataFusionError::NotImplemented(_) => "0A000",
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::Internal(_) => "XX000",
        _ => "42000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::error::ErrorKind;

    fn code(error: PgWireError) -> String {
        ErrorInfo::from(error).code
    }

    #[tokio::test]
    async fn plans_that_fail_have_the_codes_that_drivers_have_classes_for() {
        let session = datafusion::prelude::SessionContext::new();
        let cases = [
            ("selec", "42601"),
            ("select * from nothing", "42P01"),
            ("select x from (select 1 as y) t", "42703"),
            ("select y from (select 1 as y) a, (select 2 as y) b", "42702"),
            ("select nothing(1)", "42883"),
        ];
        for (sql, expected) in cases {
            let failed = session.sql(sql).await.expect_err("it cannot be planned");
            assert_eq!(code(of_planning(failed)), expected, "{sql}");
        }
    }

    #[test]
    fn refusals_say_what_the_client_can_do() {
        let check = |kind: ErrorKind, expected: &str| {
            assert_eq!(code(of_api(&ApiError::new(kind, "why"))), expected, "{kind:?}");
        };
        check(ErrorKind::Forbidden, "42501");
        check(ErrorKind::OverLimit, "53000");
        check(ErrorKind::Timeout, "57014");
        check(ErrorKind::ClientGone, "57014");
        check(ErrorKind::Bug, "XX000");
        assert_eq!(code(of_api(&ApiError::bad_input("Arrow error: Divide by zero error"))), "22012");
        assert!(is_fatal(&fatal("28P01", "no")) && !is_fatal(&canceled()));
    }
}
