//! What a format lost about the types of values, put back with the help of the schema that is among the datoms.
//!
//! Two passes: [`Schema::learn`] sees every datom first, then [`Schema::correct`] hands out typed ones.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use num_bigint::BigInt;

use crate::record::datom::cbor::HALF;
use crate::record::datom::{Attribute, Datom, Value};

/// Entities of Datahike's own schema in databases with attribute references, which have the same ids everywhere; flat
/// exports leave their datoms out.
pub const SYSTEM: [&str; 38] = [
    "db/ident",
    "db/valueType",
    "db/cardinality",
    "db/doc",
    "db/index",
    "db/unique",
    "db/noHistory",
    "db.install/attribute",
    "db/txInstant",
    "db.cardinality/many",
    "db.cardinality/one",
    "db.part/sys",
    "db.part/tx",
    "db.part/user",
    "db.type/bigdec",
    "db.type/bigint",
    "db.type/boolean",
    "db.type/double",
    "db.type/cardinality",
    "db.type/float",
    "db.type/number",
    "db.type/instant",
    "db.type/keyword",
    "db.type/long",
    "db.type/ref",
    "db.type/string",
    "db.type/symbol",
    "db.type/unique",
    "db.type/uuid",
    "db.type/valueType",
    "db.type.install/attribute",
    "db.unique/identity",
    "db.unique/value",
    "db/isComponent",
    "db/tupleType",
    "db/tupleTypes",
    "db/tupleAttrs",
    "db.type/tuple",
];

/// The ident of an entity of Datahike's own schema.
pub fn system_ident(id: i64) -> Option<&'static str> {
    let index = usize::try_from(id.checked_sub(1)?).ok()?;
    SYSTEM.get(index).copied()
}

/// What dumps say of a database with attribute references, for formats that say nothing.
pub fn describe_references(history: bool, properties: &mut BTreeMap<String, String>) {
    let idents: Vec<_> = SYSTEM.iter().zip(1..).map(|(ident, id)| format!("{id} :{ident}")).collect();
    properties.insert("system-idents".to_owned(), format!("{{{}}}", idents.join(", ")));
    let config = format!("{{:attribute-refs? true, :keep-history? {history}, :schema-flexibility :write}}");
    properties.insert("source-config".to_owned(), config);
}

/// The types that matter for corrections.
#[derive(Clone, Debug, PartialEq)]
enum Type {
    Double,
    Float,
    BigInt,
    String,
    /// With the types of the elements, where the schema states them.
    Tuple(Vec<Type>),
    /// Every element has this type.
    TupleOf(Box<Type>),
    /// Tuple of the values of other attributes.
    Composite(Vec<Key>),
    Other,
}

/// An attribute without its lifetime.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Name(String),
    Id(i64),
}

/// What the datoms say about attributes.
#[derive(Debug, Default)]
pub struct Schema {
    /// All idents an entity ever had.
    idents: HashMap<i64, Vec<String>>,
    /// The newest assertion of each schema attribute that matters, by entity.
    facts: HashMap<(i64, &'static str), (i64, Value<'static>)>,
    names: HashMap<String, Type>,
    ids: HashMap<i64, Type>,
    has_references: bool,
}

/// How often what was corrected or could not be.
#[derive(Clone, Debug, Default)]
pub struct Notes([u64; NOTES.len()]);

const NOTES: [&str; 11] = [
    "half floats read as doubles, by schema",
    "half floats read as floats, by schema",
    "half floats read as doubles, without a schema that says so",
    "zeros whose sign the format does not keep",
    "integers read as big integers, by schema",
    "integers read as doubles, by schema",
    "integers read as floats, by schema",
    "floats read as doubles, by schema",
    "doubles read as floats, by schema",
    "lists read as tuples",
    "one-character strings that may have been characters",
];

#[derive(Clone, Copy)]
enum Note {
    HalfDouble,
    HalfFloat,
    HalfUnknown,
    ZeroSign,
    BigInt,
    LongDouble,
    LongFloat,
    FloatDouble,
    DoubleFloat,
    ListTuple,
    Char,
}

impl Notes {
    fn count(&mut self, note: Note) {
        self.0[note as usize] += 1;
    }

    /// Adds what was counted to the notes of a reading.
    pub fn add_to(&self, notes: &mut BTreeMap<String, u64>) {
        for (name, count) in NOTES.iter().zip(self.0).filter(|(_, count)| *count > 0) {
            *notes.entry((*name).to_owned()).or_default() += count;
        }
    }
}

impl Schema {
    /// Takes note of a datom if it is about an attribute's type.
    pub fn learn(&mut self, datom: &Datom<'_>) {
        let attribute = match &datom.a {
            Attribute::Keyword(name) => name.as_ref(),
            Attribute::Id(id) => {
                self.has_references = true;
                match system_ident(*id) {
                    Some(name) => name,
                    None => return,
                }
            }
            Attribute::String(_) => return,
        };
        if !attribute.starts_with("db/") || !datom.added {
            return;
        }
        let fact = match attribute {
            "db/ident" => {
                if let Value::Keyword(name) = &datom.v {
                    self.idents.entry(datom.e).or_default().push(name.clone().into_owned());
                }
                return;
            }
            "db/valueType" => "valueType",
            "db/tupleType" => "tupleType",
            "db/tupleTypes" => "tupleTypes",
            "db/tupleAttrs" => "tupleAttrs",
            _ => return,
        };
        let known = self.facts.get(&(datom.e, fact));
        if known.is_none_or(|(t, _)| *t <= datom.t) {
            self.facts.insert((datom.e, fact), (datom.t, owned(&datom.v)));
        }
    }

    /// Puts together what was learnt; call it between the two passes.
    pub fn settle(&mut self) {
        let entities: Vec<i64> =
            self.facts.keys().filter(|(_, fact)| *fact == "valueType").map(|(entity, _)| *entity).collect();
        for entity in entities {
            let kind = self.type_of(entity);
            for name in self.idents.get(&entity).into_iter().flatten() {
                self.names.insert(name.clone(), kind.clone());
            }
            self.ids.insert(entity, kind);
        }
    }

    /// Whether attributes are given by their ids.
    pub fn has_references(&self) -> bool {
        self.has_references
    }

    fn fact(&self, entity: i64, fact: &'static str) -> Option<&Value<'static>> {
        self.facts.get(&(entity, fact)).map(|(_, value)| value)
    }

    fn type_of(&self, entity: i64) -> Type {
        let kind = self.fact(entity, "valueType").map_or(Type::Other, |value| self.named(value));
        if kind != Type::Tuple(Vec::new()) {
            return kind;
        }
        if let Some(element) = self.fact(entity, "tupleType") {
            return Type::TupleOf(Box::new(self.named(element)));
        }
        if let Some(Value::Tuple(types) | Value::List(types)) = self.fact(entity, "tupleTypes") {
            return Type::Tuple(types.iter().map(|kind| self.named(kind)).collect());
        }
        if let Some(Value::Tuple(attributes) | Value::List(attributes)) = self.fact(entity, "tupleAttrs") {
            let keys = attributes.iter().map(|attribute| match attribute {
                Value::Keyword(name) => Key::Name(name.clone().into_owned()),
                Value::Long(id) => Key::Id(*id),
                _ => Key::Id(0),
            });
            return Type::Composite(keys.collect());
        }
        kind
    }

    /// A type by its keyword or, in databases with attribute references, by its entity.
    fn named(&self, value: &Value<'_>) -> Type {
        let name = match value {
            Value::Keyword(name) => Some(name.as_ref()),
            Value::Long(id) => system_ident(*id).or_else(|| Some(self.idents.get(id)?.last()?.as_str())),
            _ => None,
        };
        match name {
            Some("db.type/double") => Type::Double,
            Some("db.type/float") => Type::Float,
            Some("db.type/bigint") => Type::BigInt,
            Some("db.type/string") => Type::String,
            Some("db.type/tuple") => Type::Tuple(Vec::new()),
            _ => Type::Other,
        }
    }

    fn find(&self, attribute: &Attribute<'_>) -> Option<&Type> {
        match attribute {
            Attribute::Keyword(name) => self.names.get(name.as_ref()),
            Attribute::Id(id) => self.ids.get(id),
            Attribute::String(_) => None,
        }
    }

    /// The datom with the types its schema gives it.
    pub fn correct<'a>(&self, mut datom: Datom<'a>, notes: &mut Notes) -> Datom<'a> {
        // Most values are of types that cannot have changed: those need no look at the schema.
        if let Value::Keyword(_) | Value::Instant(_) | Value::Boolean(_) | Value::Uuid(_) = datom.v {
            return datom;
        }
        if let Value::String(text) = &datom.v
            && text.len() > 4
        {
            return datom;
        }
        let kind = self.find(&datom.a);
        datom.v = self.value(datom.v, kind, notes);
        datom
    }

    fn value<'a>(&self, value: Value<'a>, kind: Option<&Type>, notes: &mut Notes) -> Value<'a> {
        match (value, kind) {
            (Value::Tagged(tag, inner), kind) if tag == HALF => self.half(*inner, kind, notes),
            (Value::Long(long), Some(Type::BigInt)) => {
                notes.count(Note::BigInt);
                Value::BigInt(BigInt::from(long))
            }
            (Value::Long(long), Some(Type::Double)) if (long as f64) as i128 == i128::from(long) => {
                notes.count(Note::LongDouble);
                Value::Double(long as f64)
            }
            (Value::Long(long), Some(Type::Float)) if (long as f32) as i128 == i128::from(long) => {
                notes.count(Note::LongFloat);
                Value::Float(long as f32)
            }
            (Value::Float(float), Some(Type::Double)) => {
                notes.count(Note::FloatDouble);
                Value::Double(f64::from(float))
            }
            (Value::Double(double), Some(Type::Float)) if f64::from(double as f32) == double => {
                notes.count(Note::DoubleFloat);
                Value::Float(double as f32)
            }
            (Value::List(elements), kind) => {
                notes.count(Note::ListTuple);
                self.tuple(elements, kind, notes)
            }
            (Value::Tuple(elements), kind) => self.tuple(elements, kind, notes),
            (Value::String(text), None | Some(Type::Other)) => {
                // A surrogate takes three bytes as well.
                if std::str::from_utf8(&text).is_ok_and(|text| text.encode_utf16().count() == 1) && kind.is_some() {
                    notes.count(Note::Char);
                }
                Value::String(text)
            }
            (value, _) => value,
        }
    }

    fn half<'a>(&self, value: Value<'a>, kind: Option<&Type>, notes: &mut Notes) -> Value<'a> {
        let Value::Double(double) = value else { return value };
        if double == 0.0 {
            notes.count(Note::ZeroSign);
        }
        match kind {
            Some(Type::Float) => {
                notes.count(Note::HalfFloat);
                Value::Float(double as f32)
            }
            Some(Type::Double) => {
                notes.count(Note::HalfDouble);
                Value::Double(double)
            }
            _ => {
                notes.count(Note::HalfUnknown);
                Value::Double(double)
            }
        }
    }

    fn tuple<'a>(&self, elements: Vec<Value<'a>>, kind: Option<&Type>, notes: &mut Notes) -> Value<'a> {
        let element_kind = |i: usize| match kind {
            Some(Type::Tuple(kinds)) => kinds.get(i),
            Some(Type::TupleOf(kind)) => Some(kind.as_ref()),
            Some(Type::Composite(keys)) => match keys.get(i)? {
                Key::Name(name) => self.names.get(name),
                Key::Id(id) => self.ids.get(id),
            },
            _ => None,
        };
        Value::Tuple(elements.into_iter().enumerate().map(|(i, v)| self.value(v, element_kind(i), notes)).collect())
    }
}

/// A schema value that outlives the buffer; of what else may stand there only the fact that it does matters.
fn owned(value: &Value<'_>) -> Value<'static> {
    match value {
        Value::Keyword(name) => Value::Keyword(Cow::Owned(name.clone().into_owned())),
        Value::Long(long) => Value::Long(*long),
        Value::Tuple(elements) | Value::List(elements) => Value::Tuple(
            elements
                .iter()
                .map(|element| match element {
                    Value::Keyword(name) => Value::Keyword(Cow::Owned(name.clone().into_owned())),
                    Value::Long(long) => Value::Long(*long),
                    _ => Value::Nil,
                })
                .collect(),
        ),
        _ => Value::Nil,
    }
}
