//! What a store says of the migration that writes it: a blob beside the database, which Datahike does not look at.

use std::sync::Arc;

use crate::datahike::encode_head::{self, Lifetime};
use crate::datahike::{Compression, Home, Store, StoreKey, field};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::Value;
use crate::record::datom::fressian::Writer;

/// The key of the blob.
const KEY: &str = "packstone/migration";

/// How far a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The database is being written for the first time: there is none yet.
    Restoring,
    /// It is kept in step with its source.
    Following,
    /// It is on its own: nothing here writes to it any more.
    CutOver,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Restoring, Self::Following, Self::CutOver];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restoring => "restoring",
            Self::Following => "following",
            Self::CutOver => "cut-over",
        }
    }
}

/// A migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Where the database comes from, without secrets.
    pub source: String,
    /// The repository that it goes through, by its id.
    pub repository: String,
    /// How far it is.
    pub phase: Phase,
    /// The run that writes to the store; none when it has ended.
    pub run: Option<String>,
    /// Whether there was nothing in the store before, so that what is in it before the database is there may go.
    pub alone: bool,
    /// The snapshot that the database was equal to last ...
    pub snapshot: Option<String>,
    /// ... when these were its heads.
    pub heads: Option<String>,
    /// When this was written, milliseconds since 1970.
    pub at: i64,
}

impl Migration {
    /// The blob that holds it.
    pub fn key() -> StoreKey {
        StoreKey::keyword(KEY)
    }

    /// What a store says.
    pub fn read(home: &Arc<dyn Home>) -> Result<Option<Self>> {
        let store = Store::new(Arc::clone(home), None);
        let Some(blob) = store.blob(Self::key())? else { return Ok(None) };
        let object = store.object(&format!(":{KEY}"));
        let record = blob.value().map_err(|why| why.about(&object))?;
        let damaged = |what: &str| Error::new(ErrorKind::Damaged, object.clone(), format!("has no {what}"));
        let text = |name: &str| match field(&record, name) {
            Some(Value::String(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        let phase = match field(&record, "phase") {
            Some(Value::Keyword(phase)) => Phase::ALL.into_iter().find(|known| known.name() == phase.as_ref()),
            _ => None,
        };
        Ok(Some(Self {
            source: text("source").ok_or_else(|| damaged("source"))?,
            repository: text("repository").ok_or_else(|| damaged("repository"))?,
            phase: phase.ok_or_else(|| damaged("phase that is known"))?,
            run: text("run"),
            alone: field(&record, "alone?") == Some(&Value::Boolean(true)),
            snapshot: text("snapshot"),
            heads: text("heads"),
            at: match field(&record, "at") {
                Some(Value::Instant(ms)) => *ms,
                _ => 0,
            },
        }))
    }

    /// Writes it, durably.
    pub fn write(&self, home: &dyn Home) -> Result<()> {
        let text = |text: &str| Value::String(text.as_bytes().to_vec().into());
        let optional = |value: &Option<String>| value.as_deref().map_or(Value::Nil, text);
        let entry = |name: &'static str, value: Value<'static>| (Value::Keyword(name.into()), value);
        let record = Value::Map(vec![
            entry("source", text(&self.source)),
            entry("repository", text(&self.repository)),
            entry("phase", Value::Keyword(self.phase.name().into())),
            entry("run", optional(&self.run)),
            entry("alone?", Value::Boolean(self.alone)),
            entry("snapshot", optional(&self.snapshot)),
            entry("heads", optional(&self.heads)),
            entry("at", Value::Instant(self.at)),
        ]);
        let mut writer = Writer::new();
        let refused = |why| Error::new(ErrorKind::Failed, home.name(), "migration").because(why);
        writer.value(&record).map_err(refused)?;
        let key = Value::Keyword(KEY.into());
        let blob = encode_head::blob(&key, Lifetime::Mutable, &writer.finish(), self.at, Compression::None);
        home.put_many(vec![blob.map_err(|e| Error::damaged(home.name(), e))?])
    }
}
