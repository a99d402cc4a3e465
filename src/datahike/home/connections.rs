//! Connections to a server that may break: a few idle ones are kept, and what failed because one broke is done again.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// The waits before what broke is tried again.
const WAITS_MS: [u64; 7] = [100, 250, 500, 1000, 2000, 4000, 8000];
/// More idle connections than this are closed.
const IDLE_MOST: usize = 4;

/// Why a request did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection broke, or the server asked to come back: works when tried again.
    Passing(String),
    /// The server will answer the same again.
    Lasting(ErrorKind, String),
}

/// Opens connections to one server.
pub(super) trait Connect: Send + Sync {
    /// An open connection.
    type Connection: Send;

    /// A new connection that can be used.
    fn connect(&self) -> Result<Self::Connection, Failure>;
}

/// The connections to one server.
pub(super) struct Connections<C: Connect> {
    connect: C,
    name: String,
    idle: Mutex<Vec<C::Connection>>,
    /// Whether the server has ever answered: before that, a server that is not there is a typing mistake.
    answered: AtomicBool,
}

impl<C: Connect> Connections<C> {
    /// To the server that `name` says; connects when first needed.
    pub(super) fn new(connect: C, name: String) -> Self {
        Self { connect, name, idle: Mutex::default(), answered: AtomicBool::new(false) }
    }

    /// The server's name, without secrets.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Does `work`, again on a new connection where one broke. Errors name `what`.
    pub(super) fn run<T>(
        &self,
        what: &dyn Display,
        mut work: impl FnMut(&mut C::Connection) -> Result<T, Failure>,
    ) -> crate::error::Result<T> {
        let mut waits_ms = WAITS_MS.into_iter();
        loop {
            let failure = match self.attempt(&mut work) {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let error = |kind, message: String| Error::new(kind, format!("{}: {what}", self.name), message);
            match (failure, waits_ms.next().filter(|_| self.answered.load(Ordering::Relaxed))) {
                (Failure::Lasting(kind, message), _) => return Err(error(kind, message)),
                (Failure::Passing(message), None) => return Err(error(ErrorKind::Transient, message)),
                (Failure::Passing(message), Some(wait_ms)) => {
                    tracing::debug!(server = self.name, %message, wait_ms, "connecting again");
                    // Connections opened before may have broken with this one.
                    self.idle().clear();
                    thread::sleep(Duration::from_millis(wait_ms));
                }
            }
        }
    }

    fn attempt<T>(&self, work: &mut impl FnMut(&mut C::Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let kept = self.idle().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect.connect()?,
        };
        self.answered.store(true, Ordering::Relaxed);
        // A connection on which anything failed may be in the middle of an answer: it is not kept.
        let value = work(&mut connection)?;
        let mut idle = self.idle();
        if idle.len() < IDLE_MOST {
            idle.push(connection);
        }
        Ok(value)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<C::Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::AtomicU32;

    use super::*;

    /// Connections are numbered.
    #[derive(Default)]
    struct Server {
        opened: AtomicU32,
        is_down: AtomicBool,
    }

    impl Connect for Server {
        type Connection = u32;

        fn connect(&self) -> Result<u32, Failure> {
            if self.is_down.load(Ordering::Relaxed) {
                return Err(Failure::Passing("connection refused".into()));
            }
            Ok(self.opened.fetch_add(1, Ordering::Relaxed))
        }
    }

    #[test]
    fn a_broken_connection_is_replaced_and_a_sound_one_kept() {
        let connections = Connections::new(Server::default(), "x".into());
        for _ in 0..3 {
            assert_eq!(connections.run(&"blob", |connection| Ok(*connection)).unwrap(), 0);
        }
        let broken_once = |connection: &mut u32| match *connection {
            0 => Err(Failure::Passing("broken pipe".into())),
            other => Ok(other),
        };
        assert_eq!(connections.run(&"blob", broken_once).unwrap(), 1);
    }

    #[test]
    fn what_lasts_is_not_tried_again_and_neither_is_a_server_that_never_was() {
        let connections = Connections::new(Server::default(), "store".into());
        let mut tries = 0;
        let denied = connections.run::<()>(&"blob 7", |_| {
            tries += 1;
            Err(Failure::Lasting(ErrorKind::Denied, "no".into()))
        });
        assert_eq!((tries, denied.unwrap_err().to_string().as_str()), (1, "store: blob 7: no"));
        let connections = Connections::new(Server::default(), "store".into());
        connections.connect.is_down.store(true, Ordering::Relaxed);
        let begun = std::time::Instant::now();
        let refused = connections.run(&"blob", |_| Ok(())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Transient);
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
