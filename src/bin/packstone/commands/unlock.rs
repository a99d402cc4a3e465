//! `unlock`: there are no locks.

use serde_json::json;

use crate::context::Context;
use crate::exit::{Code, Result};

pub fn run(context: &Context) -> Result<Code> {
    context.output.json(&json!({ "message_type": "summary", "locks": [] }))?;
    context.output.line(
        "There is nothing to unlock: packstone has no locks. Backups, checks and prunes may run at the same time, and what \
         an interrupted backup leaves behind stops nobody; `packstone prune` tidies it up.",
    )?;
    Ok(Code::Ok)
}
