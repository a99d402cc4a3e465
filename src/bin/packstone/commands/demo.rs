//! `demo`: placeholder until the next step.
use clap::Args;

use crate::context::Context;
use crate::exit::{Code, Result};

/// Shows it all at work in a new folder.
#[derive(Args, Debug)]
pub struct Arguments {}

pub fn run(_: &Context, _: Arguments) -> Result<Code> {
    Ok(Code::Ok)
}
