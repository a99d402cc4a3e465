//! Interruption: one line, and out. There is nothing to undo.

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use packstone::Error;

use crate::exit::{Code, Result};
use crate::output::Output;

/// Ends the program when it is told to: what is stored stays, and the next run continues with it.
pub fn watch(runtime: &Runtime, output: std::sync::Arc<Output>) -> Result<()> {
    let _inside = runtime.enter();
    for (kind, code) in [(SignalKind::interrupt(), Code::Interrupted), (SignalKind::terminate(), Code::Terminated)] {
        let mut signal = signal(kind).map_err(|e| Error::io("signals", e))?;
        let output = output.clone();
        runtime.spawn(async move {
            if signal.recv().await.is_some() {
                let message = "interrupted; nothing needs undoing, running the same command again continues";
                output.error(message);
                output.exit_error(code, message);
                std::process::exit(code as i32);
            }
        });
    }
    Ok(())
}
