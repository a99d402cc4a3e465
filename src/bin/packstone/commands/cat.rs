//! `cat`: an object of the repository, as JSON; a blob as it is.

use clap::{Args, Subcommand};
use packstone::format::{GcRecord, IndexContent, KeySlot, ObjectPath, Outcome, PackTrailer, Snapshot, open_directory};
use packstone::id::{BlobId, IndexId, hex};
use packstone::repository::Repository;
use packstone::{Error, ErrorKind};
use serde_json::{Value, json};

use crate::args::Filters;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::{describe, edn, reference, time};

/// Print an object of the repository
///
/// Prints an object of the repository as JSON, a blob as it is.
///
/// Ids may be shortened as long as they are unique.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    object: Object,
    /// Print for programs, in this notation instead of JSON
    #[arg(long, value_enum, global = true, conflicts_with = "json")]
    format: Option<edn::Format>,
}

#[derive(Debug, Subcommand)]
enum Object {
    /// What was fixed when the repository was created
    Config,
    /// A snapshot, or what stands in its place
    Snapshot { id: String },
    /// An index object
    Index { id: String },
    /// A key slot
    Key { id: String },
    /// The directory of a pack
    Pack { id: String },
    /// A blob's canonical bytes, verified
    Blob { id: BlobId },
    /// A record of condemned packs
    Gc { n: u64 },
    /// An open session
    Session { id: String },
    /// The repository's master keys: who has them can read everything, whatever becomes of the key slots
    Masterkey,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    if let Object::Blob { id } = arguments.object {
        context.output.keep_stdout_for_data();
        let repository = context.open_with_index()?;
        let (_, bytes) = repository.reader().canonical(id)?;
        context.output.raw(&bytes)?;
        return Ok(Code::Ok);
    }
    let namespace = match &arguments.object {
        Object::Config => "config",
        Object::Snapshot { .. } | Object::Blob { .. } => "snapshot",
        Object::Index { .. } => "index",
        Object::Key { .. } => "key",
        Object::Pack { .. } => "pack",
        Object::Gc { .. } => "gc",
        Object::Session { .. } => "session",
        Object::Masterkey => "masterkey",
    };
    context.output.speak(arguments.format, namespace);
    let repository = context.open()?;
    let value = match arguments.object {
        Object::Config => describe::config(repository.config()),
        Object::Snapshot { id } => match snapshot(context, &repository, &id)? {
            Found::Live(snapshot) if context.output.is_edn() => {
                context.output.edn(&edn::manifest(&snapshot))?;
                return Ok(Code::Ok);
            }
            Found::Live(snapshot) => describe::snapshot(&snapshot),
            Found::Other(value) => value,
        },
        Object::Index { id } => {
            let (path, bytes) = object(&repository, "index/", &id)?;
            let id: IndexId = named(&path)?;
            let content = IndexContent::open(repository.keys(), id, &bytes).map_err(|e| Error::damaged(&path, e))?;
            describe::index(&content)
        }
        Object::Key { id } => {
            let (path, bytes) = object(&repository, "keys/", &id)?;
            let id = named(&path)?;
            let slot = KeySlot::decode(id, &bytes).map_err(|e| Error::new(ErrorKind::Damaged, &path, e))?;
            describe::key_slot(id, id == repository.slot(), slot.description(), slot.method())
        }
        Object::Pack { id } => pack(&repository, &id)?,
        Object::Gc { n } => {
            let path = ObjectPath::gc(n);
            let bytes = repository.store().get(&path, None)?;
            describe::gc(&GcRecord::open(repository.keys(), n, &bytes).map_err(|e| Error::damaged(&path, e))?)
        }
        Object::Session { id } => {
            let open = repository.open_sessions()?;
            let found = open.iter().find(|session| session.id.to_string().starts_with(&id));
            let none =
                || Error::new(ErrorKind::NotFound, format!("session {id}"), "no open session begins with this id");
            describe::session(found.ok_or_else(none)?)
        }
        Object::Masterkey => master_keys(&repository),
        Object::Blob { .. } => unreachable!("handled above"),
    };
    context.output.pretty(&value)?;
    Ok(Code::Ok)
}

/// What stands under a snapshot's name.
enum Found {
    Live(Box<Snapshot>),
    Other(Value),
}

fn snapshot(context: &Context, repository: &Repository, id: &str) -> Result<Found> {
    if id.starts_with("latest") {
        let found = reference::find_one_readable(context, repository, id, &Filters::default())?;
        return Ok(Found::Live(Box::new(found)));
    }
    let path = find(repository, "snapshots/", id)?;
    let id = named(&path)?;
    Ok(match repository.outcome(id)? {
        Some(Outcome::Committed(snapshot)) => Found::Live(Box::new(snapshot)),
        Some(Outcome::Forgotten { time_ms, .. }) => {
            Found::Other(json!({ "id": id.to_string(), "status": "forgotten", "time": time::rfc3339(time_ms) }))
        }
        Some(Outcome::Fenced { time_ms, .. }) => {
            Found::Other(json!({ "id": id.to_string(), "status": "fenced", "time": time::rfc3339(time_ms) }))
        }
        None => return Err(Error::new(ErrorKind::NotFound, path, "is gone").into()),
    })
}

fn pack(repository: &Repository, id: &str) -> Result<Value> {
    let path = find(repository, "packs/", id)?;
    let store = repository.store();
    let gone = || Error::new(ErrorKind::NotFound, &path, "is gone");
    let size_bytes = store.stat(&path)?.ok_or_else(gone)?.size_bytes;
    let damaged = |e| Error::damaged(&path, e);
    let tail = store.get(&path, Some(size_bytes.saturating_sub(PackTrailer::LEN)..size_bytes))?;
    let trailer = PackTrailer::decode(&tail, size_bytes).map_err(damaged)?;
    let sealed = store.get(&path, Some(trailer.directory_range()))?;
    let mut value = describe::directory(&open_directory(repository.keys(), &trailer, &sealed).map_err(damaged)?);
    value["id"] = json!(path.name());
    value["size"] = json!(size_bytes);
    Ok(value)
}

fn master_keys(repository: &Repository) -> Value {
    let encoded = repository.keyring().encode();
    let (entries, _) = encoded.as_chunks::<36>();
    entries
        .iter()
        .map(|entry| {
            let (epoch, key) = entry.split_first_chunk::<4>().expect("an entry has 36 bytes");
            json!({ "epoch": u32::from_le_bytes(*epoch), "key": hex(key) })
        })
        .collect()
}

fn object(repository: &Repository, folder: &str, id: &str) -> Result<(ObjectPath, bytes::Bytes)> {
    let path = find(repository, folder, id)?;
    let bytes = repository.store().get(&path, None)?;
    Ok((path, bytes))
}

/// The id that is an object's name.
fn named<T: std::str::FromStr>(path: &ObjectPath) -> Result<T> {
    Ok(path.name().parse().map_err(|_| Error::new(ErrorKind::Damaged, path, "not an id"))?)
}

/// The object in a folder whose name begins like this.
fn find(repository: &Repository, folder: &str, start: &str) -> Result<ObjectPath> {
    let mut found: Vec<_> = repository.store().list(folder)?.into_iter().map(|(path, _)| path).collect();
    found.retain(|path| path.name().starts_with(start));
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Error::new(ErrorKind::NotFound, format!("{folder}{start}"), "there is none").into()),
        several => Err(Failure::usage(format!("{folder}{start}"), format!("the start of {several} names"))),
    }
}
