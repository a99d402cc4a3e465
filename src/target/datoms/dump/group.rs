//! Datoms alike in all but their value, in the order of the text Java prints for it.

use crate::record::datom::cbor::{self, Dialect};
use crate::record::datom::{Attribute, Datom, Value};

/// Groups larger than this stay in the order they came in: a bound on memory, far beyond what one transaction says
/// about one attribute of one entity.
const LIMIT_BYTES: usize = 64 << 20;

/// Records of one group.
#[derive(Default)]
pub(super) struct Group {
    key: Option<(i64, i64, bool, String)>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    order: Vec<usize>,
}

impl Group {
    /// Whether the datom belongs to the group.
    pub(super) fn continues(&self, datom: &Datom<'_>) -> bool {
        let same = |(t, e, added, attribute): &(i64, i64, bool, String)| {
            (*t, *e, *added) == (datom.t, datom.e, datom.added)
                && matches!(&datom.a, Attribute::Keyword(name) if name == attribute)
        };
        self.key.as_ref().is_some_and(same) && self.bytes.len() < LIMIT_BYTES
    }

    /// Starts a group; it must be empty.
    pub(super) fn begin(&mut self, datom: &Datom<'_>) {
        let Attribute::Keyword(name) = &datom.a else {
            self.key = None;
            return;
        };
        match &mut self.key {
            Some((t, e, added, attribute)) => {
                (*t, *e, *added) = (datom.t, datom.e, datom.added);
                attribute.clear();
                attribute.push_str(name);
            }
            None => self.key = Some((datom.t, datom.e, datom.added, name.clone().into_owned())),
        }
    }

    /// Adds a record.
    pub(super) fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.order.push(self.ends.len());
        self.ends.push(self.bytes.len());
    }

    /// Puts the records in Java's order.
    pub(super) fn sort(&mut self) {
        if self.ends.len() < 2 {
            return;
        }
        let texts: Vec<Vec<u16>> = (0..self.ends.len())
            .map(|i| match cbor::decode_datom(Dialect::Archival, self.record(i)) {
                Ok((datom, _)) => java_text(&datom.v).encode_utf16().collect(),
                Err(_) => Vec::new(),
            })
            .collect();
        let mut order = std::mem::take(&mut self.order);
        order.sort_by(|&a, &b| texts[a].cmp(&texts[b]).then_with(|| self.record(a).cmp(self.record(b))));
        self.order = order;
    }

    fn record(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    /// The records in order.
    pub(super) fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.order.iter().map(|&i| self.record(i))
    }

    /// Forgets the records, keeping the memory and what they had in common.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.order.clear();
    }
}

/// What `(str v)` gives for the values that attributes with several values commonly have; empty for the others, which
/// then stand in the order of their bytes.
fn java_text(value: &Value<'_>) -> String {
    match value {
        Value::Boolean(value) => value.to_string(),
        Value::Long(value) => value.to_string(),
        Value::BigInt(value) => value.to_string(),
        Value::Double(value) => java_float(&format!("{value:e}"), &format!("{value:.1e}")),
        Value::Float(value) => java_float(&format!("{value:e}"), &format!("{value:.1e}")),
        Value::String(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Keyword(name) => format!(":{name}"),
        Value::Symbol(name) => name.clone().into_owned(),
        Value::Uuid(bytes) => {
            let hex = crate::id::hex(bytes);
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
        }
        Value::Tuple(elements) => {
            let elements: Vec<_> = elements
                .iter()
                .map(|element| match element {
                    Value::String(text) => format!("{:?}", String::from_utf8_lossy(text)),
                    Value::Nil => "nil".to_owned(),
                    other => java_text(other),
                })
                .collect();
            format!("[{}]", elements.join(" "))
        }
        _ => String::new(),
    }
}

/// Java's notation of a number from its shortest digits; of one digit Java prints two, the nearest.
fn java_float(shortest: &str, two_digits: &str) -> String {
    let text = if shortest.contains('.') { shortest } else { two_digits };
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return match text {
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            _ => "NaN".to_owned(),
        };
    };
    let exponent: i32 = exponent.parse().expect("formatted by the standard library");
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = match digits.trim_end_matches('0') {
        "" => "0",
        significant => significant,
    };
    if !(-3..7).contains(&exponent) && significant != "0" {
        let (first, rest) = significant.split_at(1);
        return format!("{sign}{first}.{}E{exponent}", if rest.is_empty() { "0" } else { rest });
    }
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{significant}");
    }
    let whole = exponent.unsigned_abs() as usize + 1;
    let padded = format!("{significant:0<width$}", width = whole + 1);
    format!("{sign}{}.{}", &padded[..whole], &padded[whole..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_in_java() {
        for (number, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (100.5, "100.5"),
            (1e7, "1.0E7"),
            (123_456_789.0, "1.23456789E8"),
            (0.001, "0.001"),
            (0.000_12, "1.2E-4"),
            (4.9e-324, "4.9E-324"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(java_text(&Value::Double(number)), text);
        }
    }
}
