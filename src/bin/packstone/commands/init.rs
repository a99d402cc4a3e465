//! `init`: creating a repository.

use clap::Args;
use packstone::format::ChunkerParameters;
use packstone::repository::CreateOptions;
use serde_json::json;

use crate::args::FromRepository;
use crate::commands::doctor::{self, Shown};
use crate::context::{AllowWeak, Context};
use crate::exit::{Code, Failure, Result};

/// Create a repository
///
/// Creates a repository at the path that -r names, locked by a password or a key file. An object store is probed first: one
/// that does not keep what the repository counts on is refused. `packstone doctor` probes again.
///
/// Without the password or key file nobody can read the repository: keep a copy of it elsewhere, and add a second one
/// with `packstone key add`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Name of the first key slot, shown by `key list`
    #[arg(long, value_name = "TEXT", default_value = "")]
    key_label: String,
    /// Take the sizes at which content is cut from the repository that --from-repo names. Where it is cut still differs, since
    /// that follows from the keys: `copy` cuts anew, so that copies and backups here share what they can
    #[arg(long)]
    copy_chunker_params: bool,
    /// Also on a store that cannot create an object only if it is absent, such as WebDAV: nothing else may run while
    /// `prune` does
    #[arg(long)]
    allow_weak: bool,
    #[command(flatten)]
    from: FromRepository,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    if !arguments.copy_chunker_params
        && (arguments.from.from_repo.is_some() || arguments.from.from_repository_file.is_some())
    {
        return Err(Failure::usage("--from-repo", "says nothing here without --copy-chunker-params"));
    }
    let chunker = match arguments.copy_chunker_params {
        true => context.open_from(&arguments.from)?.config().chunker,
        false => ChunkerParameters::default(),
    };
    let options = CreateOptions { key_label: arguments.key_label, chunker, ..Default::default() };
    let weak = if arguments.allow_weak { AllowWeak::Yes } else { AllowWeak::No };
    let (repository, probe) = context.create(options, weak)?;
    let mut value = json!({
        "message_type": "initialized",
        "id": repository.id().to_string(),
        "repository": repository.location(),
        "protocol": if repository.can_fence() { "full" } else { "weak" },
    });
    if let Some(probe) = &probe {
        value["probe"] = doctor::probe_json(probe);
    }
    context.output.json(&value)?;
    context.output.info(format!(
        "created packstone repository {} at {}",
        repository.id().short(),
        repository.location()
    ))?;
    if let Some(probe) = &probe {
        doctor::show_probe(&context.output, probe, Shown::Briefly)?;
    }
    if !repository.can_fence() {
        context.output.note(doctor::WEAK);
    }
    context.output.info("Without its password or key file nobody can read it, you included: keep a copy elsewhere.")?;
    Ok(Code::Ok)
}
