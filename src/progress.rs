//! What a run tells while it works: an [`Observer`] is handed [`Event`]s.

/// Receives what happens during a run; called from several threads.
pub trait Observer: Send + Sync {
    /// Something happened. Must return quickly.
    fn event(&self, event: Event<'_>);
}

/// An observer that hears nothing.
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// Something that happened during a run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A new stage of the run has begun, e.g. "reading" or "walking trees"; `total` items or bytes are expected in it.
    Stage {
        /// Its name, as shown to people.
        name: &'a str,
        /// How many units it will take, where known.
        total: Option<u64>,
    },
    /// `done` units of the stage are finished so far (not an increment).
    Progress {
        /// Units finished since the stage began.
        done: u64,
    },
    /// So many files, of so many bytes, of the stage are finished so far.
    Files {
        /// Files since the stage began.
        files: u64,
        /// Their bytes, and those of the file at hand.
        bytes: u64,
    },
    /// Something worth knowing that does not change the result.
    Note(&'a str),
    /// Something the run survived but that its exit code will show: an unreadable file, a lossy value.
    Problem {
        /// What it is about.
        object: &'a str,
        /// What is wrong with it.
        message: &'a str,
    },
}
