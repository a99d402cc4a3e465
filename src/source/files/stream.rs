//! Sources that are not on a disk: standard input, and what a command writes.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::error::{Error, ErrorKind, Result};

/// Bytes that come once, in order.
pub struct Stream {
    source: Source,
}

enum Source {
    Stdin(io::Stdin),
    Command { name: String, child: Child, output: ChildStdout, reaped: bool },
}

impl Stream {
    /// Standard input.
    pub fn stdin() -> Self {
        Self { source: Source::Stdin(io::stdin()) }
    }

    /// What a command writes to its standard output; the rest of its input and output are ours. The first word is the program.
    pub fn command(words: &[OsString]) -> Result<Self> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(Error::new(ErrorKind::Usage, "command", "no program named"));
        };
        let name = words.join(OsStr::new(" ")).to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| Error::io(&name, error))?;
        let output = child.stdout.take().expect("it was asked for above");
        Ok(Self { source: Source::Command { name, child, output, reaped: false } })
    }

    /// Waits for a command to end; an error unless it ended well. To be called when all was read: what it still wants to write
    /// then finds nobody reading.
    pub fn finish(mut self) -> Result<()> {
        let Source::Command { name, child, reaped, .. } = &mut self.source else { return Ok(()) };
        let status = child.wait().map_err(|error| Error::io(&*name, error))?;
        *reaped = true;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Failed, name, format_args!("the command failed: {status}")))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.source {
            Source::Stdin(input) => input.read(buffer),
            Source::Command { output, .. } => output.read(buffer),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Source::Command { child, reaped: false, .. } = &mut self.source {
            // Nobody is left to tell, and a child that has ended on its own is what was wanted.
            let _: io::Result<()> = child.kill();
            let _ = child.wait();
        }
    }
}
