//! What stands at an address: the root, a node of the index, or anything else.

use crate::record::datom::{Value, edn, transit};

type Found<T> = Result<T, String>;

/// A text, and the addresses of children where they are kept beside it.
pub(super) struct Content {
    pub(super) text: Vec<u8>,
    pub(super) addresses: Option<Vec<i64>>,
}

/// How contents are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Edn,
    Transit,
}

/// The root of a database.
pub(super) struct Root {
    pub(super) eavt: Option<i64>,
    pub(super) max_tx: Option<i64>,
    pub(super) schema: Option<Value<'static>>,
}

/// A node of an index.
pub(super) enum Node<'a> {
    Leaf(Vec<Value<'a>>),
    Branch(Vec<i64>),
}

impl Content {
    /// The value that the text is.
    pub(super) fn value(&self, syntax: Syntax) -> Found<Value<'_>> {
        match syntax {
            Syntax::Transit => transit::Reader::new().value(&self.text).map_err(|why| format!("not Transit: {why}")),
            Syntax::Edn => edn::parse_value(&self.text).map_err(|why| format!("not EDN: {why}")),
        }
    }

    /// How a root is written, and with it all else: its keys are keywords, which JSON has to quote.
    pub(super) fn syntax(&self) -> Syntax {
        match self.text.trim_ascii_start() {
            [b'{' | b'[', rest @ ..] if rest.trim_ascii_start().starts_with(b"\"") => Syntax::Transit,
            _ => Syntax::Edn,
        }
    }

    pub(super) fn root(&self) -> Found<Root> {
        let Value::Map(entries) = self.value(self.syntax())? else {
            return Err("no root of a DataScript database".to_owned());
        };
        let mut root = Root { eavt: None, max_tx: None, schema: None };
        let mut has_index = false;
        for (key, value) in entries {
            match (name(&key), value) {
                ("eavt", value) => {
                    has_index = true;
                    root.eavt = match value {
                        Value::Long(address) => Some(address),
                        Value::Nil => None,
                        _ => return Err("a root whose :eavt is no address".to_owned()),
                    };
                }
                ("max-tx", Value::Long(max_tx)) => root.max_tx = Some(max_tx),
                ("schema", schema) => root.schema = Some(schema.into_owned()),
                _ => {}
            }
        }
        if has_index { Ok(root) } else { Err("no root of a DataScript database: it has no :eavt".to_owned()) }
    }

    pub(super) fn node(&self, syntax: Syntax) -> Found<Node<'_>> {
        let Value::Map(entries) = self.value(syntax)? else { return Err("no node of an index".to_owned()) };
        let (mut keys, mut addresses) = (None, self.addresses.clone());
        for (key, value) in entries {
            match (name(&key), value) {
                ("keys", Value::Tuple(values) | Value::List(values)) => keys = Some(values),
                ("addresses", Value::Tuple(values) | Value::List(values)) if addresses.is_none() => {
                    let all = values.iter().map(|value| if let Value::Long(n) = value { Some(*n) } else { None });
                    addresses = Some(all.collect::<Option<Vec<_>>>().ok_or("an address that is no integer")?);
                }
                _ => {}
            }
        }
        match (addresses, keys) {
            (Some(addresses), Some(keys)) if addresses.len() != keys.len() => {
                Err(format!("{} addresses for {} keys", addresses.len(), keys.len()))
            }
            (Some(addresses), Some(_)) => Ok(Node::Branch(addresses)),
            (None, Some(keys)) => Ok(Node::Leaf(keys)),
            (_, None) => Err("a node without keys".to_owned()),
        }
    }
}

fn name<'v>(key: &'v Value<'_>) -> &'v str {
    match key {
        Value::Keyword(name) => name,
        Value::String(name) => std::str::from_utf8(name).unwrap_or_default(),
        _ => "",
    }
}
