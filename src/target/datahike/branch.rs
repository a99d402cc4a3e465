//! One branch: its datoms into up to six indices, then its schema and its head.
//!
//! History is what the temporal indices hold, and the current datoms of attributes that have many values or no history.
//! So of the datoms that are history and current, those of such attributes are only in the current indices, and all
//! others in both. Datahike's own schema, where attributes are entities, is in both whatever its attributes are.

use bytes::Bytes;

use crate::datahike::encode_head::{self, Lifetime, NewHead, WrittenIndex};
use crate::datahike::{Address, Compression, IndexOrder, SYSTEM_TRANSACTION, StoreKey};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::fressian::Writer;
use crate::record::datom::{Attribute, Datom, Value, decode_key};
use crate::sorter::{Sorted, Sorter, SorterOptions};

use super::config;
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
    max_t: i64,
    max_eid: i64,
    latest_instant: Option<i64>,
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
            max_t: SYSTEM_TRANSACTION,
            max_eid: 0,
            latest_instant: None,
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
        self.max_t = self.max_t.max(datom.t);
        if datom.e < SYSTEM_TRANSACTION {
            self.max_eid = self.max_eid.max(datom.e);
        }
        if let (Value::Instant(ms), true) = (&datom.v, datom.e == datom.t) {
            // Of a transaction's instants the last one put is as good as any: it dates the head.
            self.latest_instant = Some(*ms);
        }
        self.lost_signs += u64::from(has_negative_zero(&datom.v));
        row::make(IndexOrder::Eavt, datom, membership.flags(), &mut self.row).map_err(|why| {
            let message = format!("the value of {:?} of entity {} cannot be written", datom.a, datom.e);
            Error::new(ErrorKind::Data, "datom", message).because(why)
        })?;
        self.rows.push(&self.row)
    }

    /// Writes the nodes of all indices, the schema, and keeps the head for the end.
    pub fn finish(self) -> Result<()> {
        let Self { target, description, schema, rows, references, max_t, max_eid, latest_instant, lost_signs, .. } =
            self;
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
        let datoms = {
            let mut build = Build::new(target, shape, description.keep_history, references);
            let datoms = build.entities(&mut rows, &schema)?;
            drop(rows);
            build.finish(&mut indices, &mut sorted)?;
            datoms
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

        let number = |name: &str| description.properties.get(name).and_then(|text| text.parse::<i64>().ok());
        let state = State {
            indices,
            schema_key,
            updated: latest_instant.unwrap_or(now),
            max_tx: max_t.max(number("max-t").unwrap_or(0)),
            max_eid: max_eid.max(number("max-eid").filter(|id| *id < SYSTEM_TRANSACTION).unwrap_or(0)),
            op_count: i64::try_from(datoms).unwrap_or(i64::MAX),
        };
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
    /// When it was changed last, milliseconds since 1970.
    pub(super) updated: i64,
    pub(super) max_tx: i64,
    pub(super) max_eid: i64,
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
        meta: config.meta(commit, state.updated, now),
        config: config.entries,
        max_tx: state.max_tx,
        max_eid: state.max_eid,
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

    /// Builds what is ordered by entity and sorts the rest; how many datoms there are.
    fn entities(&mut self, rows: &mut Sorted, schema: &Schema) -> Result<u64> {
        let mut out = Vec::new();
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let row = Row::split(row)?;
            let datom = decode_key(row.datom).map_err(|e| Error::damaged("sorted row", e))?;
            let of = schema.of(&datom.a);
            let (historic, current) = (row.flags & 1 != 0, row.flags & 2 != 0);
            let system = self.references && datom.t == SYSTEM_TRANSACTION;
            let temporal = historic && (system || !(current && of.history_while_current()));
            count += 1;
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
        Ok(count)
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
