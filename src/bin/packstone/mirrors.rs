//! The mirrors of an open repository: connected when it is opened, brought up to date when a command has changed it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packstone::backend::{Backend, LocalBackend, Mirror, Mirrored, Unreachable};
use packstone::format::{MirrorMode, Placement};
use packstone::ops::{self, MirrorSyncOptions, MirrorSyncReport};
use packstone::repository::Repository;
use serde_json::json;

use crate::context::Context;
use crate::exit::{Failure, Result};
use crate::place::Place;
use crate::progress::Status;

/// Folder of the local cache that keeps where mirrors are: without the repository nobody could say.
const FOLDER: &str = "placements";

/// The mirrors of what was opened at this location before.
pub fn remembered(context: &Context, cache: Option<&Path>, location: &str) -> Result<Vec<Mirror>> {
    let Some(file) = file(cache, location)? else { return Ok(Vec::new()) };
    // What cannot be read is as good as forgotten.
    let placements = std::fs::read(file).ok().and_then(|text| serde_json::from_slice::<Vec<Placement>>(&text).ok());
    placements.unwrap_or_default().into_iter().map(|placement| connect(context, placement)).collect()
}

/// Keeps where mirrors are, for when the place that was opened cannot be reached; whether they were known already.
fn remember(cache: Option<&Path>, location: &str, placements: &[Placement]) -> Result<bool> {
    let Some(file) = file(cache, location)? else { return Ok(false) };
    if placements.is_empty() {
        // It hardly ever is there.
        let _ = std::fs::remove_file(file);
        return Ok(false);
    }
    let text = serde_json::to_vec(placements).map_err(|e| Failure::usage("mirrors", e))?;
    if std::fs::read(&file).is_ok_and(|kept| kept == text) {
        return Ok(true);
    }
    // A cache that cannot be written costs nothing but this.
    let write = || {
        std::fs::create_dir_all(file.parent()?).ok()?;
        let temporary = file.with_extension(std::process::id().to_string());
        std::fs::write(&temporary, &text).ok()?;
        std::fs::rename(&temporary, &file).ok()
    };
    let _ = write();
    Ok(false)
}

fn file(cache: Option<&Path>, location: &str) -> Result<Option<PathBuf>> {
    let Some(cache) = cache else { return Ok(None) };
    let name = blake3::hash(absolute(location)?.as_bytes()).to_hex();
    Ok(Some(cache.join(FOLDER).join(name.as_str())))
}

/// Reads the list of placements and connects to all but the one that was opened.
pub fn attach(context: &Context, repository: &Repository, mirrored: &Mirrored, cache: Option<&Path>) -> Result<()> {
    if mirrored.reads_from().is_some() {
        return Ok(());
    }
    let mirrors = repository.mirrors()?;
    let Some(list) = mirrors.list else {
        mirrored.attach(Vec::new());
        return remember(cache, &repository.location(), &[]).map(drop);
    };
    let mut others = list.placements;
    // A list holds one at least.
    let primary = others.remove(0);
    if let Some(mark) = mirrors.mark {
        others.retain(|placement| placement.name != mark.name);
        mirrored.refuse_writes(format!(
            "is the mirror {} of {}, and only `mirror sync` there writes to it (`packstone mirror promote` makes it the primary)",
            mark.name, primary.address
        ));
        others.insert(0, primary);
    }
    if remember(cache, &repository.location(), &others)? {
        // They were connected to when it was opened.
        return Ok(());
    }
    let connected = others.into_iter().map(|placement| connect(context, placement)).collect::<Result<Vec<_>>>()?;
    mirrored.attach(connected);
    Ok(())
}

/// A mirror that cannot be opened, such as an unplugged disk, is one that is down.
fn connect(context: &Context, placement: Placement) -> Result<Mirror> {
    let options = options(context, &placement)?;
    let backend = Place::parse(&placement.address, &options).and_then(|place| context.connect(place));
    let backend = backend.unwrap_or_else(|failure| {
        Arc::new(Unreachable::new(&placement.address, failure.to_string())) as Arc<dyn Backend>
    });
    Ok(Mirror { name: placement.name, mode: placement.mode, backend })
}

/// Options of a placement: those in the list, then those of `--mirror-option`.
pub fn options(context: &Context, placement: &Placement) -> Result<Vec<String>> {
    let mut options: Vec<String> = placement.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    for option in &context.global.mirror_option {
        let Some((name, pair)) = option.split_once(':').filter(|(_, pair)| pair.contains('=')) else {
            return Err(Failure::usage("--mirror-option", "is written NAME:KEY=VALUE"));
        };
        if name == placement.name {
            options.push(pair.to_owned());
        }
    }
    Ok(options)
}

/// The backend of a place that becomes a mirror; a folder is created.
pub fn create(context: &Context, placement: &Placement) -> Result<Arc<dyn Backend>> {
    match Place::parse(&placement.address, &options(context, placement)?)? {
        Place::Local(path) => match context.wait(LocalBackend::open(path.clone())) {
            Ok(backend) => Ok(Arc::new(backend)),
            Err(failure) if failure.kind() == packstone::ErrorKind::NoRepository => {
                Ok(Arc::new(context.wait(LocalBackend::create(path))?))
            }
            Err(failure) => Err(failure),
        },
        #[cfg(feature = "cloud")]
        place => context.connect(place),
    }
}

/// An address that means the same from every folder.
pub fn absolute(address: &str) -> Result<String> {
    match Place::parse(address, &[])? {
        Place::Local(path) => {
            let path = std::path::absolute(&path).map_err(|e| packstone::Error::io(path.display(), e))?;
            let text = |path: PathBuf| path.into_os_string().into_string();
            text(path).map_err(|path| Failure::usage(path.display(), "is not text, as the list of mirrors needs it"))
        }
        #[cfg(feature = "cloud")]
        Place::Cloud(address) => Ok(address.to_string()),
    }
}

/// After a command: mends what was found damaged, brings mirrors of mode sync up to date if anything changed, and says which
/// mirrors are behind. None of this changes the exit code: the repository itself has what it was given.
pub fn finish(context: &Context, repository: &Repository) {
    let Ok(mirrored) = repository.mirrored() else { return };
    let output = &context.output;
    if let Some((name, why)) = mirrored.reads_from() {
        output.note(&format!("read from the mirror {name}: {why}"));
        return;
    }
    match context.wait(ops::mirror_heal(repository)) {
        Ok(all) => {
            for healed in all {
                match healed.from {
                    Ok(name) => output.note(&format!("{}: mended from the mirror {name}", healed.path)),
                    Err(error) => output.problem(healed.path.as_str(), &format!("was not mended: {error}")),
                }
            }
        }
        Err(failure) => output.problem(failure.object(), &failure.to_string()),
    }
    if !mirrored.take_changed() {
        return;
    }
    if mirrored.mirrors().iter().any(|mirror| mirror.mode == MirrorMode::Sync) {
        let options = MirrorSyncOptions { mode: Some(MirrorMode::Sync), ..MirrorSyncOptions::default() };
        let progress = context.progress(Status::Hidden);
        let reports = context.wait(ops::mirror_sync(repository, options, progress.clone()));
        progress.finish();
        // Closing the session of the sync is no change that mirrors should have.
        mirrored.take_changed();
        match reports {
            Ok(reports) => reports.iter().for_each(|report| say(context, report)),
            Err(failure) => output.problem("mirrors", &behind(&failure.to_string())),
        }
    }
}

fn say(context: &Context, report: &MirrorSyncReport) {
    let object = format!("mirror {}", report.name);
    match &report.error {
        Some(error) => context.output.problem(&object, &behind(&error.to_string())),
        None if context.output.is_json() => {
            let text = json!({ "message_type": "mirror_synced", "name": report.name }).to_string();
            crate::output::Output::standard_error(&text);
        }
        None if context.output.is_verbose() => context.output.note(&format!("{object} is up to date")),
        None => {}
    }
}

fn behind(why: &str) -> String {
    format!("is behind: {why}; `packstone mirror sync` catches up")
}
