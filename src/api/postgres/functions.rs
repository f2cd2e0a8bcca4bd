//! Functions that Postgres' clients call to learn where they are.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, SimpleScalarUDF, TypeSignature, Volatility};
use datafusion::prelude::SessionContext;

/// The Postgres whose catalog this looks like.
pub(super) const SERVER_VERSION: &str = "16.6";
const SERVER_VERSION_NUMBER: &str = "160006";

/// Puts them into a session of `user`.
pub(super) fn register(context: &SessionContext, user: &str) {
    let version = format!("PostgreSQL {SERVER_VERSION} (Millrace {})", env!("CARGO_PKG_VERSION"));
    context.register_udf(function("version", ScalarValue::Utf8(None), move |_| ScalarValue::from(version.as_str())));
    let user = user.to_owned();
    context.register_udf(function("session_user", ScalarValue::Utf8(None), move |_| ScalarValue::from(user.as_str())));
    context.register_udf(function("current_setting", ScalarValue::Utf8(None), |name| ScalarValue::Utf8(setting(name))));
    context.register_udf(function("txid_current", ScalarValue::Int64(None), |_| ScalarValue::from(1_i64)));
    for (names, value) in constants() {
        for name in names {
            let always = value.clone();
            context.register_udf(function(name, value.clone(), move |_| always.clone()));
        }
    }
}

/// Functions whose answer never changes: everything is visible, and nothing has a description or a definition.
fn constants() -> [(&'static [&'static str], ScalarValue); 5] {
    [
        (
            &[
                "pg_function_is_visible",
                "pg_operator_is_visible",
                "pg_opclass_is_visible",
                "pg_type_is_visible",
                "pg_collation_is_visible",
                "has_column_privilege",
                "has_function_privilege",
                "has_sequence_privilege",
            ],
            ScalarValue::from(true),
        ),
        (&["pg_is_in_recovery", "pg_is_other_temp_schema", "pg_has_role"], ScalarValue::from(false)),
        (&["to_regtype", "to_regclass", "generate_subscripts", "pg_my_temp_schema"], ScalarValue::Int32(None)),
        (
            &[
                "col_description",
                "obj_description",
                "shobj_description",
                "pg_get_constraintdef",
                "pg_get_function_arguments",
                "pg_get_function_identity_arguments",
                "pg_get_function_result",
                "pg_get_indexdef",
                "pg_get_ruledef",
                "pg_get_serial_sequence",
                "pg_get_triggerdef",
                "pg_get_viewdef",
                "pg_tablespace_location",
                "inet_server_addr",
            ],
            ScalarValue::Utf8(None),
        ),
        (&["inet_server_port"], ScalarValue::Int32(None)),
    ]
}

/// What `SHOW` says of a name; none: there is no such setting.
pub(super) fn setting(name: &str) -> Option<String> {
    let value = match name {
        "server_version" => SERVER_VERSION,
        "server_version_num" => SERVER_VERSION_NUMBER,
        "server_encoding" | "client_encoding" => "UTF8",
        "standard_conforming_strings" | "integer_datetimes" | "transaction_read_only" => "on",
        "default_transaction_read_only" => "on",
        "is_superuser" | "in_hot_standby" => "off",
        "transaction_isolation" | "transaction_isolation_level" | "default_transaction_isolation" => "repeatable read",
        "search_path" => "public",
        "timezone" | "time_zone" => "Etc/UTC",
        "datestyle" => "ISO, YMD",
        "intervalstyle" => "postgres",
        "bytea_output" => "hex",
        "extra_float_digits" => "1",
        "max_identifier_length" => "63",
        "lc_collate" | "lc_ctype" | "lc_messages" => "C.UTF-8",
        "application_name" => "",
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => "0",
        _ => return None,
    };
    Some(value.to_owned())
}

/// A function of any arguments, whose answer is of the type of `like`; `answer` is given the first, if it is a text.
fn function(name: &str, like: ScalarValue, answer: impl Fn(&str) -> ScalarValue + Send + Sync + 'static) -> ScalarUDF {
    let signatures = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(signatures, Volatility::Immutable);
    let computed = move |arguments: &[ColumnarValue]| {
        let first = match arguments.first() {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(text)))) => text.as_str(),
            _ => "",
        };
        Ok(ColumnarValue::Scalar(answer(first)))
    };
    SimpleScalarUDF::new_with_signature(name, signature, like.data_type(), Arc::new(computed)).into()
}
