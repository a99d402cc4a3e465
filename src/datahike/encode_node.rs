//! Nodes and roots of indices as Datahike has written them since 0.8.1704.

use super::node::Address;
use super::order::IndexOrder;
use crate::record::datom::fressian::Writer;
use crate::record::datom::{Attribute, Datom, EncodeError, Value};

/// What Datahike takes for the children of a node where nothing else is said.
pub const BRANCHING_FACTOR: usize = 512;

/// A child of a branch that is written.
#[derive(Clone, Debug)]
pub struct Child<'d> {
    /// Its last datom.
    pub last: Datom<'d>,
    /// Where it is stored.
    pub address: Address,
}

/// The value of the blob of a leaf: its datoms, in the order of the index.
pub fn leaf(datoms: &[Datom<'_>], branching_factor: usize) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::new();
    writer.record("pss/leaf", 1);
    writer.map(3);
    writer.keyword("keys");
    put_datoms(&mut writer, datoms.iter())?;
    put_settings(&mut writer, branching_factor);
    Ok(writer.finish())
}

/// The value of the blob of a branch, at least one level above the leaves, with `count` datoms below.
pub fn branch(level: u32, children: &[Child<'_>], count: u64, branching_factor: usize) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::new();
    writer.record("pss/branch", 1);
    writer.map(6);
    writer.keyword("level");
    writer.long(level.into());
    writer.keyword("keys");
    put_datoms(&mut writer, children.iter().map(|child| &child.last))?;
    writer.keyword("addresses");
    writer.vector(children.len());
    children.iter().for_each(|child| writer.uuid(&child.address));
    writer.keyword("subtree-count");
    writer.long(signed(count));
    put_settings(&mut writer, branching_factor);
    Ok(writer.finish())
}

/// The root of an index, as it stands in a head.
pub fn index_root(
    order: IndexOrder,
    storage: [u8; 16],
    address: Address,
    count: u64,
    branching_factor: usize,
) -> Value<'static> {
    let meta = Value::Map(vec![
        (keyword("index-type"), keyword(order.name())),
        (keyword("pss/storage-id"), Value::Uuid(storage)),
    ]);
    let fields = vec![
        (keyword("meta"), meta),
        (keyword("address"), Value::Uuid(address)),
        (keyword("count"), Value::Long(signed(count))),
        (keyword("branching-factor"), Value::Long(signed(branching_factor as u64))),
        (keyword("diff-buf-size"), Value::Long(0)),
    ];
    Value::Tagged("pss/set".into(), Box::new(Value::Map(fields)))
}

pub(super) fn keyword(name: &'static str) -> Value<'static> {
    Value::Keyword(name.into())
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(-1)
}

fn put_settings(writer: &mut Writer, branching_factor: usize) {
    writer.keyword("branching-factor");
    writer.long(signed(branching_factor as u64));
    writer.keyword("diff-buf-size");
    writer.long(0);
}

fn put_datoms<'d>(
    writer: &mut Writer,
    datoms: impl ExactSizeIterator<Item = &'d Datom<'d>>,
) -> Result<(), EncodeError> {
    writer.vector(datoms.len());
    for datom in datoms {
        writer.record("datahike.datom.Datom", 1);
        writer.vector(5);
        writer.long(datom.e);
        match &datom.a {
            Attribute::Keyword(name) => writer.keyword(name),
            Attribute::Id(id) => writer.long(*id),
            Attribute::String(name) => writer.value(&Value::String(name.as_bytes().into()))?,
        }
        writer.value(&datom.v)?;
        writer.long(datom.t);
        writer.boolean(datom.added);
    }
    Ok(())
}
