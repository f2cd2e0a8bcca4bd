//! `labels['service']`: one label of a stream, worked out once for each distinct stream of a batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, DictionaryArray, StringArray};
use arrow::datatypes::{DataType, UInt32Type};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, GetFieldAccess, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::types::labels::Labels;

/// Name of the function that `labels['x']` becomes.
pub(super) const LABEL: &str = "label";

/// Type of the `labels` column: JSON objects, one value a stream.
pub(super) fn labels_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8))
}

/// Plans `labels['x']` as `label(labels, 'x')`.
#[derive(Debug)]
pub(super) struct LabelAccess;

impl ExprPlanner for LabelAccess {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> DfResult<PlannerResult<RawFieldAccessExpr>> {
        let is_labels = access.expr.get_type(schema).is_ok_and(|data_type| data_type == labels_type());
        match &access.field_access {
            GetFieldAccess::NamedStructField { name } if is_labels => {
                let function = Arc::new(ScalarUDF::from(LabelFunction::new()));
                let args = vec![access.expr, Expr::Literal(name.clone(), None)];
                Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))))
            }
            _ => Ok(PlannerResult::Original(access)),
        }
    }
}

/// `label(labels, name)`: null when the stream has no such label.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct LabelFunction {
    signature: Signature,
}

impl LabelFunction {
    pub(super) fn new() -> Self {
        LabelFunction { signature: Signature::exact(vec![labels_type(), DataType::Utf8], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for LabelFunction {
    fn name(&self) -> &str {
        LABEL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(labels_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let [labels, ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))] = args.args.as_slice() else {
            return Err(DataFusionError::Plan(
                "label(labels, name) takes the labels column and a constant name".to_owned(),
            ));
        };
        let labels = labels.to_array(args.number_rows)?;
        let labels = labels.as_dictionary::<UInt32Type>();
        let values: StringArray = labels
            .values()
            .as_string::<i32>()
            .iter()
            .map(|json| Labels::from_json(json?).ok()?.get(name).map(str::to_owned))
            .collect();
        let picked = DictionaryArray::<UInt32Type>::try_new(labels.keys().clone(), Arc::new(values) as ArrayRef)?;
        Ok(ColumnarValue::Array(Arc::new(picked)))
    }
}
