//! What the index lists, and what the backend does.

use std::collections::HashSet;
use std::sync::PoisonError;

use super::Check;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{IndexContent, ObjectPath};
use crate::id::{IndexId, PackId};

/// How often a listing is repeated when an object of it is gone on reading.
const LISTINGS: usize = 5;

impl Check<'_> {
    /// Reads every index object from the backend, and makes the index in memory what those say that open, whatever a
    /// cache holds.
    pub(super) fn load_index(&mut self) -> Result<()> {
        for _ in 0..LISTINGS {
            if self.try_load_index()? {
                let condemned: Vec<PackId> = self.condemned.iter().copied().collect();
                let mut index = self.repository().index().write().unwrap_or_else(PoisonError::into_inner);
                index.condemn(&condemned);
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Transient, "index", "changes faster than it can be read"))
    }

    /// False when an object vanished between listing and reading.
    fn try_load_index(&mut self) -> Result<bool> {
        self.indexed.clear();
        let mut bad = Vec::new();
        let mut good: HashSet<IndexId> = HashSet::new();
        for (path, _) in self.repository().store().list("index/")? {
            let Ok(id) = path.name().parse::<IndexId>() else {
                bad.push((path, "not an index object".to_owned(), false));
                continue;
            };
            let keys = self.repository().keys();
            let whole = |object: &[u8]| IndexContent::open(keys, id, object).is_ok();
            let object = match self.repository().store().get_checked(&path, None, whole) {
                Ok(object) => object,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                Err(error) if super::is_about_data(&error) => {
                    bad.push((path, error.message().to_owned(), true));
                    continue;
                }
                Err(error) => return Err(error),
            };
            match IndexContent::open(self.repository().keys(), id, &object) {
                Ok(content) => {
                    let mut index = self.repository().index().write().unwrap_or_else(PoisonError::into_inner);
                    index.add_object(id, &content.packs)?;
                    drop(index);
                    self.indexed.extend(content.packs.iter().map(|pack| (pack.id, pack.size_bytes)));
                    good.insert(id);
                }
                Err(why) => bad.push((path, why.to_string(), true)),
            }
        }
        let mut index = self.repository().index().write().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<IndexId> = index.known_objects().iter().filter(|id| !good.contains(id)).copied().collect();
        for id in gone {
            index.remove_object(&id)?;
        }
        drop(index);
        for (path, message, is_damage) in bad {
            if is_damage {
                self.report.suggest_repair_index = true;
                self.damage(path, message);
            } else {
                self.note(path, message);
            }
        }
        Ok(true)
    }

    /// Lists everything, and compares the packs with the index.
    pub(super) fn list_objects(&mut self) -> Result<()> {
        for (path, stat) in self.repository().store().list("")? {
            match place(&path) {
                Place::Pack(id) => {
                    self.stored.insert(id, stat.size_bytes);
                }
                Place::Known => {}
                Place::Unknown if self.does_the_rest() => self.note(path, "not an object of this repository"),
                Place::Unknown => {}
            }
        }
        self.leave_out_condemned();
        if !self.does_the_rest() {
            return Ok(());
        }
        for path in self.repository().store().list_unknown()? {
            self.note(path, "not an object of this repository");
        }
        self.waste();
        Ok(())
    }

    fn leave_out_condemned(&mut self) {
        let dead: Vec<PackId> = self.indexed.keys().filter(|id| self.condemned.contains(id)).copied().collect();
        for id in dead {
            self.indexed.remove(&id);
        }
    }

    fn waste(&mut self) {
        let mut waste: Vec<(PackId, &str)> = Vec::new();
        for id in self.stored.keys() {
            if self.condemned.contains(id) {
                waste.push((*id, "condemned and not removed yet"));
            } else if !self.indexed.contains_key(id) {
                waste.push((*id, "in no index object: of an unfinished backup, or the index is incomplete"));
            }
        }
        waste.sort_unstable();
        for (id, message) in waste {
            self.report.suggest_prune = true;
            self.note(ObjectPath::pack(id), message);
        }
    }
}

enum Place {
    Pack(PackId),
    Known,
    Unknown,
}

/// What an object at this path would be. Those in the known folders but packs are looked at where they are read.
fn place(path: &ObjectPath) -> Place {
    let folder = path.as_str().split_once('/').map(|(folder, _)| folder);
    match folder {
        Some("packs") => match path.name().parse() {
            Ok(id) if ObjectPath::pack(id) == *path => Place::Pack(id),
            _ => Place::Unknown,
        },
        Some(folder) if ObjectPath::FOLDERS.contains(&folder) => Place::Known,
        None if *path == ObjectPath::config() => Place::Known,
        _ => Place::Unknown,
    }
}
