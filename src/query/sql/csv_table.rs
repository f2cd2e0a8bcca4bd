//! Table function `csv('a,b\n1,2\n')`: text of a statement as a table, to join with what is stored.
//!
//! The first line names the columns; types are found: whole numbers, numbers, truth values, dates and times, else text.
//! Errors: plan errors that say which line is wrong.

use std::io::Cursor;
use std::sync::Arc;

use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use datafusion::catalog::{MemTable, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;

/// Bytes of a table; a statement over HTTP has as many.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// The function.
#[derive(Debug)]
pub(super) struct CsvFunction;

impl TableFunctionImpl for CsvFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> DfResult<Arc<dyn TableProvider>> {
        let [Expr::Literal(text, _)] = args.exprs() else {
            return Err(DataFusionError::Plan("csv: its one argument is the text of a table".to_owned()));
        };
        let text = text.try_as_str().flatten().unwrap_or("").trim_start();
        table(text).map_err(|error| DataFusionError::Plan(format!("csv: {error}")))
    }
}

fn table(text: &str) -> Result<Arc<dyn TableProvider>, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("more than {TEXT_BYTES_MAX} bytes"));
    }
    let format = Format::default().with_header(true);
    let (schema, rows) = format.infer_schema(Cursor::new(text), None).map_err(|error| error.to_string())?;
    if schema.fields().is_empty() {
        return Err("the first line names the columns".to_owned());
    }
    let schema = Arc::new(schema);
    let reader = ReaderBuilder::new(schema.clone())
        .with_format(format)
        .with_batch_size(rows.max(1))
        .build(Cursor::new(text))
        .map_err(|error| error.to_string())?;
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let table = MemTable::try_new(schema, vec![batches]).map_err(|error| error.to_string())?;
    Ok(Arc::new(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_columns_with_types() {
        let schema = |text: &str| {
            table(text)
                .map(|table| format!("{:?}", table.schema().fields().iter().map(|f| f.data_type()).collect::<Vec<_>>()))
        };
        assert_eq!(schema("a,b,c\n1,x,2.5\n2,\"y,z\",3\n"), Ok("[Int64, Utf8, Float64]".to_owned()));
        assert!(schema("").is_err());
        assert!(schema("a,b\n1\n").is_err());
    }
}
