//! `key`: who can open the repository.

use clap::{Args, Subcommand};
use packstone::crypto::KdfParameters;
use packstone::id::KeySlotId;
use packstone::repository::{KeySlotInfo, Repository};
use packstone::{Error, ErrorKind};
use serde_json::json;

use crate::args::NewSecret;
use crate::context::Context;
use crate::exit::{Code, Failure, Result};
use crate::output::Column;
use crate::{describe, secrets, time};

/// Manage who can open the repository
///
/// Manages key slots: each holds the repository's keys, locked by a password or a key file.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List key slots; the one in use is marked with *
    List,
    /// Add a key slot
    Add {
        #[command(flatten)]
        new: NewSecret,
        /// Name of the slot
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
    },
    /// Remove a key slot; the last one stays
    ///
    /// Who has seen the repository's keys keeps them: removing a slot locks out those who have not.
    Remove {
        /// The slot: an id or the start of one
        id: String,
    },
    /// Replace the slot in use by one with a new password or key file
    Passwd {
        #[command(flatten)]
        new: NewSecret,
    },
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.open()?;
    match arguments.action {
        Action::List => list(context, &repository),
        Action::Add { new, label } => {
            let id = add(&repository, &new, &label)?;
            context.output.json(&json!({ "message_type": "key_added", "id": id.to_string() }))?;
            context.output.line(format!("added key slot {}", id.short()))?;
            Ok(Code::Ok)
        }
        Action::Remove { id } => {
            let id = find(&repository, &id)?;
            if id == repository.slot() {
                return Err(Failure::usage(format!("key slot {}", id.short()), "is the one in use")
                    .hint("open the repository with another password or key file to remove it"));
            }
            repository.remove_key_slot(id)?;
            context.output.json(&json!({ "message_type": "key_removed", "id": id.to_string() }))?;
            context.output.line(format!("removed key slot {}", id.short()))?;
            Ok(Code::Ok)
        }
        Action::Passwd { new } => passwd(context, &repository, &new),
    }
}

fn list(context: &Context, repository: &Repository) -> Result<Code> {
    let slots = repository.key_slots()?;
    let mut code = Code::Ok;
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for KeySlotInfo { id, current, slot, .. } in &slots {
        let mark = if *current { "*" } else { "" };
        match slot {
            Ok((description, method)) => {
                values.push(describe::key_slot(*id, *current, description, *method));
                rows.push(vec![
                    mark.to_owned(),
                    id.short(),
                    describe::method_name(*method).to_owned(),
                    description.label.clone(),
                    description.user.clone(),
                    description.host.clone(),
                    time::local(description.created_ms),
                ]);
            }
            Err(error) => {
                context.output.problem(error.object(), error.message());
                code = Code::from(error.kind());
            }
        }
    }
    context.output.json(&json!(values))?;
    let columns = ["", "ID", "Opens with", "Label", "User", "Host", "Created"].map(Column::Text);
    context.output.table(&columns, &rows)?;
    Ok(code)
}

fn add(repository: &Repository, new: &NewSecret, label: &str) -> Result<KeySlotId> {
    let secret = secrets::read_new(new)?;
    Ok(repository.add_key_slot(&secret, KdfParameters::default(), label)?)
}

/// The new slot first: at no moment is there none.
fn passwd(context: &Context, repository: &Repository, new: &NewSecret) -> Result<Code> {
    let old = repository.slot();
    let slots = repository.key_slots()?;
    let label =
        slots.iter().find(|slot| slot.id == old).and_then(|slot| Some(slot.slot.as_ref().ok()?.0.label.clone()));
    let id = add(repository, new, &label.unwrap_or_default())?;
    repository.remove_key_slot(old)?;
    context
        .output
        .json(&json!({ "message_type": "key_replaced", "id": id.to_string(), "removed": old.to_string() }))?;
    context.output.line(format!("replaced key slot {} by {}", old.short(), id.short()))?;
    Ok(Code::Ok)
}

fn find(repository: &Repository, start: &str) -> Result<KeySlotId> {
    let start = start.to_ascii_lowercase();
    let mut found: Vec<_> = repository.key_slots()?.into_iter().map(|slot| slot.id).collect();
    found.retain(|id| id.to_string().starts_with(&start));
    match found.as_slice() {
        [id] => Ok(*id),
        [] => Err(Failure::from(Error::new(ErrorKind::NotFound, format!("key slot {start}"), "there is none"))
            .hint("`packstone key list` lists them")),
        several => Err(Failure::usage(format!("key slot {start}"), format!("the start of {} ids", several.len()))),
    }
}
