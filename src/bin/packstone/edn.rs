//! What programs read as EDN instead of JSON: the same data, and snapshots as the manifests that Clojure tools know.
//!
//! Keys become keywords, `data_added` `:data-added`; those of the document itself have a namespace, by which the command
//! is known: `:stats/total-size`. Keys that are no names stay strings. Times become `#inst`, words from a fixed choice
//! keywords.

use std::borrow::Cow;

use clap::ValueEnum;
use packstone::format::{Snapshot, Status};
use packstone::record::datom::{Value, edn};
use serde_json::Value as Json;

use crate::{describe, time};

/// The one notation beside JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// EDN, for Clojure: keywords, #inst, and snapshots as manifests with :backup/id, :stats/datom-count and the like
    Edn,
}

/// Members whose text is a time.
const TIMES: [&str; 6] = ["time", "created", "started", "last_alive", "backup_start", "backup_end"];
/// Members whose text is a word from a fixed choice.
const WORDS: [&str; 5] = ["message_type", "status", "class", "kind", "method"];
/// The members of a snapshot that its manifest says in other words.
const SAID: [&str; 4] = ["id", "time", "roots", "status"];

/// A text in one line.
pub fn text(value: &Value<'_>) -> String {
    let mut text = Vec::new();
    edn::print_value(value, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// The same data as a JSON document; keys of the outermost object or objects are put into the namespace.
pub fn document(json: &Json, namespace: &str) -> Value<'static> {
    match json {
        Json::Array(elements) => Value::Tuple(elements.iter().map(|element| document(element, namespace)).collect()),
        Json::Object(_) => object(json, Some(namespace)),
        other => value(other),
    }
}

fn value(json: &Json) -> Value<'static> {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Boolean(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(long), _) => Value::Long(long),
            (None, Some(big)) => Value::BigInt(big.into()),
            (None, None) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => string(text),
        Json::Array(elements) => Value::Tuple(elements.iter().map(value).collect()),
        Json::Object(_) => object(json, None),
    }
}

fn object(json: &Json, namespace: Option<&str>) -> Value<'static> {
    let mut entries: Vec<(Value<'static>, Value<'static>)> = Vec::new();
    for (name, member) in json.as_object().into_iter().flatten() {
        let key = key(name, namespace).filter(|key| entries.iter().all(|(other, _)| other != key));
        entries.push((key.unwrap_or_else(|| string(name)), member_value(name, member)));
    }
    Value::Map(entries)
}

fn member_value(name: &str, member: &Json) -> Value<'static> {
    let Json::String(text) = member else { return value(member) };
    if TIMES.contains(&name)
        && let Ok(milliseconds) = time::parse(text)
    {
        return Value::Instant(milliseconds);
    }
    match key(text, None) {
        Some(word) if WORDS.contains(&name) => word,
        _ => string(text),
    }
}

/// The keyword that a name becomes, unless it holds what names do not.
fn key(name: &str, namespace: Option<&str>) -> Option<Value<'static>> {
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_. ".contains(&byte))
        && !name.ends_with('.');
    is_name.then(|| {
        let bare = name.replace(['_', ' '], "-");
        keyword(namespace.map_or(bare.clone(), |namespace| format!("{namespace}/{bare}")))
    })
}

fn keyword(name: impl Into<Cow<'static, str>>) -> Value<'static> {
    Value::Keyword(name.into())
}

fn string(text: &str) -> Value<'static> {
    Value::String(Cow::Owned(text.as_bytes().to_vec()))
}

/// A snapshot in the words of datacamp's manifests; what those do not know is in the namespace `packstone`.
///
/// A chunk is a root: a tree of datoms or files, whose checksum is the id of its top node.
pub fn manifest(snapshot: &Snapshot) -> Value<'static> {
    let property = |name: &str| snapshot.properties.iter().find(|(own, _)| own == name).map(|(_, text)| text.as_str());
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).map_or(Value::Nil, Value::Long);
    let count = |number: u64| i64::try_from(number).map_or_else(|_| Value::BigInt(number.into()), Value::Long);
    let bounds: Vec<_> = snapshot.roots.iter().filter_map(describe::bounds).collect();
    let log = bounds.first();
    let range = |bounds: Option<&packstone::record::datom::Summary>| match bounds {
        Some(bounds) => Value::Tuple(vec![Value::Long(bounds.t_min), Value::Long(bounds.t_max)]),
        None => Value::Nil,
    };
    let stated = |name: &str, found: Option<i64>| match number(property(name)) {
        Value::Nil => found.map_or(Value::Nil, Value::Long),
        stated => stated,
    };
    let chunks = snapshot.roots.iter().map(|root| {
        let bounds = describe::bounds(root);
        Value::Map(vec![
            (keyword("chunk/id"), string(&root.name)),
            (keyword("chunk/tx-range"), range(bounds.as_ref())),
            (keyword("chunk/max-eid"), bounds.as_ref().map_or(Value::Nil, |bounds| Value::Long(bounds.e_max))),
            (keyword("chunk/datom-count"), count(root.records)),
            (keyword("chunk/size-bytes"), count(root.row_bytes)),
            (keyword("chunk/checksum"), root.id.map_or(Value::Nil, |id| string(&id.to_string()))),
        ])
    });
    let of_files = describe::is_of_files(snapshot);
    let datoms = if of_files { 0 } else { snapshot.roots.first().map_or(0, |root| root.records) };
    let version = property("datahike-version").or_else(|| property("datahike/version"));
    let mut entries = vec![
        (keyword("backup/id"), string(&snapshot.id.to_string())),
        (keyword("backup/type"), keyword(if snapshot.parent.is_some() { "incremental" } else { "full" })),
        (keyword("backup/created-at"), Value::Instant(snapshot.time_ms)),
        (keyword("backup/completed"), Value::Boolean(snapshot.status == Status::Complete)),
        (keyword("database/id"), string(&snapshot.label)),
        (keyword("database/branch"), keyword(property("branch").unwrap_or("db").trim_start_matches(':').to_owned())),
        (keyword("datahike/version"), version.map_or(Value::Nil, string)),
        (keyword("format/version"), string(&snapshot.program)),
        (keyword("format/compression"), keyword("zstd")),
        (keyword("format/encryption"), keyword("xchacha20-poly1305")),
        (keyword("stats/datom-count"), count(datoms)),
        (keyword("stats/chunk-count"), count(snapshot.roots.len() as u64)),
        (keyword("stats/size-bytes"), count(snapshot.statistics.bytes_stored)),
        (keyword("stats/tx-range"), range(log)),
        (keyword("stats/max-eid"), stated("max-eid", None)),
        (keyword("stats/max-tx"), stated("max-t", log.map(|bounds| bounds.t_max))),
        (keyword("chunks"), Value::Tuple(chunks.collect())),
    ];
    let json = describe::snapshot(snapshot);
    for (name, member) in json.as_object().into_iter().flatten().filter(|(name, _)| !SAID.contains(&name.as_str())) {
        let key = key(name, Some("packstone")).unwrap_or_else(|| string(name));
        entries.push((key, member_value(name, member)));
    }
    Value::Map(entries)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_the_same_in_edn() {
        let json = json!({
            "message_type": "statistics",
            "time": "2026-01-31T12:00:00Z",
            "data_added": 5,
            "share": 0.5,
            "none": null,
            "list": [1, "x", true],
            "a/b": { "max-t": "7", "max_t": "8", "": 1 },
            "huge": u64::MAX,
        });
        let printed = text(&document(&json, "stats"));
        let expected = "{:stats/message-type :statistics, :stats/time #inst \"2026-01-31T12:00:00.000-00:00\", \
                        :stats/data-added 5, :stats/share 0.5, :stats/none nil, :stats/list [1 \"x\" true], \
                        \"a/b\" {:max-t \"7\", \"max_t\" \"8\", \"\" 1}, :stats/huge 18446744073709551615N}";
        assert_eq!(printed, expected);
        edn::parse_value(printed.as_bytes()).unwrap();
        assert_eq!(text(&document(&json!([{ "id": 1 }]), "key")), "[{:key/id 1}]");
    }
}
