//! Go templates: `text/template` as Loki, Promtail and Prometheus use it.
//!
//! ```text
//! text ─▶ lexer ─▶ parser ─▶ Tree ─────────▶ execute ─▶ output
//!                    │ FunctionTable            │ Scope (a row's fields) or Value (maps, structs)
//!                    └─ fields (what it reads)  └─ functions ─▶ format (printf), go_time, regexes
//! ```
//!
//! Output and errors are Go's to the letter: the line and column of a fault, what was being executed, and why.
//! Texts are bytes inside; an output that is no UTF-8 has U+FFFD for each byte that is none, as JSON of Go has.
//!
//! Not as in Go, knowingly:
//! - depth, steps and sizes are limited (`limits`), where Go runs until the stack, the memory or patience ends;
//! - `now` has no monotonic clock reading, and the zone `Local` is UTC;
//! - addresses (`%p`) and the insides of times (`%d` of a time) print as nothing of the kind;
//! - `keys` and `values` of maps are sorted, and Unicode is that of the Rust crates;
//! - methods of times that deal in byte slices, and the functions [`promtail_functions`] names, are not there.
//!
//! Invariant: no text and no value makes this panic or run without end.
//! Errors: [`TemplateError`].

mod ast;
mod error;
mod execute;
mod fields;
mod format;
mod functions;
mod lexer;
mod limits;
mod parser;
mod regex_cache;
mod strconv;
#[cfg(test)]
mod tests;
mod text;
mod unicode;
mod value;

use std::collections::BTreeMap;

use ast::Tree;
use execute::Executor;
use functions::Runtime;
use regex_cache::RegexCache;

pub use error::TemplateError;
pub use functions::{
    ALERT_DEFINITIONS, FunctionTable, alert_data, alert_functions, loki_functions, promtail_functions, push_expanded,
};
pub use text::Text;
pub use value::Value;

/// What a template's functions ask of where it is executed.
pub trait Host {
    /// `now`, nanoseconds since the Unix epoch.
    fn now_ns(&self) -> i64;

    /// `__line__`
    fn line(&self) -> &str {
        ""
    }

    /// `__timestamp__`, nanoseconds since the Unix epoch.
    fn timestamp_ns(&self) -> i64 {
        0
    }

    /// `externalURL`
    fn external_url(&self) -> &str {
        ""
    }

    /// `pathPrefix`
    fn path_prefix(&self) -> &str {
        ""
    }

    /// `query`: the error is what the template fails with.
    fn query(&self, _expression: &str) -> Result<Vec<QuerySample>, String> {
        Err("queries are not available here".to_owned())
    }
}

/// A row whose fields a template reads as a map of texts.
pub trait Scope: Host {
    fn field(&self, name: &str) -> Option<&str>;
    fn for_each_field(&self, visit: &mut dyn FnMut(&str, &str));
}

/// A sample of a query's result.
#[derive(Debug, Clone, PartialEq)]
pub struct QuerySample {
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// What a key that a map does not have gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingKey {
    /// The zero of the map's type, as with Go's option `missingkey=zero`: Loki, Prometheus.
    Zero,
    /// Nothing, printed `<no value>`: Promtail.
    NoValue,
}

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    name: String,
    text: String,
    /// By name, the template's own among them.
    trees: BTreeMap<String, Tree>,
    missing_key: MissingKey,
    regexes: RegexCache,
}

impl Template {
    /// With [`MissingKey::Zero`]; `name` is for errors.
    pub fn parse(name: &str, text: &str, functions: &'static FunctionTable) -> Result<Self, TemplateError> {
        Template::parse_with(name, text, functions, MissingKey::Zero)
    }

    pub fn parse_with(
        name: &str,
        text: &str,
        functions: &'static FunctionTable,
        missing_key: MissingKey,
    ) -> Result<Self, TemplateError> {
        let trees = parser::parse(name, text, functions)?;
        Ok(Template {
            name: name.to_owned(),
            text: text.to_owned(),
            trees,
            missing_key,
            regexes: RegexCache::default(),
        })
    }

    /// Executes the template on a row and appends its output, up to an error if there is one.
    pub fn execute(&self, scope: &dyn Scope, out: &mut String) -> Result<(), TemplateError> {
        self.run(Value::Fields(scope), scope, out)
    }

    /// Executes the template on any value.
    pub fn execute_value<'a>(
        &'a self,
        root: Value<'a>,
        host: &'a dyn Host,
        out: &mut String,
    ) -> Result<(), TemplateError> {
        self.run(root, host, out)
    }

    fn run<'a>(&'a self, root: Value<'a>, host: &'a dyn Host, out: &mut String) -> Result<(), TemplateError> {
        let runtime = Runtime::new(host, &self.regexes);
        let bytes = std::mem::take(out).into_bytes();
        let (bytes, executed) = Executor::new(self, root, runtime, bytes).run();
        *out = unicode::to_string(bytes);
        executed.map_err(|error| *error)
    }

    /// The field that the whole template is, if it is one: `{{.message}}`.
    pub fn only_field(&self) -> Option<&str> {
        fields::only_field(self.trees.get(&self.name)?)
    }

    /// The fields that the template names, each once, in the order they are met: not those of variables or results
    /// (`$x.a`, `(f).a`), nor those that only templates defined in it name.
    pub fn listed_fields(&self) -> Vec<String> {
        self.trees.get(&self.name).map(fields::listed_fields).unwrap_or_default()
    }
}
