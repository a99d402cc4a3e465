//! `init`: creating a repository.

use clap::Args;
use packstone::repository::CreateOptions;
use serde_json::json;

use crate::context::Context;
use crate::exit::{Code, Result};

/// Create a repository
///
/// Creates a repository at the path that -r names, locked by a password or a key file.
///
/// Without the password or key file nobody can read the repository: keep a copy of it elsewhere, and add a second one
/// with `packstone key add`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Name of the first key slot, shown by `key list`
    #[arg(long, value_name = "TEXT", default_value = "")]
    key_label: String,
}

pub fn run(context: &Context, arguments: Arguments) -> Result<Code> {
    let repository = context.create(CreateOptions { key_label: arguments.key_label, ..Default::default() })?;
    context.output.json(&json!({
        "message_type": "initialized",
        "id": repository.id().to_string(),
        "repository": repository.location(),
    }))?;
    context.output.info(format!(
        "created packstone repository {} at {}",
        repository.id().short(),
        repository.location()
    ))?;
    context.output.info("Without its password or key file nobody can read it, you included: keep a copy elsewhere.")?;
    Ok(Code::Ok)
}
