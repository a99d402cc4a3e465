//! A branch of the database that is edited: its head, and what its datoms say about attributes.

use std::collections::{BTreeMap, BTreeSet};

use super::contents::keys;
use super::nodes::{Cache, NodeReader};
use super::{BranchEdit, DatomChange, decode};
use crate::datahike::encode_head::WrittenIndex;
use crate::datahike::node::Address;
use crate::datahike::{Head, IndexOrder, IndexRoot, Store, field};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Attribute, Datom, Value};
use crate::target::datahike::branch::State;
use crate::target::datahike::config::Configuration;
use crate::target::datahike::extent::Extent;
use crate::target::datahike::nodes::Shape;
use crate::target::datahike::schema::{LAST_SYSTEM_ENTITY, Schema, SchemaBuilder, describing, is_schema};
use crate::target::datahike::{Description, Identity, Options};

/// Current datoms that say something about attributes, as keys of records, in the order of entities.
pub(super) type Said = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) struct Branch {
    pub(super) head: Head,
    pub(super) shape: Shape,
    pub(super) schema: Schema,
    pub(super) said: Said,
    /// Attributes of such datoms.
    describing: BTreeSet<Attribute<'static>>,
}

impl Branch {
    /// The branch as it is now.
    ///
    /// # Errors
    /// [`ErrorKind::Data`] when Datahike has written to it.
    pub(super) fn open(store: &Store, cache: &mut Cache, name: &str) -> Result<Self> {
        let head = store.head(name)?;
        let object = store.object(&format!(":{name}"));
        let foreign =
            |what: &str| Error::new(ErrorKind::Data, object.clone(), format!("{what}: Datahike has written to it"));
        let roots = roots(&head);
        if roots.iter().any(|(_, _, root)| root.fused.is_some() || root.diff_buf_size > 0 || root.address.is_none()) {
            return Err(foreign("its indices are not as this program writes them"));
        }
        let branching_factor = usize::try_from(head.eavt.branching_factor).unwrap_or(0);
        if branching_factor < 4 {
            return Err(foreign("its nodes have fewer than 4 children"));
        }
        let shape = Shape { branching_factor, crypto_hash: head.has_content_addresses(), seconds: 0 };
        let references = head.has_attribute_references();
        let (schema, said) = (SchemaBuilder::default().finish(false)?, Said::new());
        let mut branch = Self { head, shape, schema, said, describing: BTreeSet::new() };
        branch.describing = match references {
            true => branch.described_by(NodeReader::new(store, cache))?,
            false => describing(),
        };
        let mut prefixes: Vec<_> = branch.describing.iter().map(IndexOrder::attribute_prefix).collect();
        prefixes.sort_unstable();
        let mut said = BTreeMap::new();
        let aevt = (IndexOrder::Aevt, false);
        branch.find(NodeReader::new(store, cache), aevt, &prefixes, &mut |record| {
            let (key, _) = keys(IndexOrder::Eavt, &decode(record)?)?;
            said.insert(key, record.to_vec());
            Ok(())
        })?;
        branch.schema = learn(&said, references)?;
        branch.said = said;
        Ok(branch)
    }

    /// The ids of the attributes that describe attributes: Datahike's own entities say which they are.
    fn described_by(&self, reader: NodeReader<'_>) -> Result<BTreeSet<Attribute<'static>>> {
        let prefixes: Vec<_> = (0..=LAST_SYSTEM_ENTITY).map(IndexOrder::entity_prefix).collect();
        let (mut itself, mut named) = (None, Vec::new());
        let eavt = (IndexOrder::Eavt, false);
        self.find(reader, eavt, &prefixes, &mut |record| {
            let datom = decode(record)?;
            if let (Attribute::Id(id), Value::Keyword(name)) = (&datom.a, &datom.v) {
                if name == "db/ident" && *id == datom.e {
                    itself = Some(*id);
                }
                named.push((*id, datom.e, name.clone().into_owned()));
            }
            Ok(())
        })?;
        let is_describing = |(a, _, name): &(i64, i64, String)| Some(*a) == itself && is_schema(name);
        Ok(named.into_iter().filter(is_describing).map(|(_, e, _)| Attribute::Id(e)).collect())
    }

    /// Looks datoms up by what their keys begin with.
    pub(super) fn find(
        &self,
        mut reader: NodeReader<'_>,
        (order, temporal): (IndexOrder, bool),
        prefixes: &[Vec<u8>],
        take: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let root = roots(&self.head).into_iter().find(|(of, is_temporal, _)| (*of, *is_temporal) == (order, temporal));
        let Some(address) = root.and_then(|(_, _, root)| root.address) else { return Ok(()) };
        reader.find(order, address, prefixes, take)
    }

    /// What its next head says.
    pub(super) fn state(&self, edit: &BranchEdit, indices: Vec<WrittenIndex>, schema_key: Address) -> Result<State> {
        let mut extent = Extent::of_head(&self.head);
        for change in edit.changes.iter().filter(|change| change.history || change.current) {
            extent.add(&decode(&change.datom)?, change.current);
        }
        extent.add_properties(&edit.properties);
        let added = i64::try_from(edit.changes.len()).unwrap_or(i64::MAX);
        Ok(State { indices, schema_key, extent, op_count: self.head.op_count.saturating_add(added) })
    }

    /// The configuration in its next head: what is the store's own stays.
    pub(super) fn configuration(&self, edit: &BranchEdit, schema: &Schema, location: &str) -> Result<Configuration> {
        let uuid = |map: &Value<'_>, name: &str| match field(map, name) {
            Some(Value::Uuid(id)) => Some(*id),
            _ => None,
        };
        let storage = field(&self.head.config, "store").and_then(|store| uuid(store, "id"));
        let description = Description {
            branch: edit.branch.clone(),
            keep_history: self.head.keeps_history(),
            properties: edit.properties.clone(),
            identity: Identity { storage, database: self.head.database_id() },
        };
        let options = Options {
            crypto_hash: Some(self.shape.crypto_hash),
            branching_factor: self.shape.branching_factor,
            ..Options::default()
        };
        Configuration::new(&description, schema, location, &options)
    }

    /// What is said about attributes after the changes; nothing where that stays.
    pub(super) fn said_after(&self, changes: &[DatomChange]) -> Result<Option<Said>> {
        let mut said = None;
        for change in changes.iter().filter(|change| change.current != change.before.current) {
            let datom = decode(&change.datom)?;
            if !self.describing.contains(&datom.a) {
                continue;
            }
            let (key, record) = keys(IndexOrder::Eavt, &datom)?;
            let said = said.get_or_insert_with(|| self.said.clone());
            if change.current {
                said.insert(key, record);
            } else if said.get(&key) == Some(&record) {
                said.remove(&key);
            }
        }
        Ok(said)
    }
}

/// The indices of a branch: their order, whether they hold history, and their roots.
pub(super) fn roots(head: &Head) -> Vec<(IndexOrder, bool, &IndexRoot)> {
    let current = [&head.eavt, &head.aevt, &head.avet].map(Some);
    let temporal = [&head.temporal_eavt, &head.temporal_aevt, &head.temporal_avet].map(Option::as_ref);
    let of = |roots: [Option<_>; 3], is_temporal| {
        IndexOrder::ALL.into_iter().zip(roots).filter_map(move |(order, root)| Some((order, is_temporal, root?)))
    };
    of(current, false).chain(of(temporal, true)).collect()
}

/// The schema that some datoms make.
pub(super) fn learn(said: &Said, references: bool) -> Result<Schema> {
    let mut builder = SchemaBuilder::default();
    let datoms = said.values().map(|record| decode(record)).collect::<Result<Vec<_>>>()?;
    // What names `:db/ident` comes first: the others are told by it.
    let names_itself = |datom: &&Datom<'_>| matches!(datom.a, Attribute::Id(id) if id == datom.e);
    datoms.iter().filter(names_itself).for_each(|datom| builder.learn(datom));
    datoms.iter().filter(|datom| !names_itself(datom)).for_each(|datom| builder.learn(datom));
    builder.finish(references)
}
