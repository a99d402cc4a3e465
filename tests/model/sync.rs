//! A database that is followed: a session that stays open, acknowledges gc records, and tells transactions durable that only
//! its chain holds; whoever makes a snapshot of that chain when the session was closed; and pruners that wait for neither.
//!
//! Blob 0 is what the base of the chain holds, blob 1 what the transaction adds. As in `protocol.rs` every action is one request,
//! anybody may stop for ever anywhere, and any session may be closed at any time.

use stateright::{Checker, HasDiscoveries, Model, Property};

type Packs = u16;
type Blobs = u8;

/// What must always hold.
const SAFE: &str = "what was told restores";
const TOLD: &str = "a transaction is told durable";
const FOLDED: &str = "the chain is folded";
const ADOPTED: &str = "somebody else makes a snapshot of the chain";
const RECLAIMED: &str = "a pack is removed while the follower goes on";

const BASE: Blobs = 0b01;
const ALL: Blobs = 0b11;
const PACKS: usize = 12;
const RECORDS: usize = 3;
/// The base; the follower's session, and the one after its fold; that of whoever adopts the chain.
const SESSIONS: usize = 4;
const FIRST: usize = 1;
const NEXT: usize = 2;
const ADOPTER: usize = 3;

/// The rules.
#[derive(Clone, Debug)]
struct Sync {
    rounds: u8,
    /// What the base reaches and is condemned is stored again before that is acknowledged.
    stores_again: bool,
    /// A segment counts only when the session is found open after it was written.
    looks_for_fence: bool,
    /// The chain is read after its session was closed.
    fences_before_reading: bool,
    /// Pruners look for chains of closed sessions.
    lists_chains: bool,
    /// They list chains after sessions.
    lists_sessions_first: bool,
    /// What was condemned is removed when all open sessions have acknowledged that, not before.
    heeds_acknowledgements: bool,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            rounds: 1,
            stores_again: true,
            looks_for_fence: true,
            fences_before_reading: true,
            lists_chains: true,
            lists_sessions_first: true,
            heeds_acknowledgements: true,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Outcome {
    #[default]
    Open,
    Committed(Blobs),
    Fenced,
    Forgotten,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Step {
    #[default]
    Registers,
    ReadsRecords,
    ListsSnapshots,
    ListsIndex,
    StoresAgain,
    IndexesStored,
    Acknowledges,
    PutsOpening,
    PutsSegment,
    LooksForFence,
    Builds,
    IndexesBuilt,
    RegistersNext,
    Commits,
    ClosesSession,
    RemovesOpening,
    RemovesSegment,
    Fences,
    ReadsChain,
    Ended,
}

/// The follower, or whoever adopts its chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Client {
    step: Step,
    session: u8,
    condemned: Packs,
    checked: u8,
    index: Packs,
    /// The pack that was uploaded last.
    pack: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum PrunerStep {
    #[default]
    ReadsRecords,
    ListsSnapshots,
    ListsIndex,
    Chooses,
    Copies,
    IndexesCopies,
    Condemns,
    ListsSessions,
    ClosesSessions,
    ListsChains,
    Rescans,
    Rescues,
    IndexesRescued,
    Unindexes,
    Deletes,
    Done,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Pruner {
    step: PrunerStep,
    newest: u8,
    condemned: Packs,
    live: Blobs,
    index: Packs,
    chosen: Packs,
    copy: u8,
    sessions: u8,
    /// Whether a chain was there that no open session and no snapshot answers for.
    unsettled: bool,
    acknowledged: u8,
    settled: Packs,
    needed: Blobs,
    rounds: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    packs: [Blobs; PACKS],
    packs_count: u8,
    existing: Packs,
    indexed: Packs,
    registered: u8,
    acknowledged: [u8; SESSIONS],
    outcomes: [Outcome; SESSIONS],
    records: [Packs; RECORDS],
    records_count: u8,
    opening: bool,
    segment: bool,
    told: bool,
    follower: Client,
    adopter: Client,
    pruner: Pruner,
}

impl State {
    fn named(&self, packs: Packs) -> Blobs {
        (0..PACKS).filter(|p| packs >> p & 1 == 1).fold(0, |blobs, p| blobs | self.packs[p])
    }

    fn readable(&self) -> Blobs {
        self.named(self.existing & self.indexed)
    }

    fn condemned(&self, until: u8) -> Packs {
        self.records[..usize::from(until)].iter().fold(0, |packs, record| packs | record)
    }

    fn live(&self) -> Blobs {
        self.outcomes.iter().fold(0, |blobs, outcome| match outcome {
            Outcome::Committed(needs) => blobs | needs,
            _ => blobs,
        })
    }

    fn put_pack(&mut self, blobs: Blobs) -> Option<u8> {
        let pack = self.packs_count;
        *self.packs.get_mut(usize::from(pack))? = blobs;
        self.packs_count += 1;
        self.existing |= 1 << pack;
        Some(pack)
    }

    /// Whether the chain counts: it is whole, and no snapshot contains it.
    fn chain_counts(&self) -> bool {
        let first = matches!(self.outcomes[FIRST], Outcome::Open | Outcome::Fenced);
        self.opening && first && !matches!(self.outcomes[ADOPTER], Outcome::Committed(_))
    }

    fn is_safe(&self) -> bool {
        let readable = self.readable();
        let holds = |outcome: &Outcome| matches!(outcome, Outcome::Committed(needs) if needs & !readable != 0);
        let is_told = self.outcomes.contains(&Outcome::Committed(ALL))
            || self.chain_counts() && self.segment && readable & BASE != 0;
        !self.outcomes.iter().any(holds) && (!self.told || is_told)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Action {
    Follower,
    Adopter,
    Pruner,
    Condemn(Packs),
    Close(usize),
    Forget,
}

impl Sync {
    /// The steps that the follower and an adopter have in common; `None` when the model has no more names.
    fn step_client(&self, state: &mut State, client: &mut Client, reaches: Blobs) -> Option<Step> {
        use Step::*;
        let session = usize::from(client.session);
        Some(match client.step {
            Registers => {
                state.registered |= 1 << session;
                ReadsRecords
            }
            ReadsRecords => {
                client.condemned = state.condemned(state.records_count);
                client.checked = state.records_count;
                ListsSnapshots
            }
            ListsIndex => {
                client.index = state.indexed;
                StoresAgain
            }
            StoresAgain => {
                let missing = reaches & !state.named(client.index & !client.condemned);
                if !self.stores_again || missing == 0 {
                    Acknowledges
                } else if missing & !state.readable() != 0 {
                    Ended
                } else {
                    client.pack = state.put_pack(missing)?;
                    IndexesStored
                }
            }
            IndexesStored => {
                state.indexed |= 1 << client.pack;
                Acknowledges
            }
            Builds => {
                client.pack = state.put_pack(ALL & !BASE)?;
                IndexesBuilt
            }
            IndexesBuilt => {
                state.indexed |= 1 << client.pack;
                if session == ADOPTER { Commits } else { RegistersNext }
            }
            RemovesOpening => {
                state.opening = false;
                RemovesSegment
            }
            step => step,
        })
    }

    fn step_follower(&self, state: &mut State) -> Option<()> {
        use Step::*;
        let mut client = state.follower;
        let is_first = usize::from(client.session) == FIRST;
        client.step = match client.step {
            // The state of the fold is this follower's own; of the base it must be seen that it is still there.
            ListsSnapshots if is_first && !matches!(state.outcomes[0], Outcome::Committed(_)) => {
                state.registered &= !(1 << FIRST);
                Ended
            }
            ListsSnapshots => ListsIndex,
            Acknowledges => {
                state.acknowledged[usize::from(client.session)] = client.checked;
                if is_first { PutsOpening } else { Ended }
            }
            PutsOpening => {
                state.opening = true;
                PutsSegment
            }
            PutsSegment => {
                state.segment = true;
                LooksForFence
            }
            LooksForFence if self.looks_for_fence && state.outcomes[FIRST] != Outcome::Open => Ended,
            LooksForFence => {
                state.told = true;
                Builds
            }
            RegistersNext => {
                state.registered |= 1 << NEXT;
                Commits
            }
            Commits if state.outcomes[FIRST] != Outcome::Open => Ended,
            Commits => {
                state.outcomes[FIRST] = Outcome::Committed(ALL);
                ClosesSession
            }
            ClosesSession => {
                state.registered &= !(1 << FIRST);
                client.session = NEXT as u8;
                RemovesOpening
            }
            RemovesSegment => {
                state.segment = false;
                ReadsRecords
            }
            Fences | ReadsChain | Ended => return None,
            _ => {
                let reaches = if is_first { BASE } else { ALL };
                self.step_client(state, &mut client, reaches)?
            }
        };
        state.follower = client;
        Some(())
    }

    fn step_adopter(&self, state: &mut State) -> Option<()> {
        use Step::*;
        let mut client = state.adopter;
        client.step = match client.step {
            Fences => {
                if state.outcomes[FIRST] == Outcome::Open {
                    state.outcomes[FIRST] = Outcome::Fenced;
                }
                match state.outcomes[FIRST] {
                    Outcome::Fenced if self.fences_before_reading => ReadsChain,
                    Outcome::Fenced => Registers,
                    // Contained in the follower's own snapshot.
                    _ => RemovesOpening,
                }
            }
            // Nothing in it: nothing was told.
            ReadsChain if state.opening && !state.segment => RemovesOpening,
            ReadsChain if !state.opening => Ended,
            ReadsChain => {
                if self.fences_before_reading {
                    Registers
                } else {
                    Fences
                }
            }
            ListsSnapshots => ListsIndex,
            Acknowledges => Builds,
            Commits if state.outcomes[ADOPTER] != Outcome::Open => Ended,
            Commits => {
                state.outcomes[ADOPTER] = Outcome::Committed(ALL);
                RemovesOpening
            }
            RemovesSegment => {
                state.segment = false;
                state.registered &= !(1 << ADOPTER);
                Ended
            }
            Ended | PutsOpening | PutsSegment | LooksForFence | RegistersNext | ClosesSession => return None,
            _ => self.step_client(state, &mut client, BASE)?,
        };
        state.adopter = client;
        Some(())
    }

    fn step_pruner(&self, state: &mut State) -> Option<()> {
        use PrunerStep::*;
        let mut pruner = state.pruner;
        pruner.step = match pruner.step {
            ReadsRecords => {
                pruner.newest = state.records_count;
                pruner.condemned = state.condemned(state.records_count);
                ListsSnapshots
            }
            ListsSnapshots => {
                pruner.live = state.live();
                ListsIndex
            }
            ListsIndex => {
                pruner.index = state.indexed;
                Chooses
            }
            Copies => {
                let kept = state.named(pruner.index & !pruner.condemned & !pruner.chosen);
                let moved = state.named(pruner.chosen) & pruner.live & !kept;
                if moved == 0 {
                    Condemns
                } else {
                    pruner.copy = state.put_pack(moved)?;
                    IndexesCopies
                }
            }
            IndexesCopies => {
                state.indexed |= 1 << pruner.copy;
                Condemns
            }
            Condemns => {
                *state.records.get_mut(usize::from(state.records_count))? = pruner.chosen;
                state.records_count += 1;
                if self.lists_sessions_first { ListsSessions } else { ListsChains }
            }
            ListsSessions => {
                pruner.sessions = state.registered;
                ClosesSessions
            }
            ClosesSessions => {
                let open = |s: &usize| pruner.sessions >> s & 1 == 1 && state.outcomes[*s] == Outcome::Open;
                let promised = (1..SESSIONS).filter(open).map(|s| state.acknowledged[s]).min();
                pruner.acknowledged = promised.unwrap_or(state.records_count);
                if !self.heeds_acknowledgements {
                    pruner.acknowledged = state.records_count;
                }
                if !self.lists_sessions_first && pruner.unsettled {
                    pruner.acknowledged = 0;
                }
                if self.lists_sessions_first { ListsChains } else { Rescans }
            }
            ListsChains => {
                let answered = pruner.sessions >> FIRST & 1 == 1 && state.outcomes[FIRST] == Outcome::Open;
                let answered =
                    if self.lists_sessions_first { answered } else { state.outcomes[FIRST] == Outcome::Open };
                pruner.unsettled = self.lists_chains && state.chain_counts() && !answered;
                if pruner.unsettled {
                    pruner.acknowledged = 0;
                }
                if self.lists_sessions_first { Rescans } else { ListsSessions }
            }
            Rescans => {
                pruner.live = state.live();
                pruner.settled = state.condemned(pruner.acknowledged);
                let kept = state.named(state.indexed & !state.condemned(state.records_count));
                pruner.needed = state.named(pruner.settled & state.indexed) & pruner.live & !kept;
                if pruner.needed == 0 { Unindexes } else { Rescues }
            }
            Rescues => {
                pruner.copy = state.put_pack(pruner.needed)?;
                IndexesRescued
            }
            IndexesRescued => {
                state.indexed |= 1 << pruner.copy;
                Unindexes
            }
            Unindexes => {
                state.indexed &= !pruner.settled;
                Deletes
            }
            Deletes => {
                state.existing &= !pruner.settled;
                let rounds = pruner.rounds + 1;
                pruner = Pruner { rounds, ..Pruner::default() };
                if rounds == self.rounds { Done } else { ReadsRecords }
            }
            Chooses | Done => return None,
        };
        state.pruner = pruner;
        Some(())
    }
}

impl Model for Sync {
    type State = State;
    type Action = Action;

    /// Packs 0 and 1 hold what the base needs, each all of it.
    fn init_states(&self) -> Vec<State> {
        let mut state = State { packs_count: 2, existing: 0b11, indexed: 0b11, ..State::default() };
        state.packs[..2].copy_from_slice(&[BASE, BASE]);
        state.outcomes[0] = Outcome::Committed(BASE);
        state.follower.session = FIRST as u8;
        let step = if self.fences_before_reading { Step::Fences } else { Step::ReadsChain };
        state.adopter = Client { step, session: ADOPTER as u8, ..Client::default() };
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.follower.step != Step::Ended {
            actions.push(Action::Follower);
        }
        // It begins when it sees a chain.
        let begins = matches!(state.adopter.step, Step::Fences | Step::ReadsChain);
        if state.adopter.step != Step::Ended && (state.opening || !begins) {
            actions.push(Action::Adopter);
        }
        match state.pruner.step {
            PrunerStep::Done => {}
            PrunerStep::Chooses => {
                let candidates = state.pruner.index & !state.pruner.condemned;
                actions.extend((1..=candidates).filter(|set| set & !candidates == 0).map(Action::Condemn));
            }
            _ => actions.push(Action::Pruner),
        }
        if state.pruner.step == PrunerStep::ClosesSessions {
            let open = |s: &usize| state.pruner.sessions >> s & 1 == 1 && state.outcomes[*s] == Outcome::Open;
            actions.extend((1..SESSIONS).filter(open).map(Action::Close));
        }
        if matches!(state.outcomes[0], Outcome::Committed(_)) {
            actions.push(Action::Forget);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Follower => self.step_follower(&mut next)?,
            Action::Adopter => self.step_adopter(&mut next)?,
            Action::Pruner => self.step_pruner(&mut next)?,
            Action::Condemn(chosen) => (next.pruner.chosen, next.pruner.step) = (chosen, PrunerStep::Copies),
            Action::Close(session) => next.outcomes[session] = Outcome::Fenced,
            Action::Forget => next.outcomes[0] = Outcome::Forgotten,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |_, state: &State| state.is_safe()),
            Property::sometimes(TOLD, |_, state: &State| state.told),
            Property::sometimes(FOLDED, |_, state: &State| matches!(state.outcomes[FIRST], Outcome::Committed(_))),
            Property::sometimes(ADOPTED, |_, state: &State| {
                state.told && matches!(state.outcomes[ADOPTER], Outcome::Committed(_))
            }),
            Property::sometimes(RECLAIMED, |_, state: &State| {
                let goes_on = state.follower.session == NEXT as u8 && state.outcomes[NEXT] == Outcome::Open;
                goes_on && state.acknowledged[NEXT] > 0 && state.existing.count_ones() < u32::from(state.packs_count)
            }),
        ]
    }
}

fn holds(rules: Sync, happens: &[&str]) {
    let explored = rules.checker().threads(1).spawn_bfs().join();
    assert!(explored.is_done());
    let found = explored.discoveries();
    if let Some(path) = found.get(SAFE) {
        panic!("lost by {:#?}", path.clone().into_actions());
    }
    for name in happens {
        assert!(found.contains_key(name), "it never happens that {name}");
    }
    eprintln!("{} states", explored.unique_state_count());
}

fn loses(rules: Sync) {
    let explored = rules.checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let path = explored.discoveries().remove(SAFE).expect("the rule that was left out is needed");
    eprintln!("lost in {} steps", path.into_actions().len());
}

#[test]
fn what_a_follower_told_restores() {
    holds(Sync::default(), &[TOLD, FOLDED, ADOPTED]);
}

#[test]
#[ignore = "millions of states"]
fn what_a_follower_told_restores_after_two_prunes() {
    holds(Sync { rounds: 2, ..Sync::default() }, &[TOLD, FOLDED, ADOPTED, RECLAIMED]);
}

#[test]
fn acknowledging_without_storing_again_loses_data() {
    loses(Sync { stores_again: false, rounds: 2, ..Sync::default() });
}

#[test]
fn telling_without_looking_for_the_fence_loses_data() {
    loses(Sync { looks_for_fence: false, ..Sync::default() });
}

#[test]
fn reading_a_chain_before_its_session_is_closed_loses_data() {
    loses(Sync { fences_before_reading: false, ..Sync::default() });
}

#[test]
fn overlooking_chains_of_closed_sessions_loses_data() {
    loses(Sync { lists_chains: false, ..Sync::default() });
}

#[test]
fn listing_chains_before_sessions_loses_data() {
    loses(Sync { lists_sessions_first: false, ..Sync::default() });
}

#[test]
fn removing_what_no_open_session_has_acknowledged_loses_data() {
    loses(Sync { heeds_acknowledgements: false, ..Sync::default() });
}
