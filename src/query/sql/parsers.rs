//! LogQL's parsers as SQL functions, with LogQL's own code: each answers a map of what it found in the line.
//!
//! | function | as in LogQL |
//! |---|---|
//! | `logfmt(line)` | `\| logfmt` |
//! | `line_pattern(line, '<ip> <_> "<method>')` | `\| pattern "…"` |
//! | `line_json(line)` | `\| json`: nested keys joined by `_` |
//! | `line_regexp(line, '(?P<name>…)')` | `\| regexp "…"` |
//! | `logql_stages(line, '\| json \| label_format …')` | the stages given; null when they drop the line |

use std::sync::Arc;

use arrow::array::{Array, MapArray, StringBuilder, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::DataType;
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::logql;
use crate::logql::ast::Expr as LogqlExpr;
use crate::query::row::{Category, Output, RowPipeline, RowState, StreamBase};
use crate::types::labels::{Labels, push_go_quoted};
use crate::types::rows::{metadata_entry_fields, metadata_type};

/// Which stages a function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Parser {
    Logfmt,
    Json,
    Pattern,
    Regexp,
    Stages,
}

const PARSERS: [Parser; 5] = [Parser::Logfmt, Parser::Json, Parser::Pattern, Parser::Regexp, Parser::Stages];

/// The functions of this module.
pub(super) fn functions() -> impl Iterator<Item = ScalarUDF> {
    PARSERS.into_iter().map(|parser| ScalarUDF::from(LineParser::new(parser)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LineParser {
    parser: Parser,
    signature: Signature,
}

impl LineParser {
    fn new(parser: Parser) -> Self {
        let arguments = if parser.takes_text() { 2 } else { 1 };
        LineParser { parser, signature: Signature::string(arguments, Volatility::Immutable) }
    }
}

impl Parser {
    fn takes_text(self) -> bool {
        matches!(self, Parser::Pattern | Parser::Regexp | Parser::Stages)
    }

    /// The pipeline as LogQL text.
    fn stages(self, text: &str) -> String {
        let quoted = |word: &str| {
            let mut out = format!("| {word} ");
            push_go_quoted(&mut out, text);
            out
        };
        match self {
            Parser::Logfmt => "| logfmt".to_owned(),
            Parser::Json => "| json".to_owned(),
            Parser::Pattern => quoted("pattern"),
            Parser::Regexp => quoted("regexp"),
            Parser::Stages => text.to_owned(),
        }
    }
}

impl ScalarUDFImpl for LineParser {
    fn name(&self) -> &str {
        match self.parser {
            Parser::Logfmt => "logfmt",
            Parser::Json => "line_json",
            Parser::Pattern => "line_pattern",
            Parser::Regexp => "line_regexp",
            Parser::Stages => "logql_stages",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(metadata_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let text = match args.args.get(1) {
            None => "",
            Some(ColumnarValue::Scalar(text)) => text.try_as_str().flatten().unwrap_or(""),
            Some(ColumnarValue::Array(_)) => {
                let what = format!("{}: its second argument must be a constant text", self.name());
                return Err(DataFusionError::Plan(what));
            }
        };
        let pipeline = pipeline(&self.parser.stages(text))
            .map_err(|error| DataFusionError::Plan(format!("{}: {error}", self.name())))?;
        let all_constant = matches!(args.args.first(), Some(ColumnarValue::Scalar(_)));
        let rows = if all_constant { 1 } else { args.number_rows };
        let lines = args.args[0].to_array(rows)?;
        let lines = arrow::compute::cast(&lines, &DataType::Utf8View)?;
        let lines = arrow::array::AsArray::as_string_view(&lines);
        let found = parse_lines(lines, &pipeline)?;
        if all_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

fn pipeline(stages: &str) -> Result<RowPipeline, String> {
    match logql::parse(&format!("{{a=\"b\"}} {stages}")).map_err(|error| error.to_string())? {
        LogqlExpr::Log(log) => RowPipeline::compile(&log.stages, Output::Log).map_err(|error| error.to_string()),
        LogqlExpr::Metric(_) => Err("stages of a log query are wanted".to_owned()),
    }
}

fn parse_lines(lines: &arrow::array::StringViewArray, pipeline: &RowPipeline) -> DfResult<MapArray> {
    let base = StreamBase::new(Labels::default());
    let mut state = RowState::new(0);
    let mut maps = Maps::default();
    let mut found: Vec<(String, String)> = Vec::new();
    for row in 0..lines.len() {
        found.clear();
        let mut is_kept = false;
        if lines.is_valid(row)
            && let Some(parsed) = state.run(pipeline, &base, &[], 0, lines.value(row))
        {
            is_kept = true;
            parsed.for_each_label(|category, name, value| {
                if category == Category::Parsed {
                    found.push((name.to_owned(), value.to_owned()));
                }
            });
        }
        found.sort();
        let pairs = found.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        if is_kept { maps.append(pairs) } else { maps.append_null() }
    }
    maps.finish()
}

/// Builds a column of maps of texts.
#[derive(Debug, Default)]
pub(super) struct Maps {
    keys: StringBuilder,
    values: StringBuilder,
    lengths: Vec<usize>,
    valid: Vec<bool>,
}

impl Maps {
    /// A row with these pairs.
    pub(super) fn append<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
        let mut length = 0;
        for (key, value) in pairs {
            self.keys.append_value(key);
            self.values.append_value(value);
            length += 1;
        }
        self.lengths.push(length);
        self.valid.push(true);
    }

    pub(super) fn append_null(&mut self) {
        self.lengths.push(0);
        self.valid.push(false);
    }

    pub(super) fn finish(mut self) -> DfResult<MapArray> {
        let columns: Vec<Arc<dyn Array>> = vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let entries = StructArray::try_new(metadata_entry_fields(), columns, None)?;
        let DataType::Map(entry, sorted) = metadata_type() else {
            return Err(DataFusionError::Internal("the type of maps is a map".to_owned()));
        };
        let nulls = Some(NullBuffer::from(self.valid));
        Ok(MapArray::try_new(entry, OffsetBuffer::from_lengths(self.lengths), entries, nulls, sorted)?)
    }
}
