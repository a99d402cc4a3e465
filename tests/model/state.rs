//! The object store, and what each process remembers.
//!
//! Sets are bit masks: small, and equal states are equal numbers.

/// A set of blobs.
pub type Blobs = u8;
/// A set of packs.
pub type Packs = u16;
/// A set of sessions; a snapshot has the number of its session.
pub type Sessions = u8;

/// How many packs there can be.
pub const PACKS: usize = 10;
/// Snapshot 0 is there from the beginning; two clients have two sessions each.
pub const SESSIONS: usize = 5;
/// How many gc records there can be.
pub const RECORDS: usize = 4;

/// What is at the path of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing.
    #[default]
    Open,
    /// A snapshot that needs these blobs.
    Committed(Blobs),
    /// A fence.
    Fenced,
    /// A tombstone.
    Forgotten,
}

/// What a client does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientStep {
    #[default]
    OpensFirst,
    OpensSecond,
    OpensThird,
    /// The index again, where the order of the first three is turned round.
    ListsIndexAgain,
    Uploads,
    Indexes,
    ChecksOwnPacks,
    Commits,
    LooksForFence,
    Done,
    GaveUp,
}

/// A backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Client {
    pub step: ClientStep,
    /// Which of its two sessions it is in.
    pub attempt: u8,
    /// Packs that it knows to be condemned.
    pub condemned: Packs,
    /// The index as it was read.
    pub index: Packs,
    /// The pack that it has uploaded and not indexed.
    pub uploaded: u8,
    /// How many gc records there were when its machine last looked, and what those that were listed then condemn.
    pub seen_count: u8,
    pub seen: Packs,
    /// Packs that it uploaded in this session.
    pub own: Packs,
    pub committed: bool,
    /// A duplicate of its commit is still on the way.
    pub duplicate: bool,
    /// The gc record that it acknowledges, 0 for none, and whether that is still to be written.
    pub acknowledges: u8,
    pub acknowledging: bool,
}

/// What a pruner does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PrunerStep {
    #[default]
    ReadsRecords,
    ListsPacks,
    ListsSnapshots,
    ListsIndex,
    Chooses,
    Copies,
    IndexesCopies,
    Condemns,
    ListsSessions,
    Fences,
    Rescans,
    LooksForNeeded,
    Rescues,
    IndexesRescued,
    Unindexes,
    RemovesOldIndex,
    Deletes,
    DropsRecords,
    Done,
}

/// A prune.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pruner {
    pub step: PrunerStep,
    /// The newest gc record it has seen.
    pub newest: u8,
    /// Packs that it knows to be condemned by others.
    pub condemned: Packs,
    /// Pack objects as it listed them.
    pub packs: Packs,
    /// Whether a session was open when it listed packs.
    pub sessions_open: bool,
    /// Blobs that snapshots need.
    pub live: Blobs,
    /// The index as it was read.
    pub index: Packs,
    /// What it condemns.
    pub chosen: Packs,
    /// The pack that it has written and not indexed.
    pub copy: u8,
    /// Sessions that might count on condemned packs.
    pub sessions: Sessions,
    /// Blobs to copy out of condemned packs.
    pub needed: Blobs,
    pub rounds: u8,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// What each pack holds, whether it still exists or not: its name is of its content.
    pub packs: [Blobs; PACKS],
    pub packs_count: u8,
    pub existing: Packs,
    pub indexed: Packs,
    pub registered: Sessions,
    pub outcomes: [Outcome; SESSIONS],
    /// The gc record that each session has acknowledged.
    pub acknowledged: [u8; SESSIONS],
    /// Without conditional put: fences apart from snapshots, and sessions whose commit was reported.
    pub fences: Sessions,
    pub reported: Sessions,
    pub records: [Packs; RECORDS],
    pub records_count: u8,
    /// Records that were removed.
    pub records_dropped: u8,
    pub clients: [Client; 2],
    pub pruners: [Pruner; 2],
    pub forgotten: bool,
}

impl State {
    /// What these packs hold according to their directories.
    pub fn named(&self, packs: Packs) -> Blobs {
        (0..PACKS).filter(|p| packs >> p & 1 == 1).fold(0, |blobs, p| blobs | self.packs[p])
    }

    /// What can be read from these packs.
    pub fn readable(&self, packs: Packs) -> Blobs {
        self.named(packs & self.existing)
    }

    /// What the gc records condemn.
    pub fn condemned(&self) -> Packs {
        let kept = (0..usize::from(self.records_count)).filter(|n| self.records_dropped >> n & 1 == 0);
        kept.fold(0, |packs, n| packs | self.records[n])
    }

    /// What the snapshots need.
    pub fn live(&self) -> Blobs {
        self.outcomes.iter().fold(0, |blobs, outcome| match outcome {
            Outcome::Committed(needs) => blobs | needs,
            _ => blobs,
        })
    }

    /// Uploads a pack; `None` when the model has no more names.
    pub fn put_pack(&mut self, blobs: Blobs) -> Option<u8> {
        let pack = self.packs_count;
        *self.packs.get_mut(usize::from(pack))? = blobs;
        self.packs_count += 1;
        self.existing |= 1 << pack;
        Some(pack)
    }
}
