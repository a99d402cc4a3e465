//! What a snapshot tells about a database, as EDN text, without secrets.

use std::collections::BTreeMap;

use super::BranchReading;
use crate::datahike::{Head, SchemaMeta, field, hasch};
use crate::record::datom::{Value, edn};

/// What is kept of the part of a configuration that says where the store is: the rest may be credentials.
const STORE_KEEPS: [&str; 5] = ["backend", "id", "path", "scope", "dbtype"];
/// The parts of a configuration that a database of the same content needs.
const SOURCE_CONFIG: [&str; 3] = ["attribute-refs?", "keep-history?", "schema-flexibility"];

/// Properties by name.
pub type Properties = BTreeMap<String, String>;

/// What a head and its schema tell about their branch.
pub fn state_properties(head: &Head, schema: &SchemaMeta) -> Properties {
    let mut properties = Properties::new();
    let mut put = |name: &str, value: &Value<'_>| properties.insert(name.to_owned(), print(value));
    put("schema", &attributes(&schema.schema));
    put("config", &redacted(&head.config));
    let kept = SOURCE_CONFIG.iter().filter_map(|name| Some((keyword(name), field(&head.config, name)?.clone())));
    put("source-config", &Value::Map(kept.collect()));
    put("max-t", &Value::Long(head.max_tx));
    put("max-eid", &Value::Long(head.max_eid));
    put("parents", &Value::Set(head.parents.clone()));
    put("meta", &head.meta);
    if let Some(commit) = head.commit {
        properties.insert("commit".to_owned(), hasch::spell(&commit));
    }
    if head.has_attribute_references() {
        let ident = |id: &i64, ident: &str| (Value::Long(*id), Value::Keyword(ident.to_owned().into()));
        let all = schema.idents.iter().map(|(id, name)| ident(id, name));
        properties.insert("idents".to_owned(), print(&Value::Map(all.collect())));
        let system = schema.system_entities.iter().filter_map(|id| Some(ident(id, schema.idents.get(id)?)));
        let mut system: Vec<_> = system.collect();
        system.sort_by_key(|(id, _)| match id {
            Value::Long(id) => *id,
            _ => 0,
        });
        properties.insert("system-idents".to_owned(), print(&Value::Map(system)));
    }
    properties.insert("view".to_owned(), if head.keeps_history() { "history" } else { "current" }.to_owned());
    properties
}

/// The id of the database that these are properties of, if they say.
pub fn database_id(properties: &[(String, String)]) -> Option<[u8; 16]> {
    let (_, meta) = properties.iter().find(|(name, _)| name == "meta")?;
    crate::datahike::database_id(&edn::parse_value(meta.as_bytes()).ok()?)
}

impl BranchReading {
    /// What a snapshot tells about the branch: `schema`, `config` (redacted), `max-t`, `max-eid`, `commit`, ...
    pub fn properties(&self) -> Properties {
        state_properties(&self.head, &self.schema)
    }
}

/// A configuration without what may be credentials: of the store only its kind and place are kept.
pub fn redacted(config: &Value<'_>) -> Value<'static> {
    let Value::Map(entries) = config else { return Value::Nil };
    let entries = entries.iter().map(|(key, value)| {
        let value = match key {
            Value::Keyword(key) if key == "store" => redacted_store(value),
            Value::Keyword(key) if key == "writer" || key == "remote-peer" => kind_of(value),
            _ => value.clone().into_owned(),
        };
        (key.clone().into_owned(), value)
    });
    Value::Map(entries.collect())
}

fn redacted_store(store: &Value<'_>) -> Value<'static> {
    let Value::Map(entries) = store else { return keyword("redacted") };
    let entries = entries.iter().map(|(key, value)| {
        let kept = matches!(key, Value::Keyword(key) if STORE_KEEPS.contains(&key.as_ref()));
        let plain = !matches!(value, Value::String(text) if text.contains(&b'@') || text.contains(&b'?'));
        let value = if kept && plain { value.clone().into_owned() } else { keyword("redacted") };
        (key.clone().into_owned(), value)
    });
    Value::Map(entries.collect())
}

/// Only the `:backend` of what says who writes: the rest may be an address with a token.
fn kind_of(writer: &Value<'_>) -> Value<'static> {
    match field(writer, "backend") {
        Some(backend) => Value::Map(vec![(keyword("backend"), backend.clone().into_owned())]),
        None => keyword("redacted"),
    }
}

/// The attributes of users: of those of its own Datahike keeps only parts.
fn attributes(schema: &Value<'_>) -> Value<'static> {
    let Value::Map(entries) = schema else { return Value::Map(Vec::new()) };
    let of_users = entries.iter().filter(|(_, attribute)| field(attribute, "db/ident").is_some());
    Value::Map(
        of_users.map(|(ident, attribute)| (ident.clone().into_owned(), attribute.clone().into_owned())).collect(),
    )
}

fn keyword(name: &str) -> Value<'static> {
    Value::Keyword(name.to_owned().into())
}

fn print(value: &Value<'_>) -> String {
    let mut text = Vec::new();
    edn::print_value(value, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
