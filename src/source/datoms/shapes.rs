//! Datoms in the shapes in which databases print them, as EDN or Transit: a DataScript database as one value, transaction
//! logs, and datoms one after the other.
//!
//! What is read, all of it streamed but for single datoms:
//!
//! - `[e a v t op]`, `#datascript/Datom [e a v t]`, `{:e .. :a .. :v .. :tx .. :added ..}`;
//! - `{:t n :data [datom ...]}` and `{:tx n :data [datom ...]}`, a transaction of a log;
//! - `{:id->attr {eid ident} :refs #{eid} :transactions [transaction ...]}`;
//! - `#datascript/DB {:schema {..} :datoms [datom ...]}`;
//! - lists and vectors of all these, at the top.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Datom, Value, edn};
use crate::source::datoms::datomic::{Known, Renamer};
use crate::source::datoms::facts;
use crate::source::datoms::input::Input;
use crate::source::datoms::notation::{Edn, Next, Notation, Transit};
use crate::source::datoms::replay::Replay;
use crate::source::datoms::tally::Tally;
use crate::source::datoms::{DatomSource, Format, OnError, Options, Reading, View};

/// How far lists, maps and tags that are not yet datoms may stand in each other.
const SHAPES_MAX: u32 = 16;

/// A source that reads a stream in one of these formats; `path` is where it came from, if that can be opened again.
pub(super) fn open(
    input: Input,
    path: Option<PathBuf>,
    format: Format,
    options: &Options,
) -> Result<Box<dyn DatomSource>> {
    // Only a log may have to be read twice: for the names of attributes that it gives by their ids.
    let replay = Replay::new(input, path)?;
    Ok(Box::new(Shapes { replay, format, on_error: options.on_error, remap_ids: options.remap_ids }))
}

struct Shapes {
    replay: Replay,
    format: Format,
    on_error: OnError,
    remap_ids: bool,
}

impl Shapes {
    fn notation(&self) -> Result<Box<dyn Notation>> {
        let mut input = self.replay.input()?;
        let is_transit = match self.format {
            Format::Transit => true,
            Format::Log => is_transit(input.peek(4096)?),
            _ => false,
        };
        Ok(if is_transit { Box::new(Transit::new(input)) } else { Box::new(Edn::new(input)) })
    }

    /// What the stream says about attributes; nothing, early, where nobody needs to know.
    fn learn(&self) -> Result<Known> {
        let mut notation = self.notation()?;
        let mut known = Known::default();
        let mut tally = Tally::new(self.format);
        let mut is_needed = true;
        let result = {
            let mut walk = Walk::new(notation.as_mut(), &mut tally, self.on_error);
            let always = self.remap_ids;
            let result = walk.run(&mut |_, datom| {
                known.learn(&datom);
                is_needed = always || known.has_ids;
                if is_needed { Ok(()) } else { Err(Error::new(ErrorKind::Interrupted, "", "")) }
            });
            known.state(walk.stated_attributes, walk.stated_references);
            result
        };
        if is_needed {
            result?;
        }
        known.settle();
        Ok(known)
    }
}

/// Whether a log that begins like this is Transit: only JSON's punctuation and numbers stand before the first string, which
/// is a tag, a keyword or the sign of a map.
fn is_transit(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let before = start.iter().take_while(|byte| byte.is_ascii_digit() || b"[{,- \t\r\n".contains(byte)).count();
    matches!(start.get(before..), Some([b'"', b'~' | b'^', ..]))
}

impl DatomSource for Shapes {
    fn read(&mut self, sink: &mut dyn FnMut(&Datom<'_>) -> Result<()>) -> Result<Reading> {
        let known = self.learn()?;
        let mut renamer = if self.remap_ids { Some(Renamer::new(&known)) } else { None };
        let mut notation = self.notation()?;
        let mut tally = Tally::new(self.format);
        let mut unresolved = 0;
        let mut walk = Walk::new(notation.as_mut(), &mut tally, self.on_error);
        walk.run(&mut |tally, mut datom| {
            unresolved += u64::from(!known.name(&mut datom));
            let mut take = |datom: &Datom<'_>| {
                tally.count(datom);
                sink(datom)
            };
            match &mut renamer {
                Some(renamer) => renamer.rename(datom, &mut take),
                None => take(&datom),
            }
        })?;
        let stated_schema = walk.schema.take();
        let (is_state, is_log, unread) = (walk.is_state, walk.is_log, walk.unread);
        if let Some(schema) = stated_schema {
            tally.reading.properties.insert("schema".to_owned(), schema);
        }
        tally.reading.view = match (is_log, is_state) {
            (true, _) => View::History,
            (false, true) => View::Current,
            (false, false) => View::Unstated,
        };
        if unresolved > 0 {
            tally.note("attributes whose idents are not in the log, kept as their ids", unresolved);
        }
        if unread > 0 {
            tally.note("entries of maps around the datoms, not read", unread);
        }
        if let Some(renamer) = renamer {
            let (what, count) = renamer.summary();
            tally.note(what, count);
        }
        tally.reading.bytes = self.replay.stored_bytes(notation.forms().stored_bytes());
        Ok(tally.finish())
    }
}

type Take<'t> = dyn FnMut(&mut Tally, Datom<'static>) -> Result<()> + 't;

/// One pass over a text.
struct Walk<'w> {
    notation: &'w mut dyn Notation,
    tally: &'w mut Tally,
    on_error: OnError,
    schema: Option<String>,
    stated_attributes: HashMap<i64, String>,
    stated_references: HashSet<i64>,
    is_state: bool,
    is_log: bool,
    unread: u64,
}

impl<'w> Walk<'w> {
    fn new(notation: &'w mut dyn Notation, tally: &'w mut Tally, on_error: OnError) -> Self {
        Self {
            notation,
            tally,
            on_error,
            schema: None,
            stated_attributes: HashMap::new(),
            stated_references: HashSet::new(),
            is_state: false,
            is_log: false,
            unread: 0,
        }
    }

    fn run(&mut self, take: &mut Take<'_>) -> Result<()> {
        loop {
            self.notation.begin();
            if self.notation.next()? == Next::End {
                return Ok(());
            }
            self.item(None, 0, take)?;
        }
    }

    /// A datom, or something with datoms in it.
    fn item(&mut self, t: Option<i64>, depth: u32, take: &mut Take<'_>) -> Result<()> {
        if depth > SHAPES_MAX {
            return Err(self.notation.forms().refuse("nested too deep for datoms"));
        }
        match self.notation.next()? {
            Next::Map => {
                self.notation.enter()?;
                self.entries(t, depth, take)
            }
            Next::Sequence => {
                self.notation.enter()?;
                self.sequence(t, depth, take)
            }
            Next::Tag => self.tagged(t, depth, take),
            Next::Other | Next::Close | Next::End => {
                Err(self.notation.forms().refuse("neither a datom nor a list of them"))
            }
        }
    }

    fn tagged(&mut self, t: Option<i64>, depth: u32, take: &mut Take<'_>) -> Result<()> {
        let tag = self.notation.enter()?.unwrap_or_default();
        match tag.as_str() {
            "datascript/DB" => {
                self.is_state = true;
                self.item(t, depth + 1, take)?;
            }
            "list" | "set" | "datascript/BTSet" => self.item(t, depth + 1, take)?,
            tag if facts::is_datom_tag(tag) => {
                let value = self.notation.value()?;
                self.datom(facts::datom(value, t), take)?;
            }
            tag => return Err(self.notation.forms().refuse(format!("#{tag}, which is no tag of datoms"))),
        }
        if self.notation.more()? {
            return Err(self.notation.forms().refuse("a tag on two values"));
        }
        Ok(())
    }

    /// What was entered is one datom if it begins with a number, else a list.
    fn sequence(&mut self, t: Option<i64>, depth: u32, take: &mut Take<'_>) -> Result<()> {
        let mut parts = Vec::new();
        while self.notation.more()? {
            if parts.is_empty() && self.notation.next()? != Next::Other {
                self.element(t, depth, take)?;
                while self.notation.more()? {
                    self.element(t, depth, take)?;
                }
                return Ok(());
            }
            parts.push(self.notation.value()?);
            if parts.len() > 5 {
                return Err(self.notation.forms().refuse("a datom of more than five parts"));
            }
        }
        if parts.is_empty() { Ok(()) } else { self.datom(facts::of_parts(parts, t), take) }
    }

    /// An element of a list: a datom, which is read as a whole, or a transaction.
    fn element(&mut self, t: Option<i64>, depth: u32, take: &mut Take<'_>) -> Result<()> {
        if self.notation.next()? == Next::Map {
            return self.item(t, depth + 1, take);
        }
        match self.notation.value() {
            Ok(value) => self.datom(facts::datom(value, t), take),
            Err(error) if self.on_error == OnError::Collect && self.notation.can_leave_out() => {
                self.tally.problem(error.object().to_owned(), error.message());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn datom(&mut self, datom: std::result::Result<Datom<'static>, &str>, take: &mut Take<'_>) -> Result<()> {
        match datom {
            Ok(datom) => take(self.tally, datom),
            Err(why) if self.on_error == OnError::Collect => {
                self.tally.problem(self.notation.forms().place(), why);
                Ok(())
            }
            Err(why) => Err(self.notation.forms().refuse(why)),
        }
    }

    /// The map that was entered: a datom, a transaction, or what a database prints around its datoms.
    fn entries(&mut self, mut t: Option<i64>, depth: u32, take: &mut Take<'_>) -> Result<()> {
        let mut datom = Vec::new();
        while self.notation.more()? {
            let key = self.notation.key()?;
            match key.as_str() {
                "data" | "datoms" | "transactions" => {
                    self.is_log |= key != "datoms";
                    self.list(t, depth + 1, take)?;
                }
                "schema" => {
                    let mut text = Vec::new();
                    edn::print_value(&self.notation.value()?, &mut text);
                    self.schema = Some(String::from_utf8_lossy(&text).into_owned());
                }
                "id->attr" => {
                    let stated = attributes(self.notation.value()?);
                    self.stated_attributes.extend(stated);
                }
                "refs" => {
                    let stated = references(self.notation.value()?);
                    self.stated_references.extend(stated);
                }
                "e" | "a" | "v" | "added" | "op" | "tx" | "t" => {
                    let value = self.notation.value()?;
                    if let (true, Value::Long(own)) = (matches!(key.as_str(), "t" | "tx"), &value) {
                        t = Some(*own);
                    }
                    datom.push((Value::Keyword(key.into()), value));
                }
                "start-t" | "end-t" => {
                    self.notation.value()?;
                }
                _ => {
                    self.notation.value()?;
                    self.unread += 1;
                }
            }
        }
        let is_datom = datom.iter().any(|(key, _)| matches!(key, Value::Keyword(name) if name != "t" && name != "tx"));
        if is_datom { self.datom(facts::datom(Value::Map(datom), None), take) } else { Ok(()) }
    }

    /// A list under a key, whose elements are datoms or transactions.
    fn list(&mut self, t: Option<i64>, depth: u32, take: &mut Take<'_>) -> Result<()> {
        if depth > SHAPES_MAX {
            return Err(self.notation.forms().refuse("nested too deep for datoms"));
        }
        match self.notation.next()? {
            Next::Sequence => {
                self.notation.enter()?;
                while self.notation.more()? {
                    self.element(t, depth, take)?;
                }
                Ok(())
            }
            Next::Tag => {
                let tag = self.notation.enter()?.unwrap_or_default();
                if !matches!(tag.as_str(), "list" | "set" | "datascript/BTSet") {
                    return Err(self.notation.forms().refuse(format!("#{tag} where datoms are expected")));
                }
                self.list(t, depth + 1, take)?;
                if self.notation.more()? {
                    return Err(self.notation.forms().refuse("a tag on two values"));
                }
                Ok(())
            }
            _ => match self.notation.value()? {
                Value::Nil => Ok(()),
                _ => Err(self.notation.forms().refuse("no list where datoms are expected")),
            },
        }
    }
}

/// `{eid ident}`.
fn attributes(value: Value<'static>) -> HashMap<i64, String> {
    let Value::Map(entries) = value else { return HashMap::new() };
    let named = entries.into_iter().filter_map(|(id, ident)| match (id, ident) {
        (Value::Long(id), Value::Keyword(ident)) => Some((id, ident.into_owned())),
        _ => None,
    });
    named.collect()
}

/// `#{eid}`.
fn references(value: Value<'static>) -> HashSet<i64> {
    let (Value::Set(ids) | Value::List(ids) | Value::Tuple(ids)) = value else { return HashSet::new() };
    ids.into_iter().filter_map(|id| if let Value::Long(id) = id { Some(id) } else { None }).collect()
}
