//! Named fields of a JSON document, found in one pass without building it.
//!
//! ```text
//! wanted: service, http.status, ts       {"ts":"…","http":{"status":500,"body":…},"service":"api"}
//! ```
//!
//! A path is keys joined by dots; of equal keys the first counts. Strings are unescaped, other scalars are taken as
//! they are written, objects and arrays as JSON; null is missing.
//! Errors: the document is no JSON object.

use std::borrow::Cow;

use crate::receive::decode::json_reader::{JsonReader, JsonResult};

/// Paths to look for, known when the mapping is made.
#[derive(Debug, Clone, Default)]
pub(super) struct WantedFields {
    paths: Vec<Vec<String>>,
}

impl WantedFields {
    /// Adds a path; answers its place among the values found.
    pub(super) fn add(&mut self, path: &str) -> usize {
        let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
        match self.paths.iter().position(|known| *known == keys) {
            Some(at) => at,
            None => {
                self.paths.push(keys);
                self.paths.len() - 1
            }
        }
    }

    /// The value at each path, by its place.
    pub(super) fn find<'t>(&self, document: &'t str) -> Option<Vec<Option<Cow<'t, str>>>> {
        let mut found: Vec<Option<Cow<'t, str>>> = vec![None; self.paths.len()];
        let mut reader = JsonReader::new(document);
        self.object(&mut reader, &mut Vec::new(), &mut found).ok()?;
        reader.peek().is_none().then_some(found)
    }

    fn object<'t>(
        &self,
        reader: &mut JsonReader<'t>,
        above: &mut Vec<Cow<'t, str>>,
        found: &mut Vec<Option<Cow<'t, str>>>,
    ) -> JsonResult<()> {
        reader.object(|reader, key| {
            above.push(key);
            let depth = above.len();
            let starts_here = |path: &&Vec<String>| {
                path.len() >= depth && path.iter().zip(above.iter()).all(|(wanted, key)| wanted == key)
            };
            let goes_deeper = self.paths.iter().filter(starts_here).any(|path| path.len() > depth);
            let here = self.paths.iter().position(|path| path.len() == depth && starts_here(&path));
            let read = match reader.peek() {
                Some(b'{') if goes_deeper && here.is_none() => self.object(reader, above, found),
                Some(b'"') if here.is_some() => reader.string().map(|text| set(found, here, text)),
                _ => reader.skip().map(|text| {
                    if text != "null" {
                        set(found, here, Cow::Borrowed(text));
                    }
                    if goes_deeper && text.starts_with('{') {
                        // Both the object and something in it are wanted.
                        let _ = self.object(&mut JsonReader::new(text), above, found);
                    }
                }),
            };
            above.pop();
            read
        })
    }
}

fn set<'t>(found: &mut [Option<Cow<'t, str>>], at: Option<usize>, text: Cow<'t, str>) {
    if let Some(place) = at.and_then(|at| found.get_mut(at)).filter(|place| place.is_none()) {
        *place = Some(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_path() {
        let check = |document: &str, paths: &[&str], expected: Option<&[Option<&str>]>| {
            let mut wanted = WantedFields::default();
            paths.iter().for_each(|path| {
                wanted.add(path);
            });
            let found = wanted.find(document);
            let found: Option<Vec<Option<&str>>> =
                found.as_ref().map(|found| found.iter().map(Option::as_deref).collect());
            assert_eq!(found.as_deref(), expected, "{document}");
        };
        let document = r#"{"a":"x\ny","n":5.50,"o":{"k":true,"d":{"e":"f"}},"z":null,"l":[1,2],"a":"second"}"#;
        check(
            document,
            &["a", "n", "o.k", "o.d.e", "z", "l", "missing", "a.b"],
            Some(&[Some("x\ny"), Some("5.50"), Some("true"), Some("f"), None, Some("[1,2]"), None, None]),
        );
        check(r#"{"o":{"k":1}}"#, &["o", "o.k"], Some(&[Some(r#"{"k":1}"#), Some("1")]));
        check("{}", &["a"], Some(&[None]));
        check("[1]", &["a"], None);
        check(r#"{"a":1"#, &["a"], None);
        check(r#"{"a":1} x"#, &["a"], None);
        check("not json", &[], None);
    }

    #[test]
    fn a_path_asked_for_twice_has_one_place() {
        let mut wanted = WantedFields::default();
        assert_eq!((wanted.add("a"), wanted.add("b"), wanted.add("a")), (0, 1, 0));
    }
}
