//! Interruption: one line, and out. There is nothing to undo.

use std::sync::{Arc, Mutex, Once};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use packstone::Error;
use packstone::ops::Stop;

use crate::bill::Bill;
use crate::exit::{Code, Result};
use crate::output::Output;

/// What is done at the first signal instead of ending.
static INSTEAD: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// At the next signal does this and goes on; the one after that ends the program.
pub fn instead(act: impl FnOnce() + Send + 'static) {
    *INSTEAD.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Box::new(act));
}

/// Ends what follows a database after what is under way, from when it does follow; before, there is nothing to wait for.
pub struct Graceful {
    stop: Stop,
    output: Arc<Output>,
    begun: Once,
}

impl Graceful {
    pub fn new(stop: Stop, output: Arc<Output>) -> Self {
        Self { stop, output, begun: Once::new() }
    }

    /// From now on the first signal is heeded after what is under way.
    pub fn begin(&self) {
        self.begun.call_once(|| {
            let (stop, output) = (self.stop.clone(), self.output.clone());
            instead(move || {
                output.note("ending after what is under way; a second signal ends at once");
                stop.ask();
            });
        });
    }
}

/// Ends the program when it is told to: what is stored stays, and the next run continues with it.
pub fn watch(runtime: &Runtime, output: Arc<Output>, bill: Arc<Bill>) -> Result<()> {
    let _inside = runtime.enter();
    for (kind, code) in [(SignalKind::interrupt(), Code::Interrupted), (SignalKind::terminate(), Code::Terminated)] {
        let mut signal = signal(kind).map_err(|e| Error::io("signals", e))?;
        let (output, bill) = (output.clone(), bill.clone());
        runtime.spawn(async move {
            while signal.recv().await.is_some() {
                let instead = INSTEAD.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
                if let Some(act) = instead {
                    act();
                    continue;
                }
                let message = "interrupted; nothing needs undoing, running the same command again continues";
                bill.print(&output);
                output.error(message, None);
                output.exit_error(code, message, None);
                std::process::exit(code as i32);
            }
        });
    }
    Ok(())
}
