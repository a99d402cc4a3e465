//! What Datomic's transaction logs leave to their readers: the names of attributes, and ids that fit elsewhere.
//!
//! Datomic's ids are a partition and a number, `partition << 42 | number`; a transaction is the entity `3 << 42 | t`.
//! Datahike's ids end at 2^31 - 1, of which those from 2^29 on are transactions.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::{Attribute, Datom, Value};

const PARTITION_SHIFT: u32 = 42;
/// The partition of transactions.
const TRANSACTIONS: i64 = 3;
/// Datahike's id of the transaction before the first.
const TX0: i64 = 0x2000_0000;
/// Datahike's greatest id.
const ID_MAX: i64 = 0x7fff_ffff;
/// The attribute under which an entity's original id is kept.
const ORIGINAL_ID: &str = "packstone/original-id";

/// The entities that every Datomic database begins with and that logs may refer to.
const BOOTSTRAP: [(i64, &str); 63] = [
    (0, "db.part/db"),
    (1, "db/add"),
    (2, "db/retract"),
    (3, "db.part/tx"),
    (4, "db.part/user"),
    (7, "db/system-tx"),
    (8, "db.sys/partiallyIndexed"),
    (9, "db.sys/reId"),
    (10, "db/ident"),
    (11, "db.install/partition"),
    (12, "db.install/valueType"),
    (13, "db.install/attribute"),
    (14, "db.install/function"),
    (15, "db/excise"),
    (16, "db.excise/attrs"),
    (17, "db.excise/beforeT"),
    (18, "db.excise/before"),
    (19, "db.alter/attribute"),
    (20, "db.type/ref"),
    (21, "db.type/keyword"),
    (22, "db.type/long"),
    (23, "db.type/string"),
    (24, "db.type/boolean"),
    (25, "db.type/instant"),
    (26, "db.type/fn"),
    (27, "db.type/bytes"),
    (35, "db.cardinality/one"),
    (36, "db.cardinality/many"),
    (37, "db.unique/value"),
    (38, "db.unique/identity"),
    (39, "fressian/tag"),
    (40, "db/valueType"),
    (41, "db/cardinality"),
    (42, "db/unique"),
    (43, "db/isComponent"),
    (44, "db/index"),
    (45, "db/noHistory"),
    (46, "db/lang"),
    (47, "db/code"),
    (48, "db.lang/clojure"),
    (49, "db.lang/java"),
    (50, "db/txInstant"),
    (51, "db/fulltext"),
    (52, "db/fn"),
    (53, "db.bootstrap/part"),
    (54, "db.fn/retractEntity"),
    (55, "db.fn/cas"),
    (56, "db.type/uuid"),
    (57, "db.type/double"),
    (58, "db.type/float"),
    (59, "db.type/uri"),
    (60, "db.type/bigint"),
    (61, "db.type/bigdec"),
    (62, "db/doc"),
    (63, "db.type/tuple"),
    (64, "db.type/symbol"),
    (65, "db/tupleType"),
    (66, "db/tupleTypes"),
    (67, "db/tupleAttrs"),
    (68, "db/ensure"),
    (69, "db.entity/attrs"),
    (70, "db.entity/preds"),
    (71, "db.attr/preds"),
];

const IDENT: i64 = 10;
const VALUE_TYPE: i64 = 40;
const REFERENCE: i64 = 20;

/// The ident of an entity that every database has.
fn bootstrap(id: i64) -> Option<&'static str> {
    BOOTSTRAP.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| BOOTSTRAP[at].1)
}

/// What a log says about attributes.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Whether attributes are given by their ids.
    pub(super) has_ids: bool,
    /// Whether ids are Datomic's.
    is_datomic: bool,
    idents: HashMap<i64, (i64, String)>,
    references: HashSet<i64>,
    stated: HashMap<i64, String>,
    reference_names: HashSet<String>,
}

impl Known {
    /// Takes note of a datom.
    pub(super) fn learn(&mut self, datom: &Datom<'_>) {
        self.is_datomic |= datom.t >> PARTITION_SHIFT == TRANSACTIONS;
        self.has_ids |= matches!(datom.a, Attribute::Id(_));
        let is = |id: i64, name: &str| match &datom.a {
            Attribute::Id(a) => self.is_datomic && *a == id,
            Attribute::Keyword(a) => a == name,
            Attribute::String(_) => false,
        };
        if !datom.added {
            return;
        }
        match &datom.v {
            Value::Keyword(ident) if is(IDENT, "db/ident") => {
                let newest = self.idents.get(&datom.e).is_none_or(|(t, _)| *t <= datom.t);
                if newest {
                    self.idents.insert(datom.e, (datom.t, ident.clone().into_owned()));
                }
            }
            Value::Long(REFERENCE) if is(VALUE_TYPE, "db/valueType") => {
                self.references.insert(datom.e);
            }
            Value::Keyword(kind) if kind == "db.type/ref" && is(VALUE_TYPE, "db/valueType") => {
                self.references.insert(datom.e);
            }
            _ => {}
        }
    }

    /// Takes note of what stands beside the transactions.
    pub(super) fn state(&mut self, attributes: HashMap<i64, String>, references: HashSet<i64>) {
        self.stated.extend(attributes);
        self.references.extend(references);
    }

    /// Puts together what was learnt; comes before anything is asked.
    pub(super) fn settle(&mut self) {
        const SYSTEM: [&str; 10] = [
            "db.install/partition",
            "db.install/valueType",
            "db.install/attribute",
            "db.install/function",
            "db.alter/attribute",
            "db/excise",
            "db.excise/attrs",
            "db/lang",
            "db/ensure",
            "db.sys/reId",
        ];
        let names = self.references.iter().filter_map(|id| self.ident(*id).map(str::to_owned));
        let system = SYSTEM.iter().filter(|_| self.is_datomic).map(|name| (*name).to_owned());
        self.reference_names = names.chain(system).collect();
    }

    fn ident(&self, id: i64) -> Option<&str> {
        let stated = self.stated.get(&id).map(String::as_str);
        let learnt = || self.idents.get(&id).map(|(_, name)| name.as_str());
        stated.or_else(learnt).or_else(|| if self.is_datomic { bootstrap(id) } else { None })
    }

    /// Gives an attribute its name; false when it stays an id that should have one.
    pub(super) fn name(&self, datom: &mut Datom<'_>) -> bool {
        let Attribute::Id(id) = datom.a else { return true };
        if !self.is_datomic && self.stated.is_empty() {
            return true;
        }
        match self.ident(id) {
            Some(name) => {
                datom.a = Attribute::Keyword(name.to_owned().into());
                true
            }
            None => false,
        }
    }

    fn is_reference(&self, attribute: &Attribute<'_>) -> bool {
        match attribute {
            Attribute::Keyword(name) => self.reference_names.contains(name.as_ref()),
            Attribute::Id(id) => self.references.contains(id),
            Attribute::String(_) => false,
        }
    }
}

type Take<'t> = dyn FnMut(&Datom<'_>) -> Result<()> + 't;

/// Gives Datomic's entities ids that Datahike can have: transactions 2^29 + t, other entities 1, 2, 3 and so on in the
/// order in which they appear. What an id was is kept as a datom of its own.
pub(super) struct Renamer<'k> {
    known: &'k Known,
    ids: HashMap<i64, i64>,
    next: i64,
    is_installed: bool,
}

impl<'k> Renamer<'k> {
    pub(super) fn new(known: &'k Known) -> Self {
        Self { known, ids: HashMap::new(), next: 1, is_installed: false }
    }

    /// Hands over the datom with its new ids, after the datoms that say what its ids were.
    pub(super) fn rename(&mut self, mut datom: Datom<'static>, take: &mut Take<'_>) -> Result<()> {
        if !self.known.is_datomic {
            return take(&datom);
        }
        let t = transaction(datom.t)?;
        let is_reference = self.known.is_reference(&datom.a);
        let transaction_entity = TRANSACTIONS << PARTITION_SHIFT | number(datom.t);
        datom.t = self.id(transaction_entity, t, take)?;
        datom.e = self.id(datom.e, t, take)?;
        if let Value::Long(value) = datom.v {
            let is_schema = matches!(&datom.a, Attribute::Keyword(name)
                if matches!(name.as_ref(), "db/valueType" | "db/cardinality" | "db/unique" | "db/tupleType"));
            match self.known.ident(value).filter(|_| is_schema) {
                Some(ident) => datom.v = Value::Keyword(ident.to_owned().into()),
                None if is_reference || is_schema => datom.v = Value::Long(self.id(value, t, take)?),
                None => {}
            }
        }
        if let (Attribute::Keyword(name), Value::Tuple(types)) = (&datom.a, &mut datom.v)
            && name == "db/tupleTypes"
        {
            for kind in types {
                if let Value::Long(id) = kind
                    && let Some(ident) = self.known.ident(*id)
                {
                    *kind = Value::Keyword(ident.to_owned().into());
                }
            }
        }
        if let Attribute::Id(id) = datom.a {
            datom.a = Attribute::Id(self.id(id, t, take)?);
        }
        take(&datom)
    }

    /// The new id of an entity that appears in transaction `t`.
    fn id(&mut self, original: i64, t: i64, take: &mut Take<'_>) -> Result<i64> {
        if let Some(id) = self.ids.get(&original) {
            return Ok(*id);
        }
        if !self.is_installed {
            self.is_installed = true;
            let attribute = self.give()?;
            for (a, v) in [
                ("db/ident", ORIGINAL_ID),
                ("db/valueType", "db.type/long"),
                ("db/cardinality", "db.cardinality/one"),
                ("db/unique", "db.unique/identity"),
            ] {
                let (a, v) = (Attribute::Keyword(a.into()), Value::Keyword(v.into()));
                take(&Datom { e: attribute, a, v, t, added: true })?;
            }
        }
        let id = if original >> PARTITION_SHIFT == TRANSACTIONS { transaction(original)? } else { self.give()? };
        self.ids.insert(original, id);
        let a = Attribute::Keyword(ORIGINAL_ID.into());
        take(&Datom { e: id, a, v: Value::Long(original), t, added: true })?;
        Ok(id)
    }

    fn give(&mut self) -> Result<i64> {
        let id = self.next;
        if id >= TX0 {
            return Err(Error::new(
                ErrorKind::Data,
                "--remap-ids",
                "more than 2^29 entities, which Datahike cannot have",
            ));
        }
        self.next += 1;
        Ok(id)
    }

    /// What to tell of it.
    pub(super) fn summary(&self) -> (&'static str, u64) {
        match self.known.is_datomic {
            true => ("entities with new ids, their old ones under :packstone/original-id", self.ids.len() as u64),
            false => ("streams whose ids are not Datomic's and stay as they are", 1),
        }
    }
}

fn number(id: i64) -> i64 {
    id & ((1 << PARTITION_SHIFT) - 1)
}

/// Datahike's id of a Datomic transaction, given as its entity or its t.
fn transaction(id: i64) -> Result<i64> {
    let t = number(id);
    match TX0.checked_add(t).filter(|id| *id <= ID_MAX) {
        Some(id) => Ok(id),
        None => Err(Error::new(
            ErrorKind::Data,
            format!("transaction {id}"),
            format!("t {t} is over what Datahike can have, {}", ID_MAX - TX0),
        )),
    }
}
