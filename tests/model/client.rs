//! What a backup does, one request to the object store at a time.

use super::protocol::Protocol;
use super::state::{Client, ClientStep, Outcome, State};

impl Protocol {
    /// The session that a client is in.
    pub fn session(i: usize, attempt: u8) -> usize {
        1 + 2 * i + usize::from(attempt)
    }

    /// The next step of client `i`; `None` when there is none.
    pub fn step_client(&self, state: &mut State, i: usize) -> Option<()> {
        use ClientStep::*;
        let mut client = state.clients[i];
        let session = Self::session(i, client.attempt);
        let wanted = self.wanted[i];
        client.step = match client.step {
            OpensFirst | OpensSecond | OpensThird => self.open_session(state, &mut client, session),
            ListsIndexAgain => {
                client.index = state.indexed;
                Uploads
            }
            Uploads => {
                let own = if self.trusts_own_packs { client.own } else { 0 };
                let missing = wanted & !state.named(client.index & !client.condemned | own);
                if missing == 0 {
                    if self.checks_own_packs { ChecksOwnPacks } else { Commits }
                } else {
                    client.uploaded = state.put_pack(missing)?;
                    client.own |= 1 << client.uploaded;
                    Indexes
                }
            }
            Indexes => {
                state.indexed |= 1 << client.uploaded;
                if self.checks_own_packs { ChecksOwnPacks } else { Commits }
            }
            ChecksOwnPacks if state.condemned() & client.own != 0 => GaveUp,
            ChecksOwnPacks => Commits,
            Commits if client.acknowledging => {
                state.acknowledged[session] = client.acknowledges;
                client.acknowledging = false;
                Commits
            }
            Commits if !self.conditional_put => {
                if state.outcomes[session] == Outcome::Open {
                    state.outcomes[session] = Outcome::Committed(wanted);
                }
                LooksForFence
            }
            Commits if state.outcomes[session] == Outcome::Open => {
                state.outcomes[session] = Outcome::Committed(wanted);
                client.committed = true;
                client.duplicate = self.late_duplicate;
                if self.late_duplicate {
                    state.registered &= !(1 << session);
                }
                Done
            }
            Commits => renew(&mut client),
            LooksForFence if state.fences >> session & 1 == 0 => {
                client.committed = true;
                state.reported |= 1 << session;
                Done
            }
            LooksForFence => {
                state.outcomes[session] = Outcome::Open;
                renew(&mut client)
            }
            Done | GaveUp => return None,
        };
        state.clients[i] = client;
        Some(())
    }

    /// Registers, reads the gc records, reads the index: in this order, unless the order is what is tested.
    fn open_session(&self, state: &mut State, client: &mut Client, session: usize) -> ClientStep {
        use ClientStep::*;
        let (registers, reads_records) = match (self.reads_before_registering, self.lists_index_first) {
            (true, _) => (OpensThird, OpensFirst),
            (false, true) => (OpensFirst, OpensThird),
            (false, false) => (OpensFirst, OpensSecond),
        };
        let mut lists_again = false;
        if client.step == registers {
            state.registered |= 1 << session;
        } else if client.step == reads_records {
            client.condemned = state.condemned();
            if self.remembers_records {
                client.condemned |= client.seen;
                let mut since = client.seen_count..state.records_count;
                lists_again = since.any(|n| state.records_dropped >> n & 1 == 1);
            }
        } else {
            client.index = state.indexed;
        }
        match client.step {
            OpensFirst => OpensSecond,
            OpensSecond => OpensThird,
            _ if lists_again => ListsIndexAgain,
            _ => Uploads,
        }
    }
}

/// A new session, if the client has one left.
fn renew(client: &mut Client) -> ClientStep {
    if client.attempt > 0 {
        return ClientStep::GaveUp;
    }
    *client = Client { attempt: 1, seen_count: client.seen_count, seen: client.seen, ..Client::default() };
    ClientStep::OpensFirst
}
