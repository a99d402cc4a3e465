//! One branch: its datoms into up to six indices, then its schema and its head.
//!
//! History is what the temporal indices hold, and the current datoms of attributes that have many values or no history.
//! So of the datoms that are history and current, those of such attributes are only in the current indices, and all
//! others in both. Datahike's own schema, where attributes are entities, is in both whatever its attributes are.

use bytes::Bytes;

use crate::datahike::encode_head::{self, Lifetime, NewHead, WrittenIndex};
use crate::datahike::{Address, Compression, IndexOrder, StoreKey};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::fressian::Writer;
use crate::record::datom::{Attribute, Datom, Value, decode_key};
use crate::sorter::{Sorted, Sorter, SorterOptions};

use super::config;
use super::extent::Extent;
use super::nodes::{Shape, refused};
use super::row::{self, Row};
use super::schema::{Schema, SchemaBuilder};
use super::tree::Tree;
use super::{Description, Head, Target};

/// What a datom is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Of the history, and no longer so.
    History,
    /// Of the current state, and not of the history.
    Current,
    /// Of both.
    Both,
}

impl Membership {
    fn flags(self) -> u8 {
        match self {
            Self::History => 1,
            Self::Current => 2,
            Self::Both => 3,
        }
    }
}

/// Takes the datoms of a branch, in any order.
pub struct BranchWriter<'t> {
    target: &'t mut Target,
    description: Description,
    schema: SchemaBuilder,
    rows: Sorter,
    row: Vec<u8>,
    references: bool,
    extent: Extent,
    /// Datoms of which the sign of a zero is lost.
    lost_signs: u64,
}

impl<'t> BranchWriter<'t> {
    pub(super) fn new(target: &'t mut Target, description: Description) -> Self {
        let rows = Sorter::new(SorterOptions {
            memory_bytes: target.options.memory_bytes / 2,
            directory: target.options.temporary.clone(),
        });
        Self {
            target,
            description,
            schema: SchemaBuilder::default(),
            rows,
            row: Vec::new(),
            references: false,
            extent: Extent::new(),
            lost_signs: 0,
        }
    }

    /// Takes a datom. Where attributes are entities, what names `:db/ident` must come before all others.
    pub fn put(&mut self, datom: &Datom<'_>, membership: Membership) -> Result<()> {
        if membership != Membership::History {
            if !datom.added {
                return Err(Error::new(ErrorKind::Data, "current state", "holds a retraction"));
            }
            self.schema.learn(datom);
        }
        self.references |= matches!(datom.a, Attribute::Id(_));
        self.extent.add(datom, membership != Membership::History);
        self.lost_signs += u64::from(has_negative_zero(&datom.v));
        row::make(IndexOrder::Eavt, datom, membership.flags(), &mut self.row).map_err(|why| {
            let message = format!("the value of {:?} of entity {} cannot be written", datom.a, datom.e);
            Error::new(ErrorKind::Data, "datom", message).because(why)
        })?;
        self.rows.push(&self.row)
    }

    /// Writes the nodes of all indices, the schema, and keeps the head for the end.
    pub fn finish(self) -> Result<()> {
        let Self { target, description, schema, rows, references, mut extent, lost_signs, .. } = self;
        let schema = schema.finish(references)?;
        let mut rows = rows.finish()?;
        let now = target.options.now;
        let config = config::Configuration::new(&description, &schema, &target.location, &target.options)?;
        let shape = Shape {
            branching_factor: target.options.branching_factor,
            crypto_hash: config.crypto_hash,
            seconds: u32::try_from(now.div_euclid(1000)).unwrap_or(0),
        };
        let mut indices = Vec::new();
        let mut sorted = Vec::new();
        let (put, datoms) = {
            let mut build = Build::new(target, shape, description.keep_history, references);
            let counts = build.entities(&mut rows, &schema)?;
            drop(rows);
            build.finish(&mut indices, &mut sorted)?;
            counts
        };
        for (mut tree, mut rows) in sorted {
            while let Some(row) = rows.next()? {
                let row = Row::split(row)?;
                tree.push(row.key, row.datom, &mut target.blobs)?;
            }
            indices.push(finished(target, &mut tree)?);
        }
        let (schema_key, blob) = schema_blob(&schema, shape, now)?;
        if target.schemas.insert(schema_key) {
            target.blobs.put(blob)?;
        }

        extent.add_properties(&description.properties);
        let state = State { indices, schema_key, extent, op_count: i64::try_from(put).unwrap_or(i64::MAX) };
        target.written.datoms += datoms;
        if lost_signs > 0 {
            let what = "datoms whose -0.0 is 0.0 in the store, as Fressian has one zero".to_owned();
            *target.written.notes.entry(what).or_default() += lost_signs;
        }
        for (what, count) in schema.notes {
            *target.written.notes.entry(what).or_default() += count;
        }
        target.heads.push(head(description.branch, config, state, shape, now)?);
        Ok(())
    }
}

/// Whether there is a double in it that Fressian writes without its sign.
fn has_negative_zero(value: &Value<'_>) -> bool {
    let is_negative_zero = |number: &f64| *number == 0.0 && number.is_sign_negative();
    match value {
        Value::Double(number) => is_negative_zero(number),
        Value::Doubles(numbers) => numbers.iter().any(is_negative_zero),
        Value::Tuple(elements) | Value::List(elements) | Value::Set(elements) => elements.iter().any(has_negative_zero),
        Value::Map(entries) => entries.iter().any(|(key, value)| has_negative_zero(key) || has_negative_zero(value)),
        Value::Tagged(_, inner) => has_negative_zero(inner),
        _ => false,
    }
}

/// Where a branch is, besides what its configuration says.
pub(super) struct State {
    pub(super) indices: Vec<WrittenIndex>,
    pub(super) schema_key: Address,
    pub(super) extent: Extent,
    pub(super) op_count: i64,
}

/// The head of a branch, under a new commit.
pub(super) fn head(
    branch: String,
    config: config::Configuration,
    state: State,
    shape: Shape,
    now: i64,
) -> Result<Head> {
    let mut commit = shape.address();
    commit[6] = commit[6] & 0x0f | 0x50;
    let new = NewHead {
        indices: state.indices,
        branching_factor: shape.branching_factor,
        storage: config.storage,
        schema_key: state.schema_key,
        meta: config.meta(commit, state.extent.latest_instant.unwrap_or(now), now),
        config: config.entries,
        max_tx: state.extent.max_tx,
        max_eid: state.extent.max_eid,
        op_count: state.op_count,
    };
    let mut writer = Writer::new();
    let refused = |why| Error::new(ErrorKind::Data, "head", "cannot be written").because(why);
    writer.value(&new.record()).map_err(refused)?;
    Ok(Head { branch, commit, record: writer.finish() })
}

/// The blob of a schema, and the address it is named by.
pub(super) fn schema_blob(schema: &Schema, shape: Shape, now: i64) -> Result<(Address, (StoreKey, Bytes))> {
    let address = encode_head::schema_key(&schema.meta).unwrap_or_else(|| shape.address());
    let mut writer = Writer::new();
    let refused = |why| Error::new(ErrorKind::Data, "schema", "cannot be written").because(why);
    writer.value(&schema.meta).map_err(refused)?;
    let key = Value::Uuid(address);
    let blob = encode_head::blob(&key, Lifetime::Immutable, &writer.finish(), now, Compression::None);
    Ok((address, blob.map_err(|e| Error::damaged("schema", e))?))
}

/// The indices of a branch while the first two are built.
struct Build<'t> {
    target: &'t mut Target,
    shape: Shape,
    references: bool,
    /// Current, and temporal where history is kept.
    sides: Vec<Side>,
}

struct Side {
    by_entity: Tree,
    by_attribute: Sorter,
    by_value: Sorter,
}

impl<'t> Build<'t> {
    fn new(target: &'t mut Target, shape: Shape, keep_history: bool, references: bool) -> Self {
        let sides = if keep_history { 2 } else { 1 };
        let sorter = || {
            Sorter::new(SorterOptions {
                memory_bytes: target.options.memory_bytes / 4 / sides,
                directory: target.options.temporary.clone(),
            })
        };
        let side = |temporal| Side {
            by_entity: Tree::new(IndexOrder::Eavt, temporal, shape),
            by_attribute: sorter(),
            by_value: sorter(),
        };
        let sides = [false, true].into_iter().take(sides).map(side).collect();
        Self { target, shape, references, sides }
    }

    /// Builds what is ordered by entity and sorts the rest; how many datoms were put, and how many the database has: those
    /// of its history, or current ones where it keeps none.
    fn entities(&mut self, rows: &mut Sorted, schema: &Schema) -> Result<(u64, u64)> {
        let mut out = Vec::new();
        let (mut put, mut datoms) = (0, 0);
        let keeps_history = self.sides.len() > 1;
        while let Some(row) = rows.next()? {
            let row = Row::split(row)?;
            let datom = decode_key(row.datom).map_err(|e| Error::damaged("sorted row", e))?;
            let of = schema.of(&datom.a);
            let (historic, current) = (row.flags & 1 != 0, row.flags & 2 != 0);
            let temporal = of.is_temporal(&datom, self.references, historic, current);
            put += 1;
            datoms += u64::from(if keeps_history { historic } else { current });
            for (side, wanted) in self.sides.iter_mut().zip([current, temporal]) {
                if !wanted {
                    continue;
                }
                side.by_entity.push(row.key, row.datom, &mut self.target.blobs)?;
                row::make(IndexOrder::Aevt, &datom, 0, &mut out).map_err(refused)?;
                side.by_attribute.push(&out)?;
                if of.indexed {
                    row::make(IndexOrder::Avet, &datom, 0, &mut out).map_err(refused)?;
                    side.by_value.push(&out)?;
                }
            }
        }
        Ok((put, datoms))
    }

    fn finish(self, indices: &mut Vec<WrittenIndex>, sorted: &mut Vec<(Tree, Sorted)>) -> Result<()> {
        for mut side in self.sides {
            let temporal = side.by_entity.temporal;
            indices.push(finished(self.target, &mut side.by_entity)?);
            for (order, rows) in [(IndexOrder::Aevt, side.by_attribute), (IndexOrder::Avet, side.by_value)] {
                sorted.push((Tree::new(order, temporal, self.shape), rows.finish()?));
            }
        }
        Ok(())
    }
}

fn finished(target: &mut Target, tree: &mut Tree) -> Result<WrittenIndex> {
    let address = tree.finish(&mut target.blobs)?;
    if tree.equal > 0 && tree.order == IndexOrder::Eavt {
        let what = "datoms left out that Datahike holds to be equal to another".to_owned();
        *target.written.notes.entry(what).or_default() += tree.equal;
    }
    Ok(WrittenIndex { temporal: tree.temporal, order: tree.order, address, count: tree.count })
}
