//! `COPY … TO STDOUT`: rows as lines of text, as CSV, or in Postgres' binary form, as they are found.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::sql::sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource};
use datafusion_postgres::arrow_pg::encoder::encode_value;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{
    CopyCsvOptions, CopyEncoder, CopyResponse, CopyTextOptions, FieldInfo, Tag,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::copy::{CopyData, CopyDone, CopyOutResponse};
use datafusion_postgres::pgwire::types::format::FormatOptions;
use futures::{Sink, SinkExt, StreamExt, stream};

use super::errors;
use super::rows::{self, Source};

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Binary,
    Text(CopyTextOptions),
    Csv { options: CopyCsvOptions, header: bool },
}

/// What is copied, as a query.
pub(super) fn query(source: &CopySource) -> String {
    match source {
        CopySource::Query(query) => query.to_string(),
        CopySource::Table { table_name, columns } if columns.is_empty() => format!("select * from {table_name}"),
        CopySource::Table { table_name, columns } => {
            let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
            format!("select {} from {table_name}", columns.join(", "))
        }
    }
}

/// # Errors
/// 0A000 for an option that is not known here.
pub(super) fn form(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> PgWireResult<Form> {
    let mut name = "text".to_owned();
    let (mut delimiter, mut null, mut quote, mut header) = (None, None, None, false);
    let unknown = |option: &dyn std::fmt::Display| errors::error("0A000", format!("COPY: {option} is not supported"));
    for option in options {
        match option {
            CopyOption::Format(format) => name = format.value.to_lowercase(),
            CopyOption::Delimiter(given) => delimiter = Some(*given),
            CopyOption::Null(given) => null = Some(given.clone()),
            CopyOption::Quote(given) => quote = Some(*given),
            CopyOption::Header(given) => header = *given,
            CopyOption::Encoding(_) | CopyOption::Freeze(_) => {}
            other => return Err(unknown(other)),
        }
    }
    for option in legacy {
        match option {
            CopyLegacyOption::Binary => "binary".clone_into(&mut name),
            CopyLegacyOption::Delimiter(given) => delimiter = Some(*given),
            CopyLegacyOption::Null(given) => null = Some(given.clone()),
            CopyLegacyOption::Header => header = true,
            CopyLegacyOption::Csv(options) => {
                "csv".clone_into(&mut name);
                for option in options {
                    match option {
                        CopyLegacyCsvOption::Header => header = true,
                        CopyLegacyCsvOption::Quote(given) => quote = Some(*given),
                        other => return Err(unknown(other)),
                    }
                }
            }
            other => return Err(unknown(other)),
        }
    }
    let text = |given: Option<char>, default: char| given.unwrap_or(default).to_string().into();
    Ok(match name.as_str() {
        "binary" => Form::Binary,
        "text" => Form::Text(CopyTextOptions {
            delimiter: text(delimiter, '\t'),
            null_string: null.unwrap_or_else(|| "\\N".to_owned()).into(),
        }),
        "csv" => {
            let options = CopyCsvOptions {
                delimiter: text(delimiter, ','),
                quote: text(quote, '"'),
                escape: text(quote, '"'),
                null_string: null.unwrap_or_default().into(),
                force_quote: Vec::new(),
            };
            Form::Csv { options, header }
        }
        other => return Err(errors::error("22023", format!("COPY format \"{other}\" not recognized"))),
    })
}

/// The rows of a source, written as they are read.
///
/// # Errors
/// Those of [`rows::fields`].
pub(super) fn written(source: Source, form: &Form) -> PgWireResult<CopyResponse> {
    let format = if *form == Form::Binary { Format::UnifiedBinary } else { Format::UnifiedText };
    let options: Arc<FormatOptions> = Arc::default();
    let fields = Arc::new(rows::fields(source.schema(), &format, &options)?);
    let (encoder, header) = match form {
        Form::Binary => (CopyEncoder::new_binary(fields.clone()), None),
        Form::Text(options) => (CopyEncoder::new_text(fields.clone(), options.clone()), None),
        Form::Csv { options, header } => {
            let line = header.then(|| csv_header(&fields, options));
            (CopyEncoder::new_csv(fields.clone(), options.clone()), line)
        }
    };
    let columns = fields.len();
    let writing = Writing { source: Box::new(source), encoder, fields, batch: None, row: 0 };
    let lines = stream::unfold(Some(writing), |state| async move {
        let mut writing = state?;
        match writing.next().await? {
            Ok(line) => Some((Ok(line), Some(writing))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let lines = stream::iter(header.map(Ok)).chain(lines);
    Ok(CopyResponse::new(i8::from(*form == Form::Binary), columns, lines))
}

fn csv_header(fields: &[FieldInfo], options: &CopyCsvOptions) -> CopyData {
    let quote = options.quote.as_str();
    let names = fields.iter().map(|field| {
        let name = field.name();
        match name.contains([',', '"', '\n', '\r']) || name.contains(options.delimiter.as_str()) {
            true => format!("{quote}{}{quote}", name.replace(quote, &quote.repeat(2))),
            false => name.to_owned(),
        }
    });
    let line = names.collect::<Vec<_>>().join(options.delimiter.as_str()) + "\n";
    CopyData::new(Bytes::from(line))
}

struct Writing {
    source: Box<Source>,
    encoder: CopyEncoder,
    fields: Arc<Vec<FieldInfo>>,
    batch: Option<RecordBatch>,
    row: usize,
}

impl Writing {
    async fn next(&mut self) -> Option<PgWireResult<CopyData>> {
        loop {
            if let Some(batch) = self.batch.as_ref().filter(|batch| self.row < batch.num_rows()) {
                let schema = batch.schema();
                for (at, column) in batch.columns().iter().enumerate() {
                    let encoded = encode_value(&mut self.encoder, column, self.row, schema.field(at), &self.fields[at]);
                    if let Err(error) = encoded {
                        self.source.break_off(&error);
                        return Some(Err(error));
                    }
                }
                self.row += 1;
                return Some(Ok(self.encoder.take_copy()));
            }
            match self.source.take(usize::MAX).await? {
                Ok(batch) => self.batch = Some(batch),
                Err(error) => return Some(Err(error)),
            }
            self.row = 0;
        }
    }
}

/// Sends what was written.
///
/// # Errors
/// Those of the rows; then the client is told by an error and not by an end.
pub(super) async fn send<C>(client: &mut C, copy: CopyResponse) -> PgWireResult<()>
where
    C: Sink<PgWireBackendMessage> + Unpin,
    C::Error: Debug,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    let formats = copy.column_formats();
    let columns = i16::try_from(copy.columns).map_err(|_| errors::error("54011", "too many columns"))?;
    let begin = CopyOutResponse::new(copy.format, columns, formats);
    client.feed(PgWireBackendMessage::CopyOutResponse(begin)).await?;
    let mut lines = copy.data_stream;
    let mut sent = 0;
    while let Some(line) = lines.next().await {
        client.feed(PgWireBackendMessage::CopyData(line?)).await?;
        sent += 1;
    }
    client.feed(PgWireBackendMessage::CopyDone(CopyDone::new())).await?;
    client.feed(PgWireBackendMessage::CommandComplete(Tag::new("COPY").with_rows(sent).into())).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;
    use datafusion_postgres::pgwire::error::ErrorInfo;

    use super::*;

    #[test]
    fn options_are_read_in_both_ways_of_writing_them() {
        let read = |sql: &str| {
            let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).expect(sql);
            let Statement::Copy { options, legacy_options, source, .. } = &statements[0] else { panic!("{sql}") };
            (query(source), form(options, legacy_options).map_err(|error| ErrorInfo::from(error).code))
        };
        let csv = |delimiter: &str, header| Form::Csv {
            options: CopyCsvOptions { delimiter: delimiter.into(), ..CopyCsvOptions::default() },
            header,
        };
        assert_eq!(
            read("copy logs to stdout"),
            ("select * from logs".into(), Ok(Form::Text(CopyTextOptions::default())))
        );
        assert_eq!(read("copy logs (line, level) to stdout binary").0, "select line, level from logs");
        assert_eq!(read("copy logs to stdout binary").1, Ok(Form::Binary));
        assert_eq!(read("copy (select 1) to stdout (format binary)").1, Ok(Form::Binary));
        assert_eq!(read("copy (select 1) to stdout (format csv, header)").1, Ok(csv(",", true)));
        assert_eq!(read("copy (select 1) to stdout with csv header").1, Ok(csv(",", true)));
        assert_eq!(read("copy (select 1) to stdout (format csv, delimiter ';')").1, Ok(csv(";", false)));
        assert_eq!(read("copy (select 1) to stdout (format xml)").1, Err("22023".into()));
        // The parser itself holds delimiter and quote to one byte.
        let wide = "copy (select 1) to stdout (format csv, delimiter 'ä')";
        assert!(Parser::parse_sql(&PostgreSqlDialect {}, wide).is_err());
    }
}
