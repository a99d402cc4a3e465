//! Datoms out of values: `[e a v t op]` in the shapes that datom databases print.

use crate::record::datom::{Attribute, Datom, Value};

type Found<T> = Result<T, &'static str>;

const SHAPE: &str = "not a datom: [e a v t op], [e a v t], or a map of :e :a :v :tx :added";

/// The datom that a value is. `t` is of the transaction it stands in, for datoms that do not name theirs.
pub(super) fn datom(value: Value<'_>, t: Option<i64>) -> Found<Datom<'_>> {
    match value {
        Value::Tuple(parts) | Value::List(parts) => of_parts(parts, t),
        Value::Tagged(tag, inner) if is_datom_tag(&tag) => match *inner {
            Value::Tuple(parts) | Value::List(parts) => of_parts(parts, t),
            _ => Err(SHAPE),
        },
        Value::Map(entries) => of_entries(entries, t),
        _ => Err(SHAPE),
    }
}

/// Whether a tag is on datoms.
pub(super) fn is_datom_tag(tag: &str) -> bool {
    matches!(tag, "datascript/Datom" | "datahike/Datom" | "datahike.datom.Datom" | "datom" | "datomic/Datom")
}

/// The datom in `[e a v t op]`, `[e a v t]`, or `[e a v]` where `t` is known.
pub(super) fn of_parts(parts: Vec<Value<'_>>, t: Option<i64>) -> Found<Datom<'_>> {
    let mut parts = parts.into_iter();
    let e = entity(parts.next().ok_or(SHAPE)?)?;
    let a = attribute(parts.next().ok_or(SHAPE)?)?;
    let v = fact(parts.next().ok_or(SHAPE)?)?;
    let t = match parts.next() {
        Some(own) => transaction(own)?,
        None => t.ok_or(SHAPE)?,
    };
    let added = parts.next().map_or(Ok(true), added)?;
    if parts.next().is_some() {
        return Err(SHAPE);
    }
    Ok(Datom { e, a, v, t, added })
}

fn of_entries<'a>(entries: Vec<(Value<'a>, Value<'a>)>, transaction_t: Option<i64>) -> Found<Datom<'a>> {
    let (mut e, mut a, mut v, mut t, mut op) = (None, None, None, None, None);
    for (key, value) in entries {
        let name = match &key {
            Value::Keyword(name) => name.as_bytes(),
            Value::String(name) => name,
            _ => return Err(SHAPE),
        };
        match name {
            b"e" => e = Some(entity(value)?),
            b"a" => a = Some(attribute(value)?),
            b"v" => v = Some(fact(value)?),
            b"t" | b"tx" => t = Some(transaction(value)?),
            b"added" | b"op" => op = Some(added(value)?),
            _ => return Err(SHAPE),
        }
    }
    match (e, a, v, t.or(transaction_t)) {
        (Some(e), Some(a), Some(v), Some(t)) => Ok(Datom { e, a, v, t, added: op.unwrap_or(true) }),
        _ => Err(SHAPE),
    }
}

/// An entity id.
pub(super) fn entity(value: Value<'_>) -> Found<i64> {
    match value {
        Value::Long(id) => Ok(id),
        _ => Err("an entity id is a 64-bit integer"),
    }
}

/// An attribute: a keyword, a string or an entity id.
pub(super) fn attribute(value: Value<'_>) -> Found<Attribute<'_>> {
    match value {
        Value::Keyword(name) => Ok(Attribute::Keyword(name)),
        Value::Long(id) => Ok(Attribute::Id(id)),
        Value::String(text) => match String::from_utf8(text.into_owned()) {
            Ok(name) => Ok(Attribute::String(name.into())),
            Err(_) => Err("an attribute with a lone surrogate"),
        },
        _ => Err("an attribute is a keyword, an entity id or a string"),
    }
}

/// A value that a datom may have.
pub(super) fn fact(value: Value<'_>) -> Found<Value<'_>> {
    if matches!(value, Value::Nil) { Err("nil is not the value of a datom") } else { Ok(value) }
}

/// A transaction id.
pub(super) fn transaction(value: Value<'_>) -> Found<i64> {
    match value {
        Value::Long(id) => Ok(id),
        _ => Err("a transaction id is a 64-bit integer"),
    }
}

fn added(value: Value<'_>) -> Found<bool> {
    match value {
        Value::Boolean(added) => Ok(added),
        _ => Err("whether a datom was added is true or false"),
    }
}
