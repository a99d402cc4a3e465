//! EDN and Transit alike, as what is walked through from the outside in: maps, sequences, tags, and whole values.

use crate::error::Result;
use crate::record::datom::{Value, edn, transit};
use crate::source::datoms::forms::{Forms, Syntax};
use crate::source::datoms::input::Input;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Map,
    Sequence,
    Tag,
    /// Anything else that is a value.
    Other,
    /// A closing bracket.
    Close,
    /// The stream is at its end.
    End,
}

/// A text of which the outer shape is streamed.
///
/// Between `enter` and the `more` that finds nothing more, values are taken by `key` and `value`, or entered themselves.
pub(super) trait Notation: Send {
    fn forms(&self) -> &Forms;
    fn next(&mut self) -> Result<Next>;
    /// Enters what comes next; returns the tag, if it is one.
    fn enter(&mut self) -> Result<Option<String>>;
    /// Whether there is more in what was entered last; if not, it is left.
    fn more(&mut self) -> Result<bool>;
    /// The name of a key that is a keyword or string; any other is empty.
    fn key(&mut self) -> Result<String>;
    /// The whole value that comes next.
    fn value(&mut self) -> Result<Value<'static>>;
    /// Whether what follows a value that does not read can be read all the same.
    fn can_leave_out(&self) -> bool;
    /// A new top-level value begins.
    fn begin(&mut self);
}

/// EDN text.
pub(super) struct Edn {
    forms: Forms,
    /// The closing brackets of what was entered; `None` for tags, which have none.
    open: Vec<Option<u8>>,
}

impl Edn {
    pub(super) fn new(input: Input) -> Self {
        Self { forms: Forms::new(input, Syntax::Edn), open: Vec::new() }
    }

    fn enter_tag(&mut self) -> Result<String> {
        self.forms.expect(b'#', "a tag is expected here")?;
        let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"./-_>".contains(byte);
        let tag: Vec<u8> = self.forms.look(256)?.iter().take_while(is_part).copied().collect();
        self.forms.advance(tag.len())?;
        self.open.push(None);
        Ok(String::from_utf8_lossy(&tag).into_owned())
    }
}

impl Notation for Edn {
    fn forms(&self) -> &Forms {
        &self.forms
    }

    fn next(&mut self) -> Result<Next> {
        Ok(match self.forms.look(2)? {
            [] => Next::End,
            [b'{', ..] => Next::Map,
            [b'[' | b'(', ..] => Next::Sequence,
            [b']' | b')' | b'}', ..] => Next::Close,
            [b'#', tag, ..] if tag.is_ascii_alphabetic() => Next::Tag,
            _ => Next::Other,
        })
    }

    fn enter(&mut self) -> Result<Option<String>> {
        let close = match self.forms.peek()? {
            Some(b'{') => b'}',
            Some(b'(') => b')',
            Some(b'[') => b']',
            _ => return self.enter_tag().map(Some),
        };
        let opening = self.forms.peek()?.unwrap_or(close);
        self.forms.expect(opening, "a bracket is expected here")?;
        self.open.push(Some(close));
        Ok(None)
    }

    fn more(&mut self) -> Result<bool> {
        let Some(&close) = self.open.last() else { return Ok(false) };
        if let Some(close) = close {
            if self.next()? != Next::Close && self.forms.peek()?.is_some() {
                return Ok(true);
            }
            self.forms.expect(close, "the closing bracket of another kind is expected here")?;
        }
        self.open.pop();
        Ok(false)
    }

    fn key(&mut self) -> Result<String> {
        Ok(name_of(&self.value()?))
    }

    fn value(&mut self) -> Result<Value<'static>> {
        let read = edn::parse_value(self.forms.form()?).map(Value::into_owned);
        read.map_err(|why| self.forms.unreadable(why))
    }

    fn can_leave_out(&self) -> bool {
        true
    }

    fn begin(&mut self) {
        self.open.clear();
    }
}

/// Transit's JSON.
pub(super) struct Transit {
    forms: Forms,
    reader: transit::Reader,
    open: Vec<u8>,
}

impl Transit {
    pub(super) fn new(input: Input) -> Self {
        Self { forms: Forms::new(input, Syntax::Json), reader: transit::Reader::new(), open: Vec::new() }
    }
}

impl Notation for Transit {
    fn forms(&self) -> &Forms {
        &self.forms
    }

    fn next(&mut self) -> Result<Next> {
        let close = match self.forms.peek()? {
            None => return Ok(Next::End),
            Some(b']' | b'}') => return Ok(Next::Close),
            Some(b'[') => b'[',
            Some(b'{') => b'{',
            Some(_) => return Ok(Next::Other),
        };
        // A tag that nobody gives a meaning may be long, but not one that matters here.
        let inside = self.forms.look(256)?[1..].trim_ascii_start();
        let text = match inside.strip_prefix(b"\"") {
            Some(text) => &text[..text.iter().position(|byte| *byte == b'"').unwrap_or(text.len())],
            None => &[],
        };
        Ok(match (close, text) {
            (b'[', b"^ ") => Next::Map,
            (_, text) if self.reader.is_tag(text) => Next::Tag,
            (b'{', _) => Next::Map,
            _ => Next::Sequence,
        })
    }

    fn enter(&mut self) -> Result<Option<String>> {
        let next = self.next()?;
        let is_array = self.forms.take(b'[')?;
        if !is_array {
            self.forms.expect(b'{', "a bracket is expected here")?;
        }
        self.open.push(if is_array { b']' } else { b'}' });
        if next == Next::Sequence || next == Next::Map && !is_array {
            return Ok(None);
        }
        let read = self.reader.head(self.forms.form()?);
        match read {
            Ok(transit::Head::Tag(tag)) => Ok(Some(tag.into_owned())),
            Ok(_) => Ok(None),
            Err(why) => Err(self.forms.unreadable(why)),
        }
    }

    fn more(&mut self) -> Result<bool> {
        let Some(&close) = self.open.last() else { return Ok(false) };
        if self.next()? != Next::Close && self.forms.peek()?.is_some() {
            return Ok(true);
        }
        self.forms.expect(close, "the closing bracket of another kind is expected here")?;
        self.open.pop();
        Ok(false)
    }

    fn key(&mut self) -> Result<String> {
        let read = self.reader.key(self.forms.form()?).map(|key| name_of(&key));
        read.map_err(|why| self.forms.unreadable(why))
    }

    fn value(&mut self) -> Result<Value<'static>> {
        let read = self.reader.value(self.forms.form()?).map(Value::into_owned);
        read.map_err(|why| self.forms.unreadable(why))
    }

    fn can_leave_out(&self) -> bool {
        // It may have held what later codes stand for.
        false
    }

    fn begin(&mut self) {
        self.open.clear();
        self.reader.reset();
    }
}

fn name_of(key: &Value<'_>) -> String {
    match key {
        Value::Keyword(name) => name.clone().into_owned(),
        Value::String(text) => String::from_utf8_lossy(text).into_owned(),
        _ => String::new(),
    }
}
