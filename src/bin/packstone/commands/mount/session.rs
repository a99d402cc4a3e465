//! Mounting, serving, unmounting.

use std::process::{Command, Stdio};
use std::sync::Arc;

use fuser::{Config, MountOption, Session, SessionACL};
use packstone::Error;
use packstone::format::Snapshot;
use packstone::ops::FileTree;
use packstone::repository::machine;
use serde_json::json;

use super::Arguments;
use super::attributes::Ownership;
use super::filesystem::{Handles, Mounted, above};
use super::inodes::Inodes;
use super::names::Names;
use super::snapshots::Snapshots;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::counted;
use crate::{reference, signals};

/// Threads that answer the kernel.
const THREADS: usize = 2;

/// Serves until it is unmounted.
pub fn run(context: &Context, arguments: &Arguments) -> Result<Code> {
    let mount_point = &arguments.mount_point;
    if !mount_point.is_dir() {
        return Err(Failure::usage(mount_point.display(), "there is no such directory to mount on"));
    }
    let repository = context.open()?;
    let (mut live, _) = reference::live(context, repository.snapshots()?);
    let filter = arguments.filters.to_filter();
    live.retain(|snapshot| filter.allows(&packstone::ops::Summary::from(snapshot)));
    let all = live.len();
    live.retain(FileTree::is_in);
    if live.len() < all {
        let left_out = counted((all - live.len()) as u64, "snapshot");
        context.output.note(&format!("{left_out} without files left out; `restore` and `dump` read those"));
    }
    // After the snapshots, so that it has everything they reach.
    repository.load_index(&repository.gc_records()?)?;
    let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let names = Names::new(&live, arguments.time_template.as_deref())?;
    let shown = live.len() as u64;
    let newest = live.iter().map(|snapshot: &Snapshot| snapshot.time_ms).max().unwrap_or_else(machine::now_ms);
    let snapshots = Snapshots::new(repository.reader(), live, names.leaves.clone(), owner);
    let mounted = Mounted {
        names,
        snapshots,
        inodes: Inodes::default(),
        ownership: if arguments.owner_root { Ownership::Root } else { Ownership::Kept },
        above: above(newest, owner),
        output: Arc::clone(&context.output),
        handles: Handles::default(),
    };
    let failed = |error| Failure::from(Error::io(mount_point.display(), error));
    let mut session = Session::new(mounted, mount_point, &options(arguments))
        .map_err(|e| failed(e).hint("mounting needs /dev/fuse, and fusermount3 for other users than root"))?;
    let mut unmounter = session.unmount_callable();
    let place = mount_point.clone();
    signals::instead(move || {
        if unmounter.unmount().is_err() {
            // It is in use: nobody new gets in, and it goes when the last one leaves.
            let mut lazily = Command::new("fusermount3");
            let _ = lazily.args(["-u", "-z", "--"]).arg(place).stderr(Stdio::null()).status();
        }
    });
    context.output.json(&json!({
        "message_type": "mounted",
        "mount_point": mount_point.display().to_string(),
        "snapshots": shown,
    }))?;
    context.output.info(format!("{} at {}, until Ctrl-C", counted(shown, "snapshot"), mount_point.display()))?;
    session.run().map_err(failed)?;
    context.output.info(format!("unmounted {}", mount_point.display()))?;
    Ok(Code::Ok)
}

fn options(arguments: &Arguments) -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::FSName("packstone".to_owned()),
        MountOption::Subtype("packstone".to_owned()),
        MountOption::NoAtime,
        MountOption::NoDev,
        MountOption::NoSuid,
    ];
    if arguments.allow_other {
        config.acl = SessionACL::All;
        if !arguments.no_default_permissions {
            config.mount_options.push(MountOption::DefaultPermissions);
        }
    }
    config.n_threads = Some(THREADS);
    config
}
