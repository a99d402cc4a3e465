//! Snapshots and other objects as JSON, with restic's names where it has them.

use std::collections::BTreeMap;

use packstone::format::{
    Codec, Config, GcRecord, IndexContent, NamedRoot, PackDirectory, RetentionClass, SlotDescription, SlotMethod,
    Snapshot, Status,
};
use packstone::id::{KeySlotId, hex};
use packstone::record::{self, datom};
use packstone::repository::OpenSession;
use serde_json::{Map, Value, json};

use crate::time::rfc3339;

/// A snapshot.
pub fn snapshot(snapshot: &Snapshot) -> Value {
    let paths: Vec<_> = snapshot.sources.iter().map(|source| source.location.as_str()).collect();
    let skipped: Vec<_> = snapshot.skipped.iter().map(|(item, why)| json!({ "item": item, "message": why })).collect();
    json!({
        "id": snapshot.id.to_string(),
        "short_id": snapshot.id.short(),
        "time": rfc3339(snapshot.time_ms),
        "parent": snapshot.parent.map(|id| id.to_string()),
        "tree": snapshot.roots.first().and_then(|root| root.id).map(|id| id.to_string()),
        "paths": paths,
        "hostname": snapshot.host,
        "username": snapshot.user,
        "label": snapshot.label,
        "tags": snapshot.tags,
        "program_version": snapshot.program,
        "status": status(snapshot),
        "class": class(snapshot.class),
        "sources": snapshot.sources.iter().map(|source| json!({
            "location": source.location,
            "options": pairs(&source.options),
            "consistency_point": source.consistency_point,
            "atomic": source.atomic,
        })).collect::<Vec<_>>(),
        "roots": snapshot.roots.iter().map(root).collect::<Vec<_>>(),
        "properties": pairs(&snapshot.properties),
        "gc_checked": snapshot.gc_checked,
        "previous": snapshot.previous.map(|hash| hex(&hash)),
        "skipped": skipped,
        "skipped_count": snapshot.skipped_count,
        "summary": summary(snapshot),
    })
}

/// Figures of the run that made a snapshot.
fn summary(snapshot: &Snapshot) -> Value {
    let s = &snapshot.statistics;
    let mut summary = json!({ "backup_start": rfc3339(snapshot.time_ms) });
    let mut bytes = s.bytes_read;
    if !is_of_files(snapshot) {
        summary["datoms_new"] = json!(s.records_new);
        summary["datoms_removed"] = json!(s.records_removed);
        summary["datoms_unmodified"] = json!(s.records_unmodified);
        summary["duplicates"] = json!(s.duplicates);
    } else {
        for (name, number) in &s.figures {
            match name.as_str() {
                "total_files" => summary["total_files_processed"] = json!(number),
                "total_bytes" => bytes = *number,
                name => summary[name] = json!(number),
            }
        }
        summary["paths_removed"] = json!(s.records_removed);
        summary["bytes_read"] = json!(s.bytes_read);
    }
    summary["data_blobs"] = json!(s.blobs_added);
    summary["data_added"] = json!(s.bytes_added);
    summary["data_added_packed"] = json!(s.bytes_stored);
    summary["packs_written"] = json!(s.packs_written);
    summary["total_bytes_processed"] = json!(bytes);
    summary["total_duration"] = json!(s.duration_ms as f64 / 1000.0);
    summary["requests"] = numbers(&s.requests);
    summary
}

/// Whether a snapshot holds files.
pub fn is_of_files(snapshot: &Snapshot) -> bool {
    snapshot.roots.iter().any(|root| root.kind == record::RecordKind::code(&record::Entries))
}

/// `complete` or `partial`.
pub fn status(snapshot: &Snapshot) -> &'static str {
    match snapshot.status {
        Status::Complete => "complete",
        Status::Partial => "partial",
    }
}

/// A root of a snapshot.
pub fn root(root: &NamedRoot) -> Value {
    let mut value = json!({
        "name": root.name,
        "kind": kind(root),
        "id": root.id.map(|id| id.to_string()),
        "level": root.level,
        "records": root.records,
        "row_bytes": root.row_bytes,
        "digest": hex(&root.digest),
    });
    if let Some(bounds) = bounds(root) {
        value["t_min"] = json!(bounds.t_min);
        value["t_max"] = json!(bounds.t_max);
        value["e_min"] = json!(bounds.e_min);
        value["e_max"] = json!(bounds.e_max);
        value["retractions"] = json!(bounds.retractions);
    }
    value
}

/// The kind of a root's records, by name.
pub fn kind(root: &NamedRoot) -> String {
    record::kind(root.kind).map_or_else(|_| format!("kind {}", root.kind), |kind| kind.name().to_owned())
}

/// What a root of datoms says about them.
pub fn bounds(root: &NamedRoot) -> Option<datom::Summary> {
    let datoms = record::kind(root.kind).is_ok_and(|kind| kind.code() == record::RecordKind::code(&datom::Datoms));
    let summary = datom::Summary::decode(&root.summary).ok().filter(|_| datoms && root.records > 0)?;
    Some(summary)
}

/// The repository's parameters.
pub fn config(config: &Config) -> Value {
    json!({
        "id": config.id.to_string(),
        "created": rfc3339(config.created_ms),
        "chunker": {
            "min_bytes": config.chunker.min_bytes,
            "average_bytes": config.chunker.average_bytes,
            "max_bytes": config.chunker.max_bytes,
        },
        "inline_value_max_bytes": config.inline_value_max_bytes,
        "conditional_put": config.conditional_put,
    })
}

/// A key slot.
pub fn key_slot(id: KeySlotId, current: bool, description: &SlotDescription, method: SlotMethod) -> Value {
    let mut value = json!({
        "id": id.to_string(),
        "current": current,
        "label": description.label,
        "hostName": description.host,
        "userName": description.user,
        "created": rfc3339(description.created_ms),
        "method": method_name(method),
    });
    if let SlotMethod::Password(kdf) = method {
        value["kdf"] =
            json!({ "name": "argon2id", "memory_kib": kdf.memory_kib, "passes": kdf.passes, "lanes": kdf.lanes });
    }
    value
}

/// `password` or `key file`.
pub fn method_name(method: SlotMethod) -> &'static str {
    match method {
        SlotMethod::Password(_) => "password",
        SlotMethod::KeyFile => "key file",
    }
}

/// A pack's directory.
pub fn directory(directory: &PackDirectory) -> Value {
    let frames = directory.frames.iter().map(|frame| {
        let blobs = frame.blobs.iter().map(|blob| {
            json!({
                "id": blob.id.to_string(),
                "type": match blob.kind {
                    packstone::format::BlobKind::Chunk => "chunk",
                    packstone::format::BlobKind::Node => "node",
                },
                "length": blob.content_len,
                "stored_length": blob.stored_len,
            })
        });
        json!({
            "offset": frame.offset,
            "length": frame.sealed_len,
            "uncompressed_length": frame.raw_len,
            "codec": match frame.codec {
                Codec::Raw => "raw",
                Codec::Zstd => "zstd",
                Codec::ZstdDelta => "zstd delta",
            },
            "epoch": frame.epoch,
            "base": frame.base.map(|id| id.to_string()),
            "blobs": blobs.collect::<Vec<_>>(),
        })
    });
    json!({ "class": class(directory.class), "frames": frames.collect::<Vec<_>>() })
}

/// An index object.
pub fn index(content: &IndexContent) -> Value {
    let packs = content.packs.iter().map(|pack| {
        let mut value = directory(&pack.directory);
        value["id"] = json!(pack.id.to_string());
        value["size"] = json!(pack.size_bytes);
        value
    });
    let replaces: Vec<_> = content.replaces.iter().map(ToString::to_string).collect();
    json!({ "packs": packs.collect::<Vec<_>>(), "supersedes": replaces })
}

/// A record of condemned packs.
pub fn gc(record: &GcRecord) -> Value {
    let condemned: Vec<_> = record.condemned.iter().map(ToString::to_string).collect();
    json!({ "n": record.n, "time": rfc3339(record.time_ms), "by": record.by, "condemned": condemned })
}

/// An open session.
pub fn session(session: &OpenSession) -> Value {
    let record = session.record.as_ref();
    json!({
        "id": session.id.to_string(),
        "hostname": record.map(|r| r.host.as_str()),
        "pid": record.map(|r| r.process_id),
        "started": record.map(|r| rfc3339(r.started_ms)),
        "program_version": record.map(|r| r.program.as_str()),
        "last_alive": rfc3339(session.last_alive_ms),
        "acknowledged_gc": session.acknowledged_gc,
        "is_dead": session.is_dead(),
        "objects": session.objects.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// What was noted, and how often.
pub fn notes<'a>(notes: impl IntoIterator<Item = (&'a String, &'a u64)>) -> Value {
    notes.into_iter().map(|(what, count)| json!({ "note": what, "count": count })).collect()
}

fn class(class: RetentionClass) -> &'static str {
    match class {
        RetentionClass::Standard => "standard",
        RetentionClass::Short => "short",
        RetentionClass::Long => "long",
    }
}

fn pairs(pairs: &[(String, String)]) -> Value {
    pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect::<Map<_, _>>().into()
}

fn numbers(pairs: &[(String, u64)]) -> Value {
    json!(pairs.iter().cloned().collect::<BTreeMap<_, _>>())
}
