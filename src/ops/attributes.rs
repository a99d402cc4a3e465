//! Which attributes are wanted: exact ones, or all of a namespace.

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{self, Attribute, Datom, Summary, Value};

/// A choice of attributes; an empty one is all of them.
#[derive(Clone, Debug, Default)]
pub struct AttributeFilter {
    /// Canonical bytes of whole attributes.
    exact: Vec<Vec<u8>>,
    /// Canonical bytes that the attributes of a namespace begin with.
    prefixes: Vec<Vec<u8>>,
}

impl AttributeFilter {
    /// From `:ns/name`, `ns/name`, `:ns/*`, `*` or an attribute's entity id.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self> {
        let mut filter = Self::default();
        for pattern in patterns {
            let text = pattern.as_ref();
            let name = text.strip_prefix(':').unwrap_or(text);
            if name.is_empty() {
                return Err(Error::new(ErrorKind::Usage, text, "not an attribute"));
            }
            match (name.strip_suffix('*'), text.parse()) {
                (Some(start), _) if !start.contains('*') => {
                    for attribute in [Attribute::Keyword(start.into()), Attribute::String(start.into())] {
                        let mut bytes = canonical(attribute)?;
                        // Without the terminator they are what longer names begin with.
                        bytes.pop();
                        filter.prefixes.push(bytes);
                    }
                }
                (Some(_), _) => return Err(Error::new(ErrorKind::Usage, text, "a * may only stand at the end")),
                (None, Ok(id)) => filter.exact.push(canonical(Attribute::Id(id))?),
                (None, Err(_)) => {
                    filter.exact.push(canonical(Attribute::Keyword(name.into()))?);
                    filter.exact.push(canonical(Attribute::String(text.into()))?);
                }
            }
        }
        Ok(filter)
    }

    /// Whether an attribute, by its canonical bytes, is wanted.
    pub(super) fn contains(&self, attribute: &[u8]) -> bool {
        self.is_all()
            || self.exact.iter().any(|exact| exact == attribute)
            || self.prefixes.iter().any(|prefix| attribute.starts_with(prefix))
    }

    /// Whether a subtree may hold datoms of wanted attributes.
    pub(super) fn may_be_in(&self, summary: &Summary) -> bool {
        self.exact.is_empty()
            || !self.prefixes.is_empty()
            || self.exact.iter().any(|attribute| summary.may_contain_attribute(attribute))
    }

    fn is_all(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }
}

/// An attribute's canonical bytes, as they stand in keys.
pub(super) fn canonical(a: Attribute<'_>) -> Result<Vec<u8>> {
    let mut key = Vec::new();
    let datom = Datom { e: 0, a, v: Value::Boolean(true), t: 0, added: true };
    datom::encode_key(&datom, &mut key).map_err(|e| Error::new(ErrorKind::Usage, "attribute", e))?;
    let parts = datom::split_key(&key).map_err(|e| Error::new(ErrorKind::Failed, "attribute", e))?;
    Ok(parts.a.to_vec())
}
