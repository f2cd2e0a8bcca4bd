//! Go templates. This first form runs text and `{{.field}}`; whatever else a template holds is refused by name.

/// What a template sees.
pub trait Scope {
    fn field(&self, name: &str) -> Option<&str>;
    fn for_each_field(&self, f: &mut dyn FnMut(&str, &str));
    fn line(&self) -> &str;
    fn timestamp_ns(&self) -> i64;
    fn now_ns(&self) -> i64;
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

/// The functions a template may call.
#[derive(Debug)]
pub struct FunctionTable;

static LOKI: FunctionTable = FunctionTable;

pub fn loki_functions() -> &'static FunctionTable {
    &LOKI
}

#[derive(Debug)]
enum Part {
    Text(String),
    Field(String),
}

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    pub fn parse(name: &str, text: &str, _: &'static FunctionTable) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, inside)) = rest.split_once("{{") {
            parts.push(Part::Text(before.to_owned()));
            let Some((action, after)) = inside.split_once("}}") else {
                return Err(TemplateError(format!("template: {name}:1: unclosed action")));
            };
            let field = action.trim().strip_prefix('.').filter(|field| {
                !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            });
            match field {
                Some(field) => parts.push(Part::Field(field.to_owned())),
                None => return Err(TemplateError(format!("template action {{{{{action}}}}} is not executed yet"))),
            }
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Template { parts })
    }

    pub fn execute(&self, scope: &dyn Scope, out: &mut String) -> Result<(), TemplateError> {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(name) => out.push_str(scope.field(name).unwrap_or("")),
            }
        }
        Ok(())
    }
}
