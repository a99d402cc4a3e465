//! The schema part of a manifest, from the datoms that pass.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::record::datom::cbor::{SYSTEM_REFERENCE, Unrepresentable};
use crate::record::datom::{Attribute, Datom, Value};

/// What Datahike's manifests say about an attribute, in the order they say it.
const FACTS: [&str; 11] = [
    "ident",
    "valueType",
    "cardinality",
    "unique",
    "index",
    "isComponent",
    "noHistory",
    "doc",
    "tupleType",
    "tupleTypes",
    "tupleAttrs",
];

/// What the datoms said so far.
#[derive(Default)]
pub(super) struct Schema {
    entities: BTreeMap<i64, BTreeMap<usize, String>>,
    /// Idents by entity, for databases with attribute references.
    idents: BTreeMap<i64, String>,
    /// Entities of Datahike's own schema.
    system: BTreeMap<i64, String>,
    types: BTreeSet<String>,
    stated_config: bool,
    attribute_ids: bool,
}

impl Schema {
    /// Starts from the properties the source stated.
    pub(super) fn new(properties: &BTreeMap<String, String>) -> Self {
        let mut schema = Self::default();
        if let Some(stated) = properties.get("schema") {
            schema.types = words(stated).filter_map(|word| word.strip_prefix(":db.type/")).map(str::to_owned).collect();
        }
        if let Some(config) = properties.get("source-config") {
            schema.stated_config = true;
            let mut words = words(config);
            schema.attribute_ids = words.any(|w| w == ":attribute-refs?") && words.next() == Some("true");
        }
        if let Some(idents) = properties.get("system-idents") {
            let words: Vec<_> = words(idents).collect();
            for pair in words.chunks(2) {
                if let [id, ident] = pair
                    && let (Ok(id), Some(ident)) = (id.parse(), ident.strip_prefix(':'))
                {
                    schema.system.insert(id, ident.to_owned());
                }
            }
        }
        schema
    }

    /// Takes note of a datom about an attribute.
    pub(super) fn learn(&mut self, datom: &Datom<'_>) {
        let fact = match &datom.a {
            Attribute::Keyword(name) => name.strip_prefix("db/"),
            Attribute::Id(id) => self.ident(*id).and_then(|name| name.strip_prefix("db/")),
            Attribute::String(_) => None,
        };
        let Some(fact) = fact.and_then(|fact| FACTS.iter().position(|known| *known == fact)) else { return };
        if fact == 0
            && let Value::Keyword(name) = &datom.v
        {
            self.idents.insert(datom.e, name.clone().into_owned());
        }
        let text = self.text(&datom.v);
        if FACTS[fact] == "valueType"
            && let Some(kind) = text.strip_prefix(":db.type/")
        {
            self.types.insert(kind.to_owned());
        }
        let entity = self.entities.entry(datom.e).or_default();
        if datom.added {
            entity.insert(fact, text);
        } else if entity.get(&fact) == Some(&text) {
            entity.remove(&fact);
        }
    }

    fn ident(&self, id: i64) -> Option<&str> {
        self.idents.get(&id).or_else(|| self.system.get(&id)).map(String::as_str)
    }

    fn text(&self, value: &Value<'_>) -> String {
        match value {
            Value::Keyword(name) => format!(":{name}"),
            Value::Boolean(value) => value.to_string(),
            Value::Long(id) => self.ident(*id).map_or_else(|| id.to_string(), |name| format!(":{name}")),
            Value::String(text) => quoted(&String::from_utf8_lossy(text)),
            Value::Tuple(elements) | Value::List(elements) => {
                let elements: Vec<_> = elements.iter().map(|element| self.text(element)).collect();
                format!("[{}]", elements.join(" "))
            }
            Value::Tagged(tag, inner) if tag == SYSTEM_REFERENCE => match inner.as_ref() {
                Value::Map(entries) => entries.first().map_or_else(String::new, |(_, ident)| self.text(ident)),
                _ => String::new(),
            },
            _ => "nil".to_owned(),
        }
    }

    /// The datom with a keyword for its attribute and a named reference for a system entity, if it has neither.
    pub(super) fn resolved<'d>(&'d self, datom: &'d Datom<'d>) -> Result<Option<Datom<'d>>, Unrepresentable> {
        let Attribute::Id(id) = &datom.a else { return Ok(None) };
        let name = self.ident(*id).ok_or(Unrepresentable("an attribute id of which no ident is known"))?;
        let is_reference = match name {
            "db/valueType" | "db/cardinality" | "db/unique" | "db/tupleType" => true,
            _ => self.entities.get(id).and_then(|facts| facts.get(&1)).is_some_and(|kind| kind == ":db.type/ref"),
        };
        let v = match &datom.v {
            Value::Long(target) if is_reference => match self.system.get(target) {
                Some(ident) => {
                    let entry = (Value::Keyword(Cow::Borrowed("ident")), Value::Keyword(Cow::Borrowed(ident.as_str())));
                    Value::Tagged(Cow::Borrowed(SYSTEM_REFERENCE), Box::new(Value::Map(vec![entry])))
                }
                None => Value::Long(*target),
            },
            other => other.clone(),
        };
        Ok(Some(Datom { e: datom.e, a: Attribute::Keyword(Cow::Borrowed(name)), v, t: datom.t, added: datom.added }))
    }

    /// What a reader must know.
    pub(super) fn requires(&self, history: bool) -> String {
        let mut capabilities = vec![":datahike.migrate/cbor-seq".to_owned()];
        if self.attribute_ids {
            capabilities.push(":datahike.migrate/attribute-refs".to_owned());
        }
        if history {
            capabilities.push(":datahike.migrate/history".to_owned());
        }
        capabilities.extend(self.types.iter().map(|kind| format!(":db.type/{kind}")));
        format!("[{}]", capabilities.join(" "))
    }

    /// The configuration the source stated, or one that fits the datoms.
    pub(super) fn source_config(&self, stated: Option<String>, history: bool) -> String {
        stated.unwrap_or_else(|| {
            let flexibility = if self.types.is_empty() { ":read" } else { ":write" };
            format!("{{:attribute-refs? false, :keep-history? {history}, :schema-flexibility {flexibility}}}")
        })
    }

    /// `{ident {...}}` of every attribute.
    pub(super) fn print(&self) -> String {
        let mut attributes = BTreeMap::new();
        for facts in self.entities.values().filter(|facts| facts.contains_key(&0) && facts.contains_key(&2)) {
            let entries: Vec<_> = facts.iter().map(|(fact, text)| format!(":{} {text}", FACTS[*fact])).collect();
            attributes.insert(&facts[&0], format!("#:db{{{}}}", entries.join(", ")));
        }
        let entries: Vec<_> = attributes.iter().map(|(ident, facts)| format!("{ident} {facts}")).collect();
        format!("{{{}}}", entries.join(", "))
    }
}

/// The words of EDN outside brackets and commas. Inside strings they may be anything; nothing that matters is there.
fn words(edn: &str) -> impl Iterator<Item = &str> {
    edn.split(|c: char| c.is_whitespace() || "{}[](),\"#".contains(c)).filter(|word| !word.is_empty())
}

fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out + "\""
}
