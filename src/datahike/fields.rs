//! Entries of maps by their keyword.

use crate::record::datom::Value;

/// What a map has under the keyword `name`, given without the colon; nothing where it is not a map.
pub fn field<'v, 'b>(map: &'v Value<'b>, name: &str) -> Option<&'v Value<'b>> {
    let Value::Map(entries) = map else { return None };
    entries.iter().find(|(key, _)| matches!(key, Value::Keyword(key) if key == name)).map(|(_, value)| value)
}

/// The number under a keyword.
pub(super) fn number(map: &Value<'_>, name: &str) -> Option<i64> {
    match field(map, name) {
        Some(Value::Long(number)) => Some(*number),
        _ => None,
    }
}

/// The UUID under a keyword.
pub(super) fn uuid(map: &Value<'_>, name: &str) -> Option<[u8; 16]> {
    match field(map, name) {
        Some(Value::Uuid(uuid)) => Some(*uuid),
        _ => None,
    }
}

/// The elements of a vector, list or set.
pub(super) fn elements<'v, 'b>(value: &'v Value<'b>) -> &'v [Value<'b>] {
    match value {
        Value::Tuple(elements) | Value::List(elements) | Value::Set(elements) => elements,
        _ => &[],
    }
}
