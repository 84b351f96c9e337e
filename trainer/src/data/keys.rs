//! Receipt keys: their hash, and the files that freeze a validation set or list the receipts allowed.

use std::collections::BTreeSet;
use std::path::Path;

use layoutlm_core::encoding::sha256_hex;
use serde_json::Value;

use super::error::DataError;
use crate::files::FileError;

/// First 16 hex digits of the SHA-256 of the keys, sorted and joined with `,`.
pub fn keys_hash<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    let mut sorted: Vec<&str> = keys.into_iter().collect();
    sorted.sort_unstable();
    let mut hash = sha256_hex(sorted.join(",").as_bytes());
    hash.truncate(16);
    hash
}

/// What a key file is for, which decides the field its object form holds the keys in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFile {
    /// `{"val_receipt_keys": […]}`: the frozen validation set.
    Validation,
    /// `{"receipt_keys": […]}`: the receipts that may be loaded.
    AllowList,
}

impl KeyFile {
    fn field(self) -> &'static str {
        match self {
            Self::Validation => "val_receipt_keys",
            Self::AllowList => "receipt_keys",
        }
    }
}

/// Reads a key file: an object with the field of `kind`, or a bare array of keys.
///
/// # Errors
/// [`DataError::File`] when it can't be read, [`DataError::Keys`] when it is of another shape or holds no key.
pub fn read_keys(path: &Path, kind: KeyFile) -> Result<BTreeSet<String>, DataError> {
    let text = std::fs::read_to_string(path).map_err(FileError::at(path))?;
    parse_keys(&text, kind).map_err(|reason| DataError::Keys { path: path.to_path_buf(), reason })
}

/// The keys in a key file's text.
///
/// # Errors
/// What is wrong with it, and what is expected.
pub fn parse_keys(text: &str, kind: KeyFile) -> Result<BTreeSet<String>, String> {
    let field = kind.field();
    let expected =
        format!("expected {{\"{field}\": [\"<image_id>#<receipt_id:05>\", …]}} or a bare array of such keys");
    let value: Value = serde_json::from_str(text).map_err(|e| format!("{e}; {expected}"))?;
    let list = match &value {
        Value::Array(list) => list,
        Value::Object(map) => match map.get(field) {
            Some(Value::Array(list)) => list,
            Some(_) => return Err(format!("{field} is not an array; {expected}")),
            None => return Err(format!("there is no {field}; {expected}")),
        },
        _ => return Err(expected),
    };
    let keys: Option<BTreeSet<String>> = list.iter().map(|v| v.as_str().map(String::from)).collect();
    let keys = keys.ok_or_else(|| format!("a key is not a string; {expected}"))?;
    if keys.is_empty() {
        return Err(format!("it holds no key: an empty list would silently mean something else; {expected}"));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_earlier_runs_recorded() {
        assert_eq!(keys_hash(["b#00002", "a#00001"]), "bad22f2ddb5a993d");
        assert_eq!(keys_hash([]), "e3b0c44298fc1c14");
    }

    #[test]
    fn both_forms_are_read_and_everything_else_is_refused_with_what_was_expected() {
        let keys = parse_keys(r#"{"val_receipt_keys":["b#00001","a#00001"],"note":1}"#, KeyFile::Validation)
            .unwrap();
        assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["a#00001", "b#00001"]);
        assert_eq!(parse_keys(r#"["a#00001"]"#, KeyFile::AllowList).unwrap().len(), 1);
        for bad in ["", "[]", "7", "[7]", r#"{"receipt_keys":["a"]}"#, r#"{"val_receipt_keys":"a"}"#] {
            let reason = parse_keys(bad, KeyFile::Validation).unwrap_err();
            assert!(reason.contains("expected {\"val_receipt_keys\""), "{bad}: {reason}");
        }
    }
}
