//! Lines through columns and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, DictionaryArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use proptest::prelude::*;

use super::*;
use crate::types::rows::Lines;

/// Splits `lines` and puts them together, with values coded as a file has them.
fn through(lines: &[String], members: Option<&Members>, coded: bool) -> (Vec<String>, bool) {
    let array = StringViewArray::from_iter_values(lines);
    let mut splitter = Splitter::new(FieldColumns::choose(lines.iter().map(String::as_str)));
    if splitter.columns().is_empty() {
        return (lines.to_vec(), false);
    }
    let split = splitter.split(&array).expect("split");
    let (facts, _) = splitter.take_facts();
    let is_split = facts.is_split();
    let index = FieldIndex::decode_groups(&encode(&splitter, vec![facts]), 1).expect("decoded");
    let recipe = match members {
        Some(members) => match Recipe::narrowed(&index, 0, members) {
            Some(recipe) => recipe,
            None => return (lines.to_vec(), is_split),
        },
        None => Recipe::whole(&index),
    };
    let fields: Vec<ArrayRef> = recipe
        .columns()
        .iter()
        .map(|column| {
            let values = &split.fields[*column as usize];
            match coded && values.data_type() == &DataType::Utf8View {
                true => coded_values(values),
                false => values.clone(),
            }
        })
        .collect();
    let whole = (!recipe.is_narrowed()).then(|| split.line.as_string_view());
    let back = recipe.lines(split.template.as_primitive(), whole, &fields).expect("lines");
    let back = Lines::of(&back);
    ((0..lines.len()).map(|row| back.value(row).to_owned()).collect(), is_split)
}

fn coded_values(values: &ArrayRef) -> ArrayRef {
    let plain = cast(values, &DataType::Utf8).expect("text");
    let coded: DictionaryArray<Int32Type> = plain.as_string::<i32>().iter().collect();
    Arc::new(coded)
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn lines_come_back_and_narrow() {
    let lines = owned(&[
        r#"{"level":"info","msg":"a \"quoted\" word","n":12345678901234,"user":{"id":"u1","tags":["x","y"]}}"#,
        r#"{"level":"error","msg":"a value that is longer than twelve bytes","n":-0.5,"user":{"id":"u2","tags":[]}}"#,
        r#" {"n" : 1, "level": null}"#,
        r#"{}"#,
    ]);
    for coded in [false, true] {
        assert_eq!(through(&lines, None, coded).0, lines);
        let members = Members::of(Syntax::Json, |member| member.key == "n" || member.key == "user");
        let (narrowed, is_split) = through(&lines, Some(&members), coded);
        assert!(is_split);
        assert_eq!(
            narrowed,
            [
                r#"{"n":12345678901234,"user":{"id":"u1","tags":["x","y"]}}"#,
                r#"{"n":-0.5,"user":{"id":"u2","tags":[]}}"#,
                r#" {"n" : 1}"#,
                "{}"
            ]
        );
        assert_eq!(through(&lines, Some(&Members::none()), coded).0, ["{}", "{}", " {}", "{}"]);
    }
}

#[test]
fn a_slot_has_values_of_one_sort() {
    // The first line of a kind says which members are arrays.
    let lines = owned(&[r#"{"a":[1],"b":1}"#, r#"{"a":2,"b":[2]}"#, r#"{"a":"3","b":null}"#, r#"{"a":[],"b":4}"#]);
    let scalars = Members::of(Syntax::Json, |member| member.kind == MemberKind::Scalar);
    let (narrowed, is_split) = through(&lines, Some(&scalars), false);
    assert!(is_split);
    assert_eq!(narrowed, [r#"{"b":1}"#, r#"{"a":2}"#, r#"{"a":"3","b":null}"#, r#"{"b":4}"#]);
}

#[test]
fn a_text_narrows_to_the_members_that_may_have_it() {
    let lines: Vec<String> = (0..40)
        .map(|at| format!(r#"{{"trace":"{at:016x}","message":"attempt {at}","status":{},"note":"x"}}"#, 200 + at))
        .collect();
    let with = |texts: &[&str]| Members::none().or_with(owned(texts));
    let narrowed = |texts: &[&str]| through(&lines, Some(&with(texts)), false).0[3].clone();
    assert_eq!(narrowed(&["0000000000000003"]), r#"{"trace":"0000000000000003"}"#);
    assert_eq!(narrowed(&["attempt"]), r#"{"message":"attempt 3"}"#);
    assert_eq!(narrowed(&["203"]), r#"{"trace":"0000000000000003","message":"attempt 3","status":203}"#);
    assert_eq!(narrowed(&["note"]), r#"{"note":"x"}"#);
    assert_eq!(narrowed(&["zzyzx"]), "{}");
    let (picked, _) = through(&lines, Some(&with(&["0000000000000003"]).requiring(Some("0000000000000003"))), false);
    assert_eq!(picked[2..4], ["{}", r#"{"trace":"0000000000000003"}"#]);
    for (text, is_confined) in
        [("attempt", true), ("a, b", true), ("200", true), (", ", false), (": 200", false), ("a\"b", false), ("", true)]
    {
        assert_eq!(Members::confines(text), is_confined, "{text}");
    }
}

#[test]
fn ids_of_one_form_are_packed_and_others_are_not() {
    let mut lines: Vec<String> =
        (0..60).map(|at| format!(r#"{{"id":"req_{:08x}","n":{at}}}"#, at * 0x0123_4567)).collect();
    lines.push(r#"{"id":"another form","n":7}"#.to_owned());
    lines.push(r#"{"id":"req_0123456G","n":7}"#.to_owned());
    let columns = FieldColumns::choose(lines.iter().map(String::as_str));
    let packed = columns.columns().iter().filter(|column| column.form.is_some());
    assert_eq!(packed.map(|column| &*column.path).collect::<Vec<_>>(), ["id"]);
    let (back, is_split) = through(&lines, None, false);
    assert!(is_split);
    assert_eq!(back, lines);
    let id = Members::of(Syntax::Json, |member| member.key == "id");
    let (narrowed, _) = through(&lines, Some(&id), false);
    assert_eq!((&*narrowed[1], &*narrowed[60]), (r#"{"id":"req_01234567"}"#, r#"{"id":"another form"}"#));
}

#[test]
fn logfmt_lines_come_back_and_narrow_and_lines_of_another_syntax_stay() {
    let lines: Vec<String> = (0..60)
        .map(|at| match at % 3 {
            0 => format!(r#"{{"level":"warn","trace":"{at:016x}","n":{at}}}"#),
            _ => format!(r#"level=info trace={at:016x}  msg="attempt {at}" n={at}"#),
        })
        .collect();
    let (back, is_split) = through(&lines, None, true);
    assert!(is_split);
    assert_eq!(back, lines);
    let level = |syntax| Members::of(syntax, |member| member.key == "level");
    let (narrowed, _) = through(&lines, Some(&level(Syntax::Logfmt)), true);
    assert_eq!((&narrowed[3], &*narrowed[4]), (&lines[3], "level=info"));
    let (narrowed, _) = through(&lines, Some(&level(Syntax::Json)), true);
    assert_eq!((&*narrowed[3], &narrowed[4]), (r#"{"level":"warn"}"#, &lines[4]));
    let with = |text: &str| through(&lines, Some(&Members::none().or_with(owned(&[text]))), false).0;
    assert_eq!((&*with("attempt")[3], &*with("attempt")[4]), ("{}", r#"msg="attempt 4""#));
    // It can lie in several pairs.
    assert_eq!(with("info trace")[4], lines[4]);
}

#[test]
fn lines_that_are_neither_stay_whole() {
    let lines = owned(&["plain text", r#"{"a":1}"#, "level=info flag", r#"{"a":"broken"#, ""]);
    let (back, is_split) = through(&lines, None, false);
    assert_eq!(back, lines);
    assert!(!is_split);
    assert_eq!(through(&lines, Some(&Members::none()), false).0, lines);
}

/// JSON with odd spacing, escapes, nesting, repeated keys; sometimes cut short.
fn json_line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "a_b", "trace", "ключ", "x y", "e\\n", ""]);
    let scalar = prop_oneof![
        "[a-z\\\\/\" żó]{0,20}".prop_map(|text| serde_json::to_string(&text).expect("text")),
        "[0-9a-f]{16}".prop_map(|id| format!("\"{id}\"")),
        "req_[0-9a-f]{8}".prop_map(|id| format!("\"{id}\"")),
        any::<i32>().prop_map(|n| n.to_string()),
        Just("1.50".to_owned()),
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just(r#"["a",{"b":"]"}]"#.to_owned()),
    ];
    let object = |value: BoxedStrategy<String>| {
        let pair = (key.clone(), prop::sample::select(vec!["", " "]), value);
        prop::collection::vec(pair, 0..5).prop_map(|pairs| {
            let members = pairs.iter().map(|(key, space, value)| format!("\"{key}\"{space}:{space}{value}"));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        })
    };
    let nested = object(scalar.clone().boxed());
    let line = object(prop_oneof![3 => scalar, 1 => nested].boxed());
    (line, 0usize..60).prop_map(|(line, cut)| match line.char_indices().nth(cut).filter(|_| cut < 8) {
        Some((at, _)) => line[..at].to_owned(),
        None => line,
    })
}

/// Pairs, most of them good.
fn logfmt_line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "a.b", "trace", "x-y"]);
    let value = prop_oneof![
        "[a-z0-9/żó]{0,12}",
        "[0-9a-f]{16}",
        "req_[0-9a-f]{8}",
        "[a-z =\\\\/żó]{0,12}".prop_map(|text| format!("{text:?}")),
        Just("a=b".to_owned()),
    ];
    let pair = (key, value, prop::sample::select(vec![" ", " ", " ", "  ", ""]));
    prop::collection::vec(pair, 1..5)
        .prop_map(|pairs| pairs.iter().map(|(key, value, space)| format!("{key}={value}{space}")).collect())
}

fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![3 => json_line(), 2 => logfmt_line()]
}

proptest! {
    #[test]
    fn any_line_comes_back(lines in prop::collection::vec(any_line(), 1..60), coded: bool) {
        prop_assert_eq!(through(&lines, None, coded).0, lines);
    }

    #[test]
    fn what_is_in_a_line_is_not_ruled_out(lines in prop::collection::vec(any_line(), 1..40), row: prop::sample::Index, from: prop::sample::Index, length in 1usize..24) {
        let array = StringViewArray::from_iter_values(&lines);
        let mut splitter = Splitter::new(FieldColumns::choose(lines.iter().map(String::as_str)));
        prop_assume!(!splitter.columns().is_empty());
        splitter.split(&array).expect("split");
        let (facts, filters) = splitter.take_facts();
        let index = FieldIndex::decode_groups(&encode(&splitter, vec![facts]), 1).expect("decoded");
        let line: Vec<char> = lines[row.index(lines.len())].chars().collect();
        prop_assume!(!line.is_empty());
        let start = from.index(line.len());
        let text: String = line[start..(start + length).min(line.len())].iter().collect();
        match index.may_have(0, &text) {
            MayHave::Yes => {}
            MayHave::No => prop_assert!(false, "{}", text),
            MayHave::IfInFilters(parts) => {
                let found = |(column, id): &(u32, String)| {
                    let before = index.columns()[..*column as usize].iter().filter(|column| column.id).count();
                    let filters = IdFilters::decode(&filters[before]).expect("as it was written");
                    !filters.stretches_with(id).is_empty()
                };
                prop_assert!(parts.iter().all(|part| part.iter().any(found)), "{}", text);
            }
        }
        if Members::confines(&text) {
            let members = Members::none().or_with(vec![text.clone()]).requiring(Some(&text));
            let (narrowed, is_split) = through(&lines, Some(&members), false);
            for (line, narrowed) in lines.iter().zip(&narrowed).filter(|_| is_split) {
                prop_assert_eq!(line.contains(&text), narrowed.contains(&text), "{} in {} and {}", text, line, narrowed);
            }
        }
    }
}
