//! Datalevin's text dump (`dtlv -g dump`): a map of options, a map of the schema, then `[e a v]` one after the other.
//!
//! Datalevin keeps no transactions, so a dump is one state without a time of its own: all its datoms have t 1, and a
//! backup gives what differs from the last one the next t.

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::edn::number::{parse_big, parse_double, print_float};
use crate::record::datom::json::base64;
use crate::record::datom::{Attribute, Datom, Value, edn};
use crate::source::datoms::facts;
use crate::source::datoms::forms::{Forms, Syntax};
use crate::source::datoms::input::Input;
use crate::source::datoms::tally::Tally;
use crate::source::datoms::{DatomSource, Format, OnError, Options, Reading, View};

use std::collections::HashMap;

/// The t of all datoms.
const T: i64 = 1;
/// Words in the names of options whose values are nobody's business.
const SECRET: [&str; 4] = ["password", "secret", "token", "credential"];

/// A source that reads a stream.
pub(super) fn open(input: Input, options: &Options) -> Box<dyn DatomSource> {
    Box::new(Datalevin { forms: Forms::new(input, Syntax::Edn), on_error: options.on_error })
}

struct Datalevin {
    forms: Forms,
    on_error: OnError,
}

impl Datalevin {
    /// The map that comes next.
    fn map(&mut self, what: &str) -> Result<Vec<(Value<'static>, Value<'static>)>> {
        let read = edn::parse_value(self.forms.form()?).map(Value::into_owned);
        match read.map_err(|why| self.forms.unreadable(why))? {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.forms.refuse(format!("no map of {what}: not a dump of Datalevin"))),
        }
    }

    fn datom(&mut self, floats: &Floats) -> std::result::Result<Datom<'static>, (String, String)> {
        let form = match self.forms.form() {
            Ok(form) => form,
            Err(error) => return Err((error.object().to_owned(), error.message().to_owned())),
        };
        let parts = edn::parse_elements(form).map(|parts| parts.into_iter().map(Value::into_owned).collect::<Vec<_>>());
        let parts = parts.map_err(|why| why.to_string());
        parts.and_then(|parts| fact(parts, floats)).map_err(|why| (self.forms.place(), why))
    }
}

fn fact(parts: Vec<Value<'static>>, floats: &Floats) -> std::result::Result<Datom<'static>, String> {
    const SHAPE: &str = "not a datom of Datalevin, [e a v] (its printer splits keywords with blanks in their names)";
    let Ok([e, a, v]) = <[Value<'static>; 3]>::try_from(parts) else { return Err(SHAPE.to_owned()) };
    let (e, a) = (facts::entity(e)?, facts::attribute(a)?);
    let v = floats.value(&a, facts::fact(untagged(v)?)?);
    Ok(Datom { e, a, v, t: T, added: true })
}

/// A value without Datalevin's own tags.
fn untagged(value: Value<'static>) -> std::result::Result<Value<'static>, String> {
    let all =
        |values: Vec<Value<'static>>| values.into_iter().map(untagged).collect::<std::result::Result<Vec<_>, _>>();
    Ok(match value {
        Value::Tagged(tag, inner) => match (tag.as_ref(), *inner) {
            ("datalevin/bytes", Value::String(text)) => {
                Value::Bytes(base64::decode(&text).ok_or("#datalevin/bytes that is not Base64")?.into())
            }
            ("datalevin/regex", Value::String(text)) => Value::Regex(text),
            ("datalevin/bigint", Value::String(text)) => {
                let digits = std::str::from_utf8(&text).unwrap_or_default();
                Value::BigInt(parse_big(digits).map_err(|why| format!("#datalevin/bigint: {why}"))?)
            }
            (_, inner) => Value::Tagged(tag, Box::new(untagged(inner)?)),
        },
        Value::Tuple(values) => Value::Tuple(all(values)?),
        Value::List(values) => Value::List(all(values)?),
        Value::Set(values) => Value::Set(all(values)?),
        Value::Map(entries) => {
            let entry = |(key, value)| Ok::<_, String>((untagged(key)?, untagged(value)?));
            Value::Map(entries.into_iter().map(entry).collect::<std::result::Result<_, _>>()?)
        }
        value => value,
    })
}

/// Where the schema says that what is printed like a double is a float.
#[derive(Default)]
struct Floats(HashMap<String, Kind>);

enum Kind {
    Float,
    /// Of the elements of a tuple; one for all of them if there is only one.
    Tuple(Vec<bool>),
}

impl Floats {
    fn learn(&mut self, schema: &[(Value<'static>, Value<'static>)]) {
        for (attribute, entries) in schema {
            let (Value::Keyword(name), Value::Map(entries)) = (attribute, entries) else { continue };
            let find = |wanted: &str| {
                entries
                    .iter()
                    .find(|(key, _)| matches!(key, Value::Keyword(key) if key == wanted))
                    .map(|(_, value)| value)
            };
            let is_float = |kind: &Value<'_>| matches!(kind, Value::Keyword(kind) if kind == "db.type/float");
            let kind = match (find("db/valueType"), find("db/tupleTypes"), find("db/tupleType")) {
                (Some(kind), ..) if is_float(kind) => Kind::Float,
                (_, Some(Value::Tuple(kinds)), _) => Kind::Tuple(kinds.iter().map(is_float).collect()),
                (_, _, Some(kind)) => Kind::Tuple(vec![is_float(kind)]),
                _ => continue,
            };
            self.0.insert(name.clone().into_owned(), kind);
        }
    }

    fn value(&self, attribute: &Attribute<'_>, value: Value<'static>) -> Value<'static> {
        let Attribute::Keyword(name) = attribute else { return value };
        match (self.0.get(name.as_ref()), value) {
            (Some(Kind::Float), value) => narrow(value),
            (Some(Kind::Tuple(kinds)), Value::Tuple(values)) => {
                let is_float = |at: usize| match kinds.as_slice() {
                    [all] => *all,
                    each => each.get(at).copied().unwrap_or(false),
                };
                let values = values.into_iter().enumerate();
                Value::Tuple(values.map(|(at, value)| if is_float(at) { narrow(value) } else { value }).collect())
            }
            (_, value) => value,
        }
    }
}

/// A double as the float that prints like it; others stay.
fn narrow(value: Value<'static>) -> Value<'static> {
    let Value::Double(double) = value else { return value };
    let float = double as f32;
    let mut text = Vec::new();
    if float.is_finite() {
        print_float(float, &mut text);
    }
    let printed = std::str::from_utf8(&text).ok().and_then(|text| parse_double(text).ok());
    let is_same = printed == Some(double) || f64::from(float) == double || double.is_nan();
    if is_same { Value::Float(float) } else { Value::Double(double) }
}

/// The options, without what may be secret.
fn redacted(value: Value<'static>) -> Value<'static> {
    let Value::Map(entries) = value else { return value };
    let entries = entries.into_iter().map(|(key, value)| {
        let name = match &key {
            Value::Keyword(name) => name.to_lowercase(),
            Value::String(text) => String::from_utf8_lossy(text).to_lowercase(),
            _ => String::new(),
        };
        let is_secret = SECRET.iter().any(|word| name.contains(word));
        let value = if is_secret { Value::String(b"***".as_slice().into()) } else { redacted(value) };
        (key, value)
    });
    Value::Map(entries.collect())
}

fn text(value: &Value<'_>) -> String {
    let mut text = Vec::new();
    edn::print_value(value, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

impl DatomSource for Datalevin {
    fn read(&mut self, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<Reading> {
        let mut tally = Tally::new(Format::Datalevin);
        let first = self.map("options or of a schema")?;
        let has = |wanted: &str| first.iter().any(|(key, _)| matches!(key, Value::Keyword(key) if key == wanted));
        if has("dbi") && has("entries") {
            let message =
                "a dump of Datalevin's raw keys and values; dump the datoms with `dtlv -d DIR -g -f FILE dump`";
            return Err(Error::new(ErrorKind::Data, self.forms.name(), message));
        }
        // Older dumps have no options. Every schema has :db/ident.
        let schema = if has("db/ident") {
            first
        } else {
            tally.reading.properties.insert("config".to_owned(), text(&redacted(Value::Map(first))));
            self.map("a schema")?
        };
        let mut floats = Floats::default();
        floats.learn(&schema);
        tally.reading.properties.insert("schema".to_owned(), text(&Value::Map(schema)));
        tally.reading.view = View::Current;
        tally.reading.timeless = true;
        while self.forms.peek()?.is_some() {
            match self.datom(&floats) {
                Ok(datom) => {
                    tally.count(&datom);
                    sink(&datom)?;
                }
                Err((place, why)) if self.on_error == OnError::Collect && !why.contains("cut short") => {
                    tally.problem(place, why);
                }
                Err((place, why)) => return Err(Error::new(ErrorKind::Data, place, why)),
            }
        }
        tally.reading.bytes = self.forms.stored_bytes();
        Ok(tally.finish())
    }
}
