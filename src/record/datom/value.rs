//! The value types of section H of the Datahike format document, borrowed where the source's buffer allows it.

use std::borrow::Cow;

use num_bigint::BigInt;

use crate::id::BlobId;

/// Text of a string: WTF-8, which is UTF-8 in which lone surrogates may stand as three bytes (`ED A0..BF xx`), as Java
/// strings can hold them. A surrogate *pair* is always one four-byte character.
pub type Text<'a> = Cow<'a, [u8]>;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datom<'a> {
    /// Entity id.
    pub e: i64,
    /// Attribute.
    pub a: Attribute<'a>,
    /// Value.
    pub v: Value<'a>,
    /// Transaction id.
    pub t: i64,
    /// Asserted, as opposed to retracted.
    pub added: bool,
}

/// An attribute: its ident, its entity id in databases with attribute references, or a plain string (DataScript in JS).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Attribute<'a> {
    /// `:ns/name`, held without the colon.
    Keyword(Cow<'a, str>),
    /// The attribute's entity id.
    Id(i64),
    /// A plain string.
    String(Cow<'a, str>),
}

/// A typed value. Two values are equal when they have the same type and the same canonical bytes: `1` is not `1N`, `1.0`
/// is not `#float "1.0"`, `0.0` is not `-0.0`, `1.0M` is not `1.00M`, NaN is itself.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Only inside tuples and collections.
    Nil,
    /// `true`, `false`.
    Boolean(bool),
    /// 64-bit integer; references to entities are longs too.
    Long(i64),
    /// `5N`.
    BigInt(BigInt),
    /// IEEE 754 binary64; every NaN is the canonical quiet one.
    Double(f64),
    /// IEEE 754 binary32, `#float "1.5"`; every NaN is the canonical quiet one.
    Float(f32),
    /// `1.10M`, scale kept.
    BigDecimal(BigDecimal),
    /// `1/3`; numerator and denominator as they came.
    Ratio(BigInt, BigInt),
    /// A UTF-16 code unit, as Java's `char`.
    Char(u16),
    /// Text.
    String(Text<'a>),
    /// `:ns/name`, held without the colon.
    Keyword(Cow<'a, str>),
    /// `ns/name`.
    Symbol(Cow<'a, str>),
    /// 128 bits, most significant byte first.
    Uuid([u8; 16]),
    /// Milliseconds since 1970-01-01T00:00:00Z, may be negative.
    Instant(i64),
    /// `#bytes "00ff"`.
    Bytes(Cow<'a, [u8]>),
    /// `#uri "..."`.
    Uri(Text<'a>),
    /// `#regex "..."`.
    Regex(Text<'a>),
    /// A vector: `[1 :a "x"]`.
    Tuple(Vec<Value<'a>>),
    /// A list: `(1 2)`.
    List(Vec<Value<'a>>),
    /// A set; elements in the order of their canonical bytes.
    Set(Vec<Value<'a>>),
    /// A map; entries in the order of their keys' canonical bytes.
    Map(Vec<(Value<'a>, Value<'a>)>),
    /// `float[]`.
    Floats(Vec<f32>),
    /// `double[]`.
    Doubles(Vec<f64>),
    /// A tag this program does not know, without the `#`, and what it is put on.
    Tagged(Cow<'a, str>, Box<Value<'a>>),
    /// A value over 1 KiB that is kept as a blob of its own; only between tree and repository, never in sources or targets.
    Stored(ValueReference),
}

/// An arbitrary-precision decimal: `unscaled * 10^-scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigDecimal {
    /// All digits.
    pub unscaled: BigInt,
    /// Digits after the point; negative for trailing zeros before it.
    pub scale: i32,
}

/// Where a long value is kept, and the start of it, by which it sorts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueReference {
    /// First 64 bytes of the value's canonical encoding.
    pub start: Vec<u8>,
    /// The chunk that holds the canonical encoding, or the chunk that lists the chunks.
    pub id: BlobId,
    /// Whether `id` names a list of chunks rather than the value itself.
    pub listed: bool,
    /// Length of the canonical encoding in bytes.
    pub length: u64,
}
