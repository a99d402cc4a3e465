//! The column codec of datoms: rows as three streams of bytes, made for a general compressor to follow.
//!
//! Rows of one (t, e) are a *group*, rows of one (t, e, a) a *run*. Groups and runs are said once for all their rows, and the
//! values of one attribute and type stand together as a *column*. Numbers, texts and incompressible bytes go to a stream
//! each. The encoder is free to choose how a column is encoded; the decoder takes any choice.

mod column;
mod numbers;
mod streams;
mod texts;

use crate::error::DecodeError;
use crate::record::Rows;

use super::canonical::flip;
use super::key::{attribute_len, check_attribute, split_key};
use column::{Column, Spans};
use streams::{Reader, Writer};

/// No leaf has more bytes of rows than this.
const MAX_ROW_BYTES: usize = 64 << 20;

/// No leaf has more rows than this: a key has at least 20 bytes.
const MAX_ROWS: usize = MAX_ROW_BYTES / 20;

/// The rows of one attribute, taken together.
#[derive(Default)]
struct Attribute<'a> {
    name: &'a [u8],
    /// Length of every run.
    runs: Vec<u32>,
    values: Vec<&'a [u8]>,
    ops: Vec<bool>,
}

/// The columns of rows; panics when a row is no key of a datom.
// format-spec records: datom columns.
pub(super) fn encode(rows: &Rows) -> Vec<u8> {
    let shape = Shape::of(rows);
    let mut writer = Writer::default();
    writer.len(shape.attributes.len());
    for attribute in &shape.attributes {
        writer.texts.extend_from_slice(attribute.name);
    }
    shape.put_groups(&mut writer);
    for attribute in &shape.attributes {
        for run in &attribute.runs {
            writer.varint(u64::from(*run) - 1);
        }
        put_ops(&attribute.ops, &mut writer);
        put_values(attribute, &mut writer);
    }
    writer.finish()
}

/// The rows of columns.
pub(super) fn decode(columns: &[u8]) -> Result<Rows, DecodeError> {
    let mut reader = Reader::new(columns, MAX_ROW_BYTES)?;
    let attributes = take_attributes(&mut reader)?;
    let groups = take_groups(attributes.len(), &mut reader)?;
    let mut runs_counts = vec![0_usize; attributes.len()];
    for group in &groups {
        group.attributes.iter().for_each(|a| runs_counts[*a as usize] += 1);
    }
    let mut rows_count = 0_usize;
    let mut decoded = Vec::with_capacity(attributes.len());
    for (name, runs_count) in attributes.into_iter().zip(runs_counts) {
        let mut runs = Vec::with_capacity(runs_count);
        let mut count = 0_usize;
        for _ in 0..runs_count {
            let run = reader.numbers.count(MAX_ROWS, "rows")? + 1;
            count += run;
            rows_count += run;
            if rows_count > MAX_ROWS {
                return Err(DecodeError::TooLarge("rows"));
            }
            runs.push(run);
        }
        reader.spend((name.len() + 18).checked_mul(count).ok_or(DecodeError::TooLarge("rows"))?)?;
        let ops = take_ops(count, &mut reader)?;
        let values = Values::take(&runs, count, &mut reader)?;
        decoded.push(Decoded { name, runs: runs.into_iter(), ops: ops.into_iter(), values });
    }
    reader.finish()?;
    assemble(&groups, decoded)
}

struct Decoded<'a> {
    name: &'a [u8],
    runs: std::vec::IntoIter<usize>,
    ops: std::vec::IntoIter<bool>,
    values: Values,
}

fn assemble(groups: &[Group], mut attributes: Vec<Decoded<'_>>) -> Result<Rows, DecodeError> {
    const COMPLETE: DecodeError = DecodeError::Invalid("columns");
    let mut rows = Rows::new();
    let mut key = Vec::new();
    for group in groups {
        for a in &group.attributes {
            let attribute = &mut attributes[*a as usize];
            for _ in 0..attribute.runs.next().ok_or(COMPLETE)? {
                key.clear();
                key.extend_from_slice(&flip(group.t));
                key.extend_from_slice(&flip(group.e));
                key.extend_from_slice(attribute.name);
                attribute.values.put_next(&mut key).ok_or(COMPLETE)?;
                key.push(u8::from(attribute.ops.next().ok_or(COMPLETE)?));
                if !rows.is_empty() && rows.key(rows.len() - 1) >= &key[..] {
                    return Err(DecodeError::Invalid("key order"));
                }
                rows.push(&key, &[]);
            }
        }
    }
    Ok(rows)
}

struct Shape<'a> {
    /// In the order of their bytes.
    attributes: Vec<Attribute<'a>>,
    groups: Vec<Group>,
}

/// Rows of one (t, e).
#[derive(Default)]
struct Group {
    t: i64,
    e: i64,
    /// Number of the attribute of each run.
    attributes: Vec<u32>,
}

impl<'a> Shape<'a> {
    fn of(rows: &'a Rows) -> Self {
        let mut attributes: Vec<Attribute<'a>> = Vec::new();
        let mut numbers = std::collections::BTreeMap::new();
        let mut groups: Vec<Group> = Vec::new();
        // Which attribute last followed which; usually right, and a comparison is cheaper than a look-up.
        let mut follows: Vec<usize> = Vec::new();
        let mut last = usize::MAX;
        let mut start: &[u8] = &[];
        for (key, _) in rows.iter() {
            let parts = split_key(key).expect("rows hold keys of datoms");
            let same_group = start == &key[..16];
            if !same_group {
                start = &key[..16];
                groups.push(Group { t: parts.t, e: parts.e, attributes: Vec::new() });
            }
            if same_group && attributes[last].name == parts.a {
                *attributes[last].runs.last_mut().expect("this run was begun") += 1;
            } else {
                let guess = follows.get(last).copied().unwrap_or(0);
                let found = match attributes.get(guess) {
                    Some(attribute) if attribute.name == parts.a => guess,
                    _ => *numbers.entry(parts.a).or_insert_with(|| {
                        attributes.push(Attribute { name: parts.a, ..Attribute::default() });
                        follows.push(0);
                        attributes.len() - 1
                    }),
                };
                if let Some(follower) = follows.get_mut(last) {
                    *follower = found;
                }
                last = found;
                attributes[last].runs.push(1);
                let group = groups.last_mut().expect("the first row begins a group");
                group.attributes.push(u32::try_from(found).expect("leaves are limited to far less than 4 GiB"));
            }
            attributes[last].values.push(parts.v);
            attributes[last].ops.push(parts.added);
        }
        let ranks: Vec<u32> = {
            let mut ranks = vec![0; attributes.len()];
            for (rank, number) in (0_u32..).zip(numbers.values()) {
                ranks[*number] = rank;
            }
            ranks
        };
        for number in groups.iter_mut().flat_map(|group| &mut group.attributes) {
            *number = ranks[*number as usize];
        }
        attributes.sort_unstable_by_key(|attribute| attribute.name);
        Self { attributes, groups }
    }

    fn put_groups(&self, writer: &mut Writer) {
        writer.len(self.groups.len());
        let mut previous = 0;
        for group in &self.groups {
            writer.zigzag(group.t.wrapping_sub(previous));
            previous = group.t;
        }
        previous = 0;
        for group in &self.groups {
            writer.zigzag(group.e.wrapping_sub(previous));
            previous = group.e;
        }
        let mut guesses = Guesses::new(self.attributes.len());
        for group in &self.groups {
            for attribute in group.attributes.iter().copied().chain([guesses.end()]) {
                writer.varint(guesses.code(attribute));
            }
        }
    }
}

fn take_attributes<'a>(reader: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, DecodeError> {
    let count = reader.numbers.count(reader.texts.rest().len(), "attributes")?;
    let mut attributes: Vec<&[u8]> = Vec::with_capacity(count);
    for _ in 0..count {
        let name = reader.texts.take(attribute_len(reader.texts.rest())?)?;
        check_attribute(name)?;
        if attributes.last().is_some_and(|last| *last >= name) {
            return Err(DecodeError::Invalid("attribute order"));
        }
        attributes.push(name);
    }
    Ok(attributes)
}

fn take_groups(attributes_count: usize, reader: &mut Reader<'_>) -> Result<Vec<Group>, DecodeError> {
    let count = reader.numbers.count(reader.numbers.rest().len(), "groups")?;
    let mut groups = Vec::with_capacity(count);
    let mut t = 0_i64;
    for _ in 0..count {
        t = t.wrapping_add(reader.numbers.zigzag()?);
        groups.push(Group { t, ..Group::default() });
    }
    let mut e = 0_i64;
    for group in &mut groups {
        e = e.wrapping_add(reader.numbers.zigzag()?);
        group.e = e;
    }
    let mut guesses = Guesses::new(attributes_count);
    for group in &mut groups {
        loop {
            let symbol = guesses.symbol(reader.numbers.varint()?)?;
            if symbol == guesses.end() {
                break;
            }
            group.attributes.push(symbol);
        }
        if group.attributes.is_empty() {
            return Err(DecodeError::Invalid("empty group"));
        }
    }
    Ok(groups)
}

/// What comes next in a group: the attribute, or the end, that last followed the one before.
struct Guesses {
    next: Vec<u32>,
    before: usize,
}

impl Guesses {
    fn new(attributes_count: usize) -> Self {
        let end = u32::try_from(attributes_count).expect("leaves are limited to far less than 4 GiB");
        // At first, each attribute is expected to be followed by the next in order, and the end by the first.
        Self { next: (1..=end).chain([0]).collect(), before: attributes_count }
    }

    fn end(&self) -> u32 {
        u32::try_from(self.next.len() - 1).expect("made from a number of 32 bits")
    }

    fn code(&mut self, symbol: u32) -> u64 {
        let guess = std::mem::replace(&mut self.next[self.before], symbol);
        self.before = symbol as usize;
        if guess == symbol { 0 } else { u64::from(symbol) + 1 }
    }

    fn symbol(&mut self, code: u64) -> Result<u32, DecodeError> {
        let symbol = match code {
            0 => self.next[self.before],
            _ => u32::try_from(code - 1)
                .ok()
                .filter(|symbol| *symbol <= self.end() && *symbol != self.next[self.before])
                .ok_or(DecodeError::Invalid("attribute number"))?,
        };
        self.next[self.before] = symbol;
        self.before = symbol as usize;
        Ok(symbol)
    }
}

const ALL_RETRACTED: u8 = 0;
const ALL_ADDED: u8 = 1;
const MIXED: u8 = 2;

fn put_ops(ops: &[bool], writer: &mut Writer) {
    if ops.iter().all(|added| *added) {
        writer.numbers.push(ALL_ADDED);
    } else if ops.iter().all(|added| !added) {
        writer.numbers.push(ALL_RETRACTED);
    } else {
        writer.numbers.push(MIXED);
        for eight in ops.chunks(8) {
            let bits = eight.iter().rev().fold(0, |bits, added| bits << 1 | u8::from(*added));
            writer.numbers.push(bits);
        }
    }
}

fn take_ops(count: usize, reader: &mut Reader<'_>) -> Result<Vec<bool>, DecodeError> {
    match reader.numbers.byte()? {
        ALL_RETRACTED => Ok(vec![false; count]),
        ALL_ADDED => Ok(vec![true; count]),
        MIXED => {
            let bits = reader.numbers.take(count.div_ceil(8))?;
            Ok((0..count).map(|i| bits[i / 8] >> (i % 8) & 1 == 1).collect())
        }
        _ => Err(DecodeError::Invalid("op")),
    }
}

/// Appends the types of an attribute's values, and a column for each.
fn put_values(attribute: &Attribute<'_>, writer: &mut Writer) {
    let first = attribute.values[0][0];
    let starts = || attribute.runs.iter().flat_map(|run| (0..*run).map(|i| i == 0));
    if attribute.values.iter().all(|v| v[0] == first) {
        writer.numbers.extend_from_slice(&[1, first]);
        let payloads = attribute.values.iter().map(|v| &v[1..]).collect();
        column::put(&Column { kind: first, payloads, starts: starts().collect() }, writer);
        return;
    }
    let mut kinds: Vec<u8> = attribute.values.iter().map(|v| v[0]).collect();
    kinds.sort_unstable();
    kinds.dedup();
    writer.len(kinds.len());
    writer.numbers.extend_from_slice(&kinds);
    for v in &attribute.values {
        writer.len(kinds.iter().position(|kind| *kind == v[0]).expect("collected from these values"));
    }
    for kind in kinds {
        let mut column = Column { kind, payloads: Vec::new(), starts: Vec::new() };
        let mut started = false;
        for (v, start) in attribute.values.iter().zip(starts()) {
            started &= !start;
            if v[0] == kind {
                column.payloads.push(&v[1..]);
                column.starts.push(!started);
                started = true;
            }
        }
        column::put(&column, writer);
    }
}

/// The values of an attribute, to be taken in order.
struct Values {
    /// Number of the column each value is in; empty when there is but one.
    kinds: Vec<u8>,
    columns: Vec<(u8, Spans, usize)>,
    next: usize,
}

impl Values {
    fn take(runs: &[usize], count: usize, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kinds_count = reader.numbers.count(32, "value types")?;
        let types = reader.numbers.take(kinds_count)?;
        if kinds_count == 0 || !types.windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(DecodeError::Invalid("value types"));
        }
        let kinds = if kinds_count == 1 { &[][..] } else { reader.numbers.take(count)? };
        if kinds.iter().any(|kind| usize::from(*kind) >= kinds_count) {
            return Err(DecodeError::Invalid("value type number"));
        }
        let mut columns = Vec::with_capacity(kinds_count);
        for (number, kind) in (0_u8..).zip(types) {
            let mut starts = Vec::new();
            let mut row = 0;
            for run in runs {
                let before = starts.len();
                for _ in 0..*run {
                    if kinds.get(row).is_none_or(|kind| *kind == number) {
                        starts.push(starts.len() == before);
                    }
                    row += 1;
                }
            }
            columns.push((*kind, column::take(*kind, &starts, reader)?, 0));
        }
        Ok(Self { kinds: kinds.to_vec(), columns, next: 0 })
    }

    fn put_next(&mut self, key: &mut Vec<u8>) -> Option<()> {
        let number = self.kinds.get(self.next).map_or(0, |number| usize::from(*number));
        self.next += 1;
        let (kind, spans, at) = self.columns.get_mut(number)?;
        key.push(*kind);
        key.extend_from_slice(spans.get(*at)?);
        *at += 1;
        Some(())
    }
}
