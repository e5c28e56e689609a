//! What a file was when it was written: its length, its digest, and a short digest of each of its parts.
//!
//! The digest tells that a file was altered, the short ones where. They are made of the text of each
//! field, and of each entry where a field is a list, so nothing can be altered without being noticed
//! and nearly nothing without being named.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a file was when it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileDigest {
    pub(super) bytes: u64,
    pub(super) blake3: String,
    /// By the name of a field, eight hex digits, or eight for each entry of a list; under the empty
    /// name if the file is a list itself. Empty for a file that is no JSON.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<String, String>,
}

impl FileDigest {
    pub(super) fn of(content: &[u8]) -> Self {
        Self {
            bytes: content.len() as u64,
            blake3: blake3::hash(content).to_hex().to_string(),
            fields: fields(content),
        }
    }

    /// Whether the content is what was written.
    pub(super) fn is_of(&self, content: &[u8]) -> bool {
        self.bytes == content.len() as u64 && self.blake3 == blake3::hash(content).to_hex().as_str()
    }

    /// The first field that is not what was written; empty if that cannot be told.
    pub(super) fn first_altered(&self, content: &[u8]) -> String {
        let found = fields(content);
        let names = self.fields.keys().chain(found.keys());
        let altered = names.into_iter().find(|name| self.fields.get(*name) != found.get(*name));
        let Some(name) = altered else { return String::new() };
        match (self.fields.get(name), found.get(name)) {
            (Some(written), Some(found)) if written.len() > DIGITS || found.len() > DIGITS => {
                let pairs = chunks(written).zip(chunks(found));
                let same = pairs.take_while(|(written, found)| written == found).count();
                format!("{name}[{same}]")
            }
            _ => name.clone(),
        }
    }
}

fn chunks(digits: &str) -> impl Iterator<Item = &[u8]> {
    digits.as_bytes().chunks(DIGITS)
}

/// The short digests of all fields; none if it is no JSON.
fn fields(content: &[u8]) -> BTreeMap<String, String> {
    if let Ok(object) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(content) {
        return object.into_iter().map(|(name, value)| (name, of_value(value))).collect();
    }
    match serde_json::from_slice::<&RawValue>(content) {
        Ok(value) => BTreeMap::from([(String::new(), of_value(value))]),
        Err(_) => BTreeMap::new(),
    }
}

fn of_value(value: &RawValue) -> String {
    match serde_json::from_str::<Vec<&RawValue>>(value.get()) {
        Ok(entries) => entries.into_iter().map(|entry| short(entry.get())).collect(),
        Err(_) => short(value.get()),
    }
}

fn short(text: &str) -> String {
    let mut digits = blake3::hash(text.as_bytes()).to_hex().to_string();
    digits.truncate(DIGITS);
    digits
}

const DIGITS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, found: &str, field: &str) {
        let digest = FileDigest::of(written.as_bytes());
        assert!(digest.is_of(written.as_bytes()));
        assert!(!digest.is_of(found.as_bytes()));
        assert_eq!(digest.first_altered(found.as_bytes()), field);
    }

    #[test]
    fn an_alteration_is_named_by_its_field() {
        check(r#"{"a":1,"b":2}"#, r#"{"a":1,"b":3}"#, "b");
        check(r#"{"a":1,"b":2}"#, r#"{"a":1}"#, "b");
        check(r#"{"a":1}"#, r#"{"a":1,"b":3}"#, "b");
        check(r#"{"a":[1,2,3]}"#, r#"{"a":[1,2,4]}"#, "a[2]");
        check(r#"{"a":[1,2,3]}"#, r#"{"a":[1,3]}"#, "a[1]");
        check(r#"{"a":[1,2,3]}"#, r#"{"a":[1,2]}"#, "a[2]");
        check(r#"[{"x":1},{"x":2}]"#, r#"[{"x":1},{"x":3}]"#, "[1]");
        check(r#"{"a":{"x":1}}"#, r#"{"a":{"x":2}}"#, "a");
    }

    #[test]
    fn what_is_no_field_has_no_name() {
        check(r#"{"a":1}"#, r#"{"a":1} "#, "");
        check("text", "other", "");
    }
}
