//! What Datahike keeps beside the datoms of what they say about attributes: the schema, and the schema turned around.
//!
//! Everything here follows from the current datoms, as Datahike makes it of them one by one: an entity with a `:db/ident`
//! is described under that ident, another one that has some attribute of a schema under its id.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::datahike::SYSTEM_TRANSACTION;
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Attribute, Datom, Value};

/// Attributes that describe attributes.
const SCHEMA_ATTRIBUTES: [&str; 21] = [
    "db/ident",
    "db/isComponent",
    "db/noHistory",
    "db/valueType",
    "db/cardinality",
    "db/unique",
    "db/index",
    "db.install/_attribute",
    "db/doc",
    "db/tupleAttrs",
    "db/tupleType",
    "db/tupleTypes",
    "db/maxLength",
    "db.attr/preds",
    "db.secondary/type",
    "db.secondary/attrs",
    "db.secondary/config",
    "db.secondary/status",
    "db.secondary/building-since-tx",
    "db.secondary/only",
    "db/id",
];
/// Those of entity specifications, of which several values make a vector.
const ENTITY_ATTRIBUTES: [&str; 3] = ["db/ensure", "db.entity/attrs", "db.entity/preds"];
/// Those whose values are entities where attributes are.
const REFERRING: [&str; 4] = ["db/valueType", "db/cardinality", "db/unique", "db/tupleType"];
/// Types whose values Datahike limits in length.
const LIMITED_TYPES: [&str; 4] = ["db.type/string", "db.type/bytes", "db.type/float-array", "db.type/double-array"];

type Described = BTreeMap<String, Value<'static>>;

/// Learns a schema from current datoms.
#[derive(Default)]
pub struct SchemaBuilder {
    ident_attribute: Option<i64>,
    /// Idents by entity.
    idents: BTreeMap<i64, String>,
    /// Entities of Datahike's own schema.
    system: BTreeSet<i64>,
    /// What is said about entities; attributes that are ids are named when all idents are known.
    said: Vec<(i64, Attribute<'static>, Value<'static>)>,
}

/// What follows from a schema for an attribute's datoms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Entities may have several values.
    pub many: bool,
    /// What was is not kept.
    pub no_history: bool,
    /// It is in the index by value.
    pub indexed: bool,
}

impl Properties {
    /// Whether its current datoms are history only as long as they are current.
    pub fn history_while_current(self) -> bool {
        self.many || self.no_history
    }

    /// Whether a datom of such an attribute stands in the temporal indices, which is part of the history, or of the current
    /// state, or of both. `references`: attributes are entities.
    pub(super) fn is_temporal(self, datom: &Datom<'_>, references: bool, history: bool, current: bool) -> bool {
        let is_system = references && datom.t == SYSTEM_TRANSACTION;
        history && (is_system || !(current && self.history_while_current()))
    }
}

/// A schema.
pub struct Schema {
    /// The value of its blob.
    pub meta: Value<'static>,
    /// What the store lacks that the schema speaks of: what, and how often.
    pub notes: BTreeMap<String, u64>,
    /// Whether attributes are entities.
    pub references: bool,
    typed: bool,
    by_name: HashMap<String, Properties>,
    by_id: HashMap<i64, Properties>,
}

impl Schema {
    /// What holds for an attribute.
    pub fn of(&self, attribute: &Attribute<'_>) -> Properties {
        match attribute {
            Attribute::Keyword(name) | Attribute::String(name) => self.by_name.get(name.as_ref()),
            Attribute::Id(id) => self.by_id.get(id),
        }
        .copied()
        .unwrap_or_default()
    }

    /// Attributes that are indexed or kept otherwise than under another schema.
    pub fn different(&self, other: &Self) -> BTreeSet<Attribute<'static>> {
        let names = self.by_name.keys().chain(other.by_name.keys()).map(|name| Attribute::Keyword(name.clone().into()));
        let ids = self.by_id.keys().chain(other.by_id.keys()).map(|id| Attribute::Id(*id));
        let all: BTreeSet<Attribute<'static>> = if self.references { ids.collect() } else { names.collect() };
        all.into_iter().filter(|attribute| self.of(attribute) != other.of(attribute)).collect()
    }

    /// Whether it gives any attribute a type, as it must before a strict database takes values of it.
    pub fn describes_users(&self) -> bool {
        self.typed
    }
}

impl SchemaBuilder {
    /// Takes a current datom; most say nothing about attributes.
    pub fn learn(&mut self, datom: &Datom<'_>) {
        match &datom.a {
            Attribute::Keyword(name) => {
                if name == "db/ident"
                    && let Value::Keyword(ident) = &datom.v
                {
                    self.idents.insert(datom.e, ident.clone().into_owned());
                }
                if is_schema(name) {
                    self.said.push((datom.e, datom.a.clone().into_owned(), datom.v.clone().into_owned()));
                }
            }
            Attribute::Id(id) => {
                if datom.e == *id && datom.v == Value::Keyword("db/ident".into()) {
                    self.ident_attribute = Some(*id);
                }
                if Some(*id) == self.ident_attribute
                    && let Value::Keyword(ident) = &datom.v
                {
                    self.idents.insert(datom.e, ident.clone().into_owned());
                    if datom.t == SYSTEM_TRANSACTION {
                        self.system.insert(datom.e);
                    }
                }
                // Datahike's own attributes are named behind the first datoms that use them.
                let may_be_schema = match self.idents.get(id) {
                    Some(name) => is_schema(name),
                    None => *id <= LAST_SYSTEM_ENTITY,
                };
                if may_be_schema {
                    self.said.push((datom.e, datom.a.clone().into_owned(), datom.v.clone().into_owned()));
                }
            }
            Attribute::String(_) => {}
        }
    }

    /// The schema; `references` says whether attributes are entities.
    pub fn finish(self, references: bool) -> Result<Schema> {
        if references && self.ident_attribute.is_none() {
            let message = "attributes are entity ids, but nothing says which one `:db/ident` is: Datahike's own schema is \
                           not among the datoms";
            return Err(Error::new(ErrorKind::Data, "schema", message));
        }
        let Self { idents, system, said, .. } = self;
        let mut entities: BTreeMap<i64, Described> = BTreeMap::new();
        for (e, attribute, value) in said {
            let name = match &attribute {
                Attribute::Keyword(name) | Attribute::String(name) => name.as_ref(),
                Attribute::Id(id) => match idents.get(id) {
                    Some(name) if is_schema(name) => name,
                    _ => continue,
                },
            };
            let value = match value {
                Value::Long(id) if references && REFERRING.contains(&name) => match idents.get(&id) {
                    Some(ident) => Value::Keyword(ident.clone().into()),
                    None => Value::Long(id),
                },
                other => other,
            };
            let described = entities.entry(e).or_default();
            if ENTITY_ATTRIBUTES.contains(&name) || name == "db.attr/preds" {
                match described.entry(name.to_owned()).or_insert_with(|| Value::Tuple(Vec::new())) {
                    Value::Tuple(all) => all.push(value),
                    other => *other = value,
                }
            } else {
                described.insert(name.to_owned(), value);
            }
        }
        Ok(assemble(entities, &idents, &system, references))
    }
}

/// Entities of Datahike's own schema have ids up to this one; today 54 of them.
pub(super) const LAST_SYSTEM_ENTITY: i64 = 255;

/// All attributes whose datoms may describe attributes, where attributes are keywords.
pub(super) fn describing() -> BTreeSet<Attribute<'static>> {
    SCHEMA_ATTRIBUTES.into_iter().chain(ENTITY_ATTRIBUTES).map(|name| Attribute::Keyword(name.into())).collect()
}

/// Whether an attribute describes attributes.
pub(super) fn is_schema(name: &str) -> bool {
    SCHEMA_ATTRIBUTES.contains(&name) || ENTITY_ATTRIBUTES.contains(&name)
}

/// What every database knows where attributes are keywords.
fn implicit() -> Vec<(&'static str, &'static str, Value<'static>)> {
    let many = || keyword("db.cardinality/many");
    vec![
        ("db/ident", "db/unique", keyword("db.unique/identity")),
        ("db/txInstant", "db/noHistory", Value::Boolean(true)),
        ("db.entity/attrs", "db/cardinality", many()),
        ("db.entity/preds", "db/cardinality", many()),
        ("db.attr/preds", "db/cardinality", many()),
        ("db.valid/from", "db/index", Value::Boolean(true)),
        ("db.valid/to", "db/index", Value::Boolean(true)),
        ("dh.ref/db", "db/index", Value::Boolean(true)),
        ("dh.ref/value", "db/index", Value::Boolean(true)),
    ]
}

fn assemble(
    entities: BTreeMap<i64, Described>,
    idents: &BTreeMap<i64, String>,
    system: &BTreeSet<i64>,
    references: bool,
) -> Schema {
    let mut by_ident: BTreeMap<String, Described> = BTreeMap::new();
    let mut nameless: BTreeMap<i64, Described> = BTreeMap::new();
    if !references {
        for (ident, property, value) in implicit() {
            by_ident.entry(ident.to_owned()).or_default().insert(property.to_owned(), value);
        }
    }
    for (e, mut described) in entities {
        match idents.get(&e) {
            None => {
                nameless.insert(e, described);
            }
            Some(ident) => {
                if system.contains(&e) {
                    described.remove("db/ident");
                    described.insert("db/id".to_owned(), Value::Long(e));
                }
                by_ident.insert(ident.clone(), described);
            }
        }
    }
    let turned = turn_around(&by_ident, &nameless);
    let typed = by_ident.values().any(|described| described.contains_key("db/valueType"));
    let mut by_name: HashMap<String, Properties> =
        by_ident.keys().map(|name| (name.clone(), Properties::default())).collect();
    for (property, names) in &turned.named {
        for name in names {
            let properties = by_name.entry(name.clone()).or_default();
            match property.as_str() {
                "db.cardinality/many" => properties.many = true,
                "db/noHistory" => properties.no_history = true,
                "db/index" => properties.indexed = true,
                _ => {}
            }
        }
    }
    let by_id = idents.iter().filter_map(|(id, name)| Some((*id, *by_name.get(name)?))).collect();
    let notes = match turned.secondary.len() as u64 {
        0 => BTreeMap::new(),
        count => {
            BTreeMap::from([("attributes of secondary indices, which Datahike must build again".to_owned(), count)])
        }
    };

    let entry = |(ident, described): (String, Described)| {
        let described = described.into_iter().map(|(name, value)| (Value::Keyword(name.into()), value)).collect();
        (Value::Keyword(ident.into()), Value::Map(described))
    };
    let mut schema: Vec<_> = by_ident.into_iter().map(entry).collect();
    schema.extend(nameless.into_iter().map(|(e, described)| {
        let described = described.into_iter().map(|(name, value)| (Value::Keyword(name.into()), value)).collect();
        (Value::Long(e), Value::Map(described))
    }));
    let ident = |name: &String| Value::Keyword(name.clone().into());
    let of_users = idents.iter().filter(|(e, _)| !system.contains(e));
    schema.extend(of_users.map(|(e, name)| (Value::Long(*e), ident(name))));
    let meta = Value::Map(vec![
        (keyword("schema"), Value::Map(schema)),
        (keyword("rschema"), turned.into_value()),
        (keyword("system-entities"), Value::Set(system.iter().map(|e| Value::Long(*e)).collect())),
        (keyword("ident-ref-map"), Value::Map(idents.iter().map(|(e, name)| (ident(name), Value::Long(*e))).collect())),
        (keyword("ref-ident-map"), Value::Map(idents.iter().map(|(e, name)| (Value::Long(*e), ident(name))).collect())),
    ]);
    Schema { meta, notes, references, typed, by_name, by_id }
}

/// Attributes by property.
#[derive(Default)]
struct Turned {
    named: BTreeMap<String, BTreeSet<String>>,
    nameless: BTreeMap<String, BTreeSet<i64>>,
    /// Attributes of composite tuples: the tuples each is part of, and where.
    tuples: BTreeMap<String, BTreeMap<String, i64>>,
    /// Attributes of secondary indices: the indices.
    secondary: BTreeMap<String, BTreeSet<String>>,
}

fn turn_around(by_ident: &BTreeMap<String, Described>, nameless: &BTreeMap<i64, Described>) -> Turned {
    let mut turned = Turned::default();
    for (ident, described) in by_ident {
        for property in properties(described) {
            turned.named.entry(property.to_owned()).or_default().insert(ident.clone());
        }
        for (at, attribute) in keywords(described.get("db/tupleAttrs")).into_iter().enumerate() {
            let at = i64::try_from(at).expect("a tuple has few attributes");
            turned.tuples.entry(attribute).or_default().insert(ident.clone(), at);
        }
        if described.contains_key("db.secondary/type") {
            for attribute in keywords(described.get("db.secondary/attrs")) {
                turned.secondary.entry(attribute).or_default().insert(ident.clone());
            }
        }
    }
    for (e, described) in nameless {
        for property in properties(described) {
            turned.nameless.entry(property.to_owned()).or_default().insert(*e);
        }
    }
    turned
}

/// The properties of an attribute by what is said about it.
fn properties(described: &Described) -> HashSet<&'static str> {
    let mut all = HashSet::from(["db/ident"]);
    for (name, value) in described {
        match value {
            Value::Keyword(value) => match value.as_ref() {
                "db.unique/identity" => all.extend(["db/unique", "db.unique/identity", "db/index"]),
                "db.unique/value" => all.extend(["db/unique", "db.unique/value", "db/index"]),
                "db.cardinality/many" => all.extend(["db.cardinality/many"]),
                "db.type/ref" => all.extend(["db.type/ref", "db/index"]),
                "db.type/tuple" => all.extend(["db.type/tuple"]),
                "db.type/valueType" | "db.type/cardinality" | "db.type/unique" => all.extend(["db/systemAttribRef"]),
                _ => {}
            },
            Value::Boolean(true) => match name.as_str() {
                "db/isComponent" => all.extend(["db/isComponent"]),
                "db/index" => all.extend(["db/index"]),
                "db/noHistory" => all.extend(["db/noHistory"]),
                _ => {}
            },
            _ => {}
        }
    }
    let limited = match described.get("db/valueType") {
        Some(Value::Keyword(name)) => LIMITED_TYPES.contains(&name.as_ref()),
        _ => false,
    };
    if limited || described.contains_key("db/maxLength") || described.contains_key("db.attr/preds") {
        all.insert("db.attr/constrained");
    }
    all
}

fn keywords(value: Option<&Value<'_>>) -> Vec<String> {
    let Some(Value::Tuple(all) | Value::List(all) | Value::Set(all)) = value else { return Vec::new() };
    let name = |value: &Value<'_>| match value {
        Value::Keyword(name) => Some(name.clone().into_owned()),
        _ => None,
    };
    all.iter().filter_map(name).collect()
}

impl Turned {
    fn into_value(self) -> Value<'static> {
        let ident = |name: String| Value::Keyword(name.into());
        let mut sets: BTreeMap<String, Vec<Value<'static>>> = BTreeMap::new();
        for (property, names) in self.named {
            sets.entry(property).or_default().extend(names.into_iter().map(ident));
        }
        for (property, ids) in self.nameless {
            sets.entry(property).or_default().extend(ids.into_iter().map(Value::Long));
        }
        let mut entries: Vec<_> = sets.into_iter().map(|(property, all)| (ident(property), Value::Set(all))).collect();
        let tuples = self.tuples.into_iter().map(|(attribute, tuples)| {
            let places = tuples.into_iter().map(|(tuple, at)| (ident(tuple), Value::Long(at))).collect();
            (ident(attribute), Value::Map(places))
        });
        entries.push((keyword("db/attrTuples"), Value::Map(tuples.collect())));
        let secondary = self
            .secondary
            .into_iter()
            .map(|(attribute, indices)| (ident(attribute), Value::Set(indices.into_iter().map(ident).collect())));
        entries.push((keyword("db.secondary/index"), Value::Map(secondary.collect())));
        Value::Map(entries)
    }
}

fn keyword(name: &'static str) -> Value<'static> {
    Value::Keyword(name.into())
}
