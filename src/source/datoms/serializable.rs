//! DataScript's serializable form: one JSON object of lists, as `(d/serializable db)` gives it.
//!
//! Attributes and keywords are numbered in lists of their own, which come before the datoms as DataScript writes them, but
//! need not after other hands: then the text is read twice.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Attribute, Datom, Value, edn, json};
use crate::source::datoms::facts;
use crate::source::datoms::forms::{Forms, Syntax};
use crate::source::datoms::input::Input;
use crate::source::datoms::replay::Replay;
use crate::source::datoms::tally::Tally;
use crate::source::datoms::{DatomSource, Format, OnError, Options, Reading, View};

type Found<T> = std::result::Result<T, String>;

/// The keys, of which the first tells this format from other JSON.
pub(super) const KEYS: [&str; 12] = [
    "count",
    "tx0",
    "max-eid",
    "max-tx",
    "schema",
    "attrs",
    "keywords",
    "eavt",
    "aevt",
    "avet",
    "branching-factor",
    "ref-type",
];

/// A source that reads a stream; `path` is where it came from, if that can be opened again.
pub(super) fn open(input: Input, path: Option<PathBuf>, options: &Options) -> Result<Box<dyn DatomSource>> {
    Ok(Box::new(Serializable { replay: Replay::new(input, path)?, on_error: options.on_error }))
}

struct Serializable {
    replay: Replay,
    on_error: OnError,
}

/// What stands beside the datoms.
#[derive(Default)]
struct Header {
    tx0: Option<i64>,
    count: Option<i64>,
    attributes: Option<Vec<Attribute<'static>>>,
    keywords: Option<Vec<String>>,
    properties: Vec<(&'static str, String)>,
}

/// Takes a datom.
type Sink<'s> = dyn FnMut(&Datom<'_>) -> Result<()> + 's;

impl Header {
    fn is_enough(&self) -> bool {
        self.tx0.is_some() && self.attributes.is_some() && self.keywords.is_some()
    }

    /// `[e attribute v t - tx0]`.
    fn datom(&self, value: Value<'static>) -> Found<Datom<'static>> {
        const SHAPE: &str = "not a datom: [e, attribute, v, t]";
        let Value::Tuple(parts) = value else { return Err(SHAPE.to_owned()) };
        let Ok([e, a, v, t]) = <[Value<'static>; 4]>::try_from(parts) else { return Err(SHAPE.to_owned()) };
        let (e, Value::Long(a), t) = (facts::entity(e)?, a, facts::transaction(t)?) else {
            return Err("an attribute is its number in the list of attributes".to_owned());
        };
        let listed = usize::try_from(a).ok().and_then(|a| self.attributes.as_ref()?.get(a));
        let Some(a) = listed.cloned() else { return Err(format!("attribute {a}, which is not in the list")) };
        let v = facts::fact(self.value(v)?)?;
        let t = self.tx0.unwrap_or(0).checked_add(t).ok_or("a transaction id beyond 64 bits")?;
        Ok(Datom { e, a, v, t, added: true })
    }

    fn value(&self, value: Value<'static>) -> Found<Value<'static>> {
        let Value::Tuple(marked) = value else {
            return match value {
                Value::String(_) | Value::Long(_) | Value::Double(_) | Value::Boolean(_) => Ok(value),
                _ => Err("a value that is no string, number, boolean or marker".to_owned()),
            };
        };
        match marked.as_slice() {
            [Value::Long(0), Value::Long(keyword)] => {
                let listed = usize::try_from(*keyword).ok().and_then(|at| self.keywords.as_ref()?.get(at));
                match listed.map(|name| name.strip_prefix(':').ok_or(name)) {
                    Some(Ok(name)) => Ok(Value::Keyword(name.to_owned().into())),
                    Some(Err(name)) => Ok(Value::String(name.clone().into_bytes().into())),
                    None => Err(format!("keyword {keyword}, which is not in the list")),
                }
            }
            [Value::Long(1), Value::String(text)] => match edn::parse_value(text) {
                Ok(value) => Ok(value.into_owned()),
                Err(why) => Err(format!("a value that is no EDN: {why}")),
            },
            [Value::Long(2)] => Ok(Value::Double(f64::INFINITY)),
            [Value::Long(3)] => Ok(Value::Double(f64::NEG_INFINITY)),
            [Value::Long(4)] => Ok(Value::Double(f64::NAN)),
            _ => Err("a marker that is not known".to_owned()),
        }
    }
}

/// The names in a list, keywords with their colons.
fn names(value: Value<'static>) -> Option<Vec<String>> {
    let Value::Tuple(names) = value else { return None };
    let name = |name| match name {
        Value::String(text) => String::from_utf8(text.into_owned()).ok(),
        _ => None,
    };
    names.into_iter().map(name).collect()
}

fn attribute(name: String) -> Attribute<'static> {
    match name.strip_prefix(':') {
        Some(keyword) => Attribute::Keyword(keyword.to_owned().into()),
        None => Attribute::String(name.into()),
    }
}

/// The whole value that comes next.
fn value(forms: &mut Forms) -> Result<Value<'static>> {
    let read = json::parse_value(forms.form()?).map(Value::into_owned);
    read.map_err(|why| forms.unreadable(why))
}

impl Serializable {
    /// One pass; the header is filled, the datoms are handed out as soon as it suffices. Returns whether they were.
    fn pass(
        &self,
        forms: &mut Forms,
        header: &mut Header,
        tally: &mut Tally,
        sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>,
    ) -> Result<bool> {
        let mut handed_out = false;
        let mut has_datoms = false;
        forms.expect(b'{', "a serialized DataScript database is a JSON object")?;
        while forms.peek()? != Some(b'}') {
            let Value::String(key) = value(forms)? else { return Err(forms.refuse("a key is a string")) };
            match key.as_ref() {
                b"eavt" => {
                    has_datoms = true;
                    handed_out = header.is_enough();
                    self.datoms(forms, header, tally, if handed_out { Some(&mut *sink) } else { None })?;
                }
                b"aevt" | b"avet" => {
                    forms.form()?;
                }
                key => header.entry(key, forms, tally)?,
            }
        }
        forms.expect(b'}', "a closing brace is expected here")?;
        if forms.peek()?.is_some() {
            return Err(forms.refuse("text after the database"));
        }
        if !has_datoms || !header.is_enough() {
            return Err(forms.refuse("no serialized DataScript database: eavt, attrs, keywords or tx0 are missing"));
        }
        Ok(handed_out)
    }

    fn datoms(
        &self,
        forms: &mut Forms,
        header: &Header,
        tally: &mut Tally,
        mut sink: Option<&mut Sink<'_>>,
    ) -> Result<()> {
        forms.expect(b'[', "a list of datoms is expected here")?;
        while forms.peek()? != Some(b']') {
            let Some(sink) = &mut sink else {
                forms.form()?;
                continue;
            };
            match header.datom(value(forms)?) {
                Ok(datom) => {
                    tally.count(&datom);
                    sink(&datom)?;
                }
                Err(why) if self.on_error == OnError::Collect => tally.problem(forms.place(), why),
                Err(why) => return Err(forms.refuse(why)),
            }
        }
        forms.expect(b']', "a closing bracket is expected here")
    }
}

impl Header {
    fn entry(&mut self, key: &[u8], forms: &mut Forms, tally: &mut Tally) -> Result<()> {
        let value = value(forms)?;
        let number = if let Value::Long(number) = &value { Some(*number) } else { None };
        let wrong =
            |forms: &Forms| forms.refuse(format!("`{}` is not what it should be", String::from_utf8_lossy(key)));
        match key {
            b"tx0" => self.tx0 = Some(number.ok_or_else(|| wrong(forms))?),
            b"count" => self.count = Some(number.ok_or_else(|| wrong(forms))?),
            b"max-eid" => self.properties.push(("max-eid", number.ok_or_else(|| wrong(forms))?.to_string())),
            b"max-tx" => self.properties.push(("max-t", number.ok_or_else(|| wrong(forms))?.to_string())),
            b"schema" => {
                let Value::String(text) = value else { return Err(wrong(forms)) };
                let text = String::from_utf8_lossy(&text).into_owned();
                if text != "nil" {
                    self.properties.push(("schema", text));
                }
            }
            b"attrs" => {
                let names = names(value).ok_or_else(|| wrong(forms))?;
                self.attributes = Some(names.into_iter().map(attribute).collect());
            }
            b"keywords" => self.keywords = Some(names(value).ok_or_else(|| wrong(forms))?),
            b"branching-factor" | b"ref-type" => {}
            _ => tally.note("entries beside the datoms, not read", 1),
        }
        Ok(())
    }
}

impl DatomSource for Serializable {
    fn read(&mut self, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<Reading> {
        let mut header = Header::default();
        let mut forms = Forms::new(self.replay.input()?, Syntax::Json);
        let mut tally = Tally::new(Format::Serializable);
        if !self.pass(&mut forms, &mut header, &mut tally, sink)? {
            header.properties.clear();
            tally = Tally::new(Format::Serializable);
            forms = Forms::new(self.replay.input()?, Syntax::Json);
            self.pass(&mut forms, &mut header, &mut tally, sink)?;
        }
        let read = tally.reading.datoms + tally.reading.problems_count;
        if header.count.is_some_and(|count| u64::try_from(count) != Ok(read)) {
            let message = format!("{read} datoms, not {} as it says itself", header.count.unwrap_or(0));
            return Err(Error::new(ErrorKind::Damaged, forms.name(), message));
        }
        tally.reading.view = View::Current;
        let properties = header.properties.into_iter().map(|(name, text)| (name.to_owned(), text));
        tally.reading.properties.extend(properties);
        tally.reading.bytes = self.replay.stored_bytes(forms.stored_bytes());
        Ok(tally.finish())
    }
}
