//! A cursor over JSON text (RFC 8259): punctuation, literals, strings and the text of numbers.

use std::borrow::Cow;

use crate::record::datom::Text;
use crate::record::datom::edn::{TextError, push_unit};

pub(in crate::record::datom) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(in crate::record::datom) fn new(text: &'a [u8]) -> Result<Self, TextError> {
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Self { text, at: 0 }),
            Err(error) => Err(TextError::new(error.valid_up_to(), "not UTF-8")),
        }
    }

    pub(in crate::record::datom) fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is not whitespace.
    #[inline]
    pub(in crate::record::datom) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Passes `byte` if it comes next.
    #[inline]
    pub(in crate::record::datom) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(in crate::record::datom) fn expect(&mut self, byte: u8, reason: &'static str) -> Result<(), TextError> {
        if self.take(byte) { Ok(()) } else { self.fail(reason) }
    }

    /// `true`, `false` or `null`, whichever comes next as a whole.
    pub(in crate::record::datom) fn word(&mut self) -> Result<&'a str, TextError> {
        self.peek();
        let rest = &self.text.as_bytes()[self.at..];
        let len = rest.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        let word = &self.text[self.at..self.at + len];
        if !matches!(word, "true" | "false" | "null") {
            return self.fail("not JSON");
        }
        self.at += len;
        Ok(word)
    }

    /// The text of a number and whether it is an integer.
    pub(in crate::record::datom) fn number(&mut self) -> Result<(&'a str, bool), TextError> {
        self.peek();
        let bytes = &self.text.as_bytes()[self.at..];
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(sign);
        let mut len = sign + whole;
        let leading_zero = whole > 1 && bytes[sign] == b'0';
        let mut fine = whole > 0 && !leading_zero;
        let integer_len = len;
        if bytes.get(len) == Some(&b'.') {
            let fraction = digits(len + 1);
            fine &= fraction > 0;
            len += 1 + fraction;
        }
        if matches!(bytes.get(len), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
            let exponent = digits(len + 1 + sign);
            fine &= exponent > 0;
            len += 1 + sign + exponent;
        }
        if !fine {
            return self.fail("not a JSON number");
        }
        let number = &self.text[self.at..self.at + len];
        self.at += len;
        Ok((number, len == integer_len))
    }

    /// A string, as WTF-8.
    pub(in crate::record::datom) fn string(&mut self) -> Result<Text<'a>, TextError> {
        self.expect(b'"', "a string is expected here")?;
        let bytes = self.text.as_bytes();
        let start = self.at;
        let plain = plain_len(&bytes[start..]);
        if bytes.get(start + plain) == Some(&b'"') {
            self.at = start + plain + 1;
            return Ok(Cow::Borrowed(&bytes[start..start + plain]));
        }
        let mut text = Vec::with_capacity(plain + 16);
        loop {
            let plain = plain_len(&bytes[self.at..]);
            text.extend_from_slice(&bytes[self.at..self.at + plain]);
            self.at += plain;
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.escape(&mut text)?,
                Some(_) => return self.fail("a control character in a string"),
                None => return Err(TextError::new(start - 1, "a string that is never closed")),
            }
        }
        self.at += 1;
        Ok(Cow::Owned(text))
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), TextError> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        let byte = match rest.first() {
            Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let Some(digits) = rest.get(1..5).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit)) else {
                    return self.fail("\\u without four hexadecimal digits");
                };
                let digit = |b: &u8| char::from(*b).to_digit(16).unwrap_or(0);
                let unit = digits.iter().fold(0, |unit, b| unit << 4 | digit(b));
                push_unit(unit as u16, text);
                self.at += 6;
                return Ok(());
            }
            _ => return self.fail("an unknown escape"),
        };
        text.push(byte);
        self.at += 2;
        Ok(())
    }

    #[cold]
    pub(in crate::record::datom) fn fail<T>(&self, reason: &'static str) -> Result<T, TextError> {
        Err(TextError::new(self.at, reason))
    }
}

fn plain_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(bytes.len())
}
