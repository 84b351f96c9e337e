//! Reading run records that other programs wrote: Python's JSON knows `NaN` and `Infinity`, and names have changed.

use std::path::Path;

use serde_json::{Map, Value};

use crate::files::FileError;

/// Reads a JSON object in which bare `NaN`, `Infinity` and `-Infinity` count as null.
pub(super) fn read_object(path: &Path) -> Result<Map<String, Value>, FileError> {
    let text = std::fs::read_to_string(path).map_err(FileError::at(path))?;
    serde_json::from_str(&without_bare_words(&text)).map_err(|e| FileError::at(path)(e.into()))
}

/// Replaces bare non-finite numbers outside strings.
fn without_bare_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut in_string) = (text, false);
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|w| !in_string && rest.starts_with(w));
        let taken = if let Some(word) = word {
            out.push_str("null");
            word.len()
        } else {
            let escaped = in_string && c == '\\';
            in_string ^= c == '"';
            let taken =
                c.len_utf8() + if escaped { rest.chars().nth(1).map_or(0, char::len_utf8) } else { 0 };
            out.push_str(rest.get(..taken).unwrap_or_default());
            taken
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// The first of several names that an object has.
pub(super) fn first<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|n| object.get(*n)).filter(|v| !v.is_null())
}

/// Text under a name; empty where there is none.
pub(super) fn text(object: &Map<String, Value>, name: &str) -> String {
    object.get(name).and_then(Value::as_str).unwrap_or_default().to_string()
}

/// An object under a name; empty where there is none.
pub(super) fn object(of: &Map<String, Value>, name: &str) -> Map<String, Value> {
    of.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_words_become_null_and_texts_stay() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity], "NaN": "x \" NaN \\", "c": "Infinity"}"#;
        let value: Value = serde_json::from_str(&without_bare_words(text)).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"a": null, "b": [null, null], "NaN": "x \" NaN \\", "c": "Infinity"})
        );
    }
}
