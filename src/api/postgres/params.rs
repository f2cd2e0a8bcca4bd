//! Values of `$1`, `$2`, …: their types, and what clients bind to them.

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion_postgres::arrow_pg::datatypes::field_into_pg_type;
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::portal::Portal;
use datafusion_postgres::pgwire::error::PgWireResult;

use super::errors;
use super::session::Prepared;

/// What a plan expects of its parameters, in order; none: anything.
///
/// # Errors
/// 42P02 for a name that is no number, and for too many.
fn expected(plan: &LogicalPlan) -> PgWireResult<Vec<Option<FieldRef>>> {
    crate::sql::params::expected(plan)
        .map_err(|failed| errors::error("42P02", crate::query::QueryError::from(failed).to_string()))
}

/// The types as Postgres names them.
///
/// # Errors
/// As [`expected`].
pub(super) fn types(plan: &LogicalPlan) -> PgWireResult<Vec<Type>> {
    let expected = expected(plan)?;
    expected.iter().map(|field| field.as_ref().map_or(Ok(Type::TEXT), field_into_pg_type)).collect()
}

/// A plan with the values of a portal in it, and those values as JSON, for the record.
///
/// # Errors
/// 08P01 for too few or too many values; 22P02, 22023 for those that do not fit.
pub(super) fn bound(plan: &LogicalPlan, portal: &Portal<Prepared>) -> PgWireResult<(LogicalPlan, String)> {
    let expected = expected(plan)?;
    let bound = portal.parameter_len();
    if bound < expected.len() || bound > crate::sql::params::PARAMS_MAX {
        let text = format!("bind message supplies {bound} parameters, but the statement requires {}", expected.len());
        return Err(errors::error("08P01", text));
    }
    if expected.is_empty() && bound == 0 {
        return Ok((plan.clone(), String::new()));
    }
    let types = types(plan)?;
    let types: Vec<Option<&Type>> =
        (0..bound).map(|at| Some(types.get(at).filter(|of| **of != Type::UNKNOWN).unwrap_or(&Type::TEXT))).collect();
    let data_types: Vec<Option<&DataType>> =
        (0..bound).map(|at| expected.get(at).and_then(|field| field.as_ref()).map(|field| field.data_type())).collect();
    let values = deserialize_parameters_with_server_types(portal, &data_types, &types)?;
    let text = match &values {
        ParamValues::List(values) => {
            let values: Vec<ScalarValue> = values.iter().map(|value| value.value.clone()).collect();
            crate::sql::params::to_text(&values)
        }
        ParamValues::Map(_) => String::new(),
    };
    let plan = plan.clone().replace_params_with_values(&values).map_err(errors::of_planning)?;
    Ok((plan, text))
}
