//! One form of EDN or JSON after the other out of a stream, so that a text of any length is read without holding it.

use std::io::BufRead as _;

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::edn::{NESTING_MAX, TextError};
use crate::source::datoms::input::{Input, LINE_MAX_BYTES};

const DEEP: &str = "discarded forms nested deeper than 64 levels";

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Edn,
    /// Commas and colons are passed over like blanks.
    Json,
}

/// A stream of forms.
pub(super) struct Forms {
    input: Input,
    syntax: Syntax,
    /// Length of the form handed out last, which is still in the buffer.
    handed_out: usize,
    bytes: u64,
    line: u64,
    /// How many `#_` stand in a row here.
    discards: u32,
}

impl Forms {
    pub(super) fn new(input: Input, syntax: Syntax) -> Self {
        Self { input, syntax, handed_out: 0, bytes: 0, line: 1, discards: 0 }
    }

    /// What errors call the stream.
    pub(super) fn name(&self) -> &str {
        self.input.name()
    }

    /// Bytes taken from the file so far, before decompression.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.input.stored_bytes()
    }

    /// Where the form handed out last, or else the next one, begins: a line, and in it a byte, as text.
    pub(super) fn place(&self) -> String {
        format!("{}:{} (byte {})", self.input.name(), self.line, self.bytes.saturating_add(1))
    }

    /// An error about what is here.
    pub(super) fn refuse(&self, why: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Data, self.place(), why)
    }

    /// As [`Forms::refuse`], of a text that does not read.
    pub(super) fn unreadable(&self, why: TextError) -> Error {
        self.refuse(&why).because(why)
    }

    /// The next byte that is not between forms, which is left there.
    pub(super) fn peek(&mut self) -> Result<Option<u8>> {
        self.pass_handed_out()?;
        loop {
            let syntax = self.syntax;
            let bytes = self.input.peek(2)?;
            let Some(&first) = bytes.first() else { return Ok(None) };
            if self.bytes == 0 && bytes.starts_with(b"\xef\xbb") {
                self.pass(3)?;
            } else if is_blank(first, syntax) {
                let blanks = bytes.iter().take_while(|byte| is_blank(**byte, syntax)).count();
                self.pass(blanks)?;
            } else if first == b';' && syntax == Syntax::Edn {
                let comment = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
                // A comment longer than the buffer goes on where it was cut; its rest must not become a form.
                let is_whole = bytes.get(comment) == Some(&b'\n');
                self.pass(comment)?;
                if !is_whole {
                    self.pass_line()?;
                }
            } else if bytes.starts_with(b"#_") && syntax == Syntax::Edn {
                if self.discards == NESTING_MAX {
                    return Err(self.refuse(DEEP));
                }
                self.discards += 1;
                self.pass(2)?;
                self.form()?;
                self.pass_handed_out()?;
                self.discards -= 1;
            } else {
                return Ok(Some(first));
            }
        }
    }

    fn pass_line(&mut self) -> Result<()> {
        loop {
            let bytes = self.input.peek(1)?;
            if bytes.is_empty() {
                return Ok(());
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let len = end.unwrap_or(bytes.len());
            self.pass(len)?;
            if end.is_some() {
                return Ok(());
            }
        }
    }

    /// The bytes from the next form on: `len` of them, or as many as there are.
    pub(super) fn look(&mut self, len: usize) -> Result<&[u8]> {
        self.peek()?;
        let bytes = self.input.peek(len)?;
        Ok(&bytes[..bytes.len().min(len)])
    }

    /// Passes bytes that were looked at.
    pub(super) fn advance(&mut self, len: usize) -> Result<()> {
        self.pass_handed_out()?;
        self.pass(len)
    }

    /// Passes `byte` if it comes next.
    pub(super) fn take(&mut self, byte: u8) -> Result<bool> {
        let found = self.peek()? == Some(byte);
        if found {
            self.pass(1)?;
        }
        Ok(found)
    }

    /// Passes `byte`, which must come next.
    pub(super) fn expect(&mut self, byte: u8, what: &str) -> Result<()> {
        match self.take(byte)? {
            true => Ok(()),
            false if self.peek()?.is_none() => Err(self.cut_short()),
            false => Err(self.refuse(what)),
        }
    }

    /// The whole next form; it is passed when something else is asked for.
    pub(super) fn form(&mut self) -> Result<&[u8]> {
        if self.peek()?.is_none() {
            return Err(self.cut_short());
        }
        let mut wanted = 512;
        let len = loop {
            let syntax = self.syntax;
            let bytes = self.input.peek(wanted)?;
            let (available, ended) = (bytes.len(), bytes.len() < wanted);
            match form_len(bytes, ended, syntax, 0) {
                Extent::Whole(len) => break len,
                Extent::More if ended => return Err(self.cut_short()),
                Extent::More if available > LINE_MAX_BYTES => {
                    return Err(self.refuse("a form of more than 256 MiB"));
                }
                Extent::More => wanted = available.saturating_mul(2).max(wanted),
                Extent::Deep => return Err(self.refuse(DEEP)),
                Extent::Stray => return Err(self.refuse("a closing bracket where a value is expected")),
            }
        };
        self.handed_out = len;
        Ok(&self.input.peek(len)?[..len])
    }

    fn cut_short(&self) -> Error {
        Error::new(ErrorKind::Data, self.place(), "the text ends before what it began: cut short")
    }

    fn pass_handed_out(&mut self) -> Result<()> {
        let len = std::mem::take(&mut self.handed_out);
        if len > 0 { self.pass(len) } else { Ok(()) }
    }

    fn pass(&mut self, len: usize) -> Result<()> {
        let bytes = self.input.peek(len)?;
        let len = len.min(bytes.len());
        self.line += bytes[..len].iter().filter(|byte| **byte == b'\n').count() as u64;
        self.bytes += len as u64;
        self.input.consume(len);
        Ok(())
    }
}

fn is_blank(byte: u8, syntax: Syntax) -> bool {
    match syntax {
        Syntax::Edn => matches!(byte, b' ' | b'\t'..=b'\r' | 0x1c..=0x1f | b','),
        Syntax::Json => matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b':'),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Extent {
    /// The form ends before this byte.
    Whole(usize),
    /// It ends behind what there is.
    More,
    /// It begins with a closing bracket.
    Stray,
    /// Discarded forms discard each other.
    Deep,
}

/// How long the form is with which `bytes` begin. Brackets are counted, not matched: whoever reads the form does that.
fn form_len(bytes: &[u8], ended: bool, syntax: Syntax, discards: u32) -> Extent {
    if discards > NESTING_MAX {
        return Extent::Deep;
    }
    let (mut at, mut depth) = (0, 0_u64);
    let is_edn = syntax == Syntax::Edn;
    while let Some(&byte) = bytes.get(at) {
        // Whether what is here is followed by more of the same form, as a tag by what it is on.
        let mut goes_on = false;
        match byte {
            _ if is_blank(byte, syntax) => {
                at += 1;
                continue;
            }
            b';' if is_edn => {
                let Some(len) = bytes[at..].iter().position(|b| *b == b'\n') else { return Extent::More };
                at += len;
                continue;
            }
            b'[' | b'(' | b'{' => {
                depth += 1;
                at += 1;
            }
            b']' | b')' | b'}' => {
                let Some(outer) = depth.checked_sub(1) else { return Extent::Stray };
                depth = outer;
                at += 1;
            }
            b'"' => match string_len(&bytes[at..]) {
                Some(len) => at += len,
                None => return Extent::More,
            },
            b'#' if is_edn => match bytes.get(at + 1) {
                None if !ended => return Extent::More,
                Some(b'{' | b'"') => {
                    at += 1;
                    continue;
                }
                Some(b'#') => match token_len(&bytes[at..], ended) {
                    Some(len) => at += len,
                    None => return Extent::More,
                },
                Some(b'_') => {
                    at += 2;
                    // The discarded form, if it is whole, and then the one that is wanted.
                    match form_len(&bytes[at..], ended, syntax, discards + 1) {
                        Extent::Whole(len) => at += len,
                        other => return other,
                    }
                    continue;
                }
                _ => match token_len(&bytes[at..], ended) {
                    Some(len) => {
                        at += len;
                        goes_on = true;
                    }
                    None => return Extent::More,
                },
            },
            b'\\' if is_edn => match bytes.get(at + 1..).filter(|rest| !rest.is_empty()) {
                // The character may be a delimiter; what follows of its name ends like any token.
                Some(rest) => match token_len(&rest[1..], ended) {
                    Some(len) => at += 2 + len,
                    None => return Extent::More,
                },
                None if ended => at += 1,
                None => return Extent::More,
            },
            _ => match token_len(&bytes[at..], ended) {
                Some(len) => at += len.max(1),
                None => return Extent::More,
            },
        }
        if depth == 0 && !goes_on {
            return Extent::Whole(at);
        }
    }
    Extent::More
}

/// Length of the string whose opening quote is the first byte.
fn string_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Length of a token, if its end is there.
fn token_len(bytes: &[u8], ended: bool) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, 0..=b' ' | b',' | b'"' | b';' | b'(' | b')' | b'[' | b']' | b'{' | b'}');
    bytes.iter().position(ends).or_else(|| ended.then_some(bytes.len()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::io::Read;

    use super::*;
    use crate::record::datom::edn;

    /// Hands out a byte at a time.
    struct Slow(std::io::Cursor<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(&mut into[..1])
        }
    }

    fn forms(text: &str, syntax: Syntax) -> Result<Vec<String>> {
        let source = Slow(std::io::Cursor::new(text.as_bytes().to_vec()));
        let mut forms = Forms::new(Input::new("x".to_owned(), Box::new(source))?, syntax);
        let mut found = Vec::new();
        while forms.peek()?.is_some() {
            found.push(String::from_utf8(forms.form()?.to_vec()).unwrap());
        }
        Ok(found)
    }

    #[test]
    fn forms_end_where_the_reader_says() {
        let text = "1 ; comment ]\n[1 \"]\\\"\" \\] \\newline] #inst \"x\" #_ #_ 1 2 {:a #{1} #_2} (a)#\"]\"\\[ #a #b [1]##Inf,\"é\" nil";
        let expected = [
            "1",
            "[1 \"]\\\"\" \\] \\newline]",
            "#inst \"x\"",
            "{:a #{1} #_2}",
            "(a)",
            "#\"]\"",
            "\\[",
            "#a #b [1]",
            "##Inf",
            "\"é\"",
            "nil",
        ];
        assert_eq!(forms(&text.replace("#_ #_ 1 2 ", "#_1 "), Syntax::Edn).unwrap(), expected);
        for form in expected.iter().filter(|form| !form.starts_with("#inst")) {
            edn::parse_value(form.as_bytes()).unwrap();
        }
        let json = "[1,[\"]\"],{\"a\":\"\\\\\"}] , \"x\": 5";
        assert_eq!(forms(json, Syntax::Json).unwrap(), ["[1,[\"]\"],{\"a\":\"\\\\\"}]", "\"x\"", "5"]);
    }

    #[test]
    fn what_is_cut_short_or_stray_is_named() {
        for (text, expected) in [
            ("[1 2", "x:1 (byte 1): the text ends"),
            ("1\n\n \"abc", "x:3 (byte 5): the text ends"),
            ("#tag", "the text ends"),
            ("1 ]", "closing bracket"),
            ("{:a #_", "the text ends"),
        ] {
            let error = forms(text, Syntax::Edn).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
        assert!(forms(&"[".repeat(100_000), Syntax::Edn).is_err());
        assert!(forms(&"#_".repeat(100_000), Syntax::Edn).is_err());
    }
}
