//! Without `put_new` and without fences: a pruner writes its marker and then looks for sessions, a client registers and then
//! looks for markers (format-spec, chapter write order, without `put_new`).
//!
//! One pack is indexed and needed by no snapshot. Clients that find it in the index commit a reference to it; pruners remove
//! it unless a snapshot references it. Anybody may stop for ever; markers and registrations of those may be removed.

use stateright::{Checker, Model, Property};

const SAFE: &str = "no snapshot references what is gone";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    Starts,
    ListsMarkers,
    ReadsIndex,
    /// And whether it found the pack.
    Commits(bool),
    Ends,
    Stopped,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pruner {
    Starts,
    ListsMarkers,
    ListsSessions,
    Marks,
    UnIndexes,
    Deletes,
    Ends,
    Stopped,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    clients: [Client; 2],
    pruners: [Pruner; 2],
    sessions: u8,
    markers: u8,
    indexed: bool,
    exists: bool,
    /// Clients whose committed snapshot references the pack, and those whose does not.
    references: u8,
    others: u8,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    Client(usize),
    GivesUp(usize),
    ClientStops(usize),
    Pruner(usize),
    PrunerStops(usize),
    Tidies,
}

/// The rule that is left out.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    /// The pruner looks for sessions before it writes its marker.
    MarkerFirst,
    /// The client looks for markers before it registers.
    RegistrationFirst,
    /// The client reads the index before it looks for markers.
    IndexLast,
}

struct Alone(Without);

impl Alone {
    fn client(&self, state: &mut State, i: usize) -> Option<()> {
        let bit = 1 << i;
        state.clients[i] = match state.clients[i] {
            Client::Starts if self.0 == Without::RegistrationFirst => {
                (state.markers == 0).then_some(())?;
                Client::ListsMarkers
            }
            Client::Starts => {
                state.sessions |= bit;
                Client::ListsMarkers
            }
            Client::ListsMarkers if self.0 == Without::RegistrationFirst => {
                state.sessions |= bit;
                Client::ReadsIndex
            }
            Client::ListsMarkers if self.0 == Without::IndexLast => Client::Commits(state.indexed),
            Client::ListsMarkers => {
                (state.markers == 0).then_some(())?;
                Client::ReadsIndex
            }
            Client::ReadsIndex => Client::Commits(state.indexed),
            Client::Commits(found) => {
                if self.0 == Without::IndexLast {
                    (state.markers == 0).then_some(())?;
                }
                *if found { &mut state.references } else { &mut state.others } |= bit;
                Client::Ends
            }
            Client::Ends => {
                state.sessions &= !bit;
                Client::Done
            }
            Client::Stopped | Client::Done => return None,
        };
        Some(())
    }

    fn pruner(&self, state: &mut State, i: usize) -> Option<()> {
        let bit = 1 << i;
        let gives_up = |state: &mut State| {
            state.markers &= !bit;
            Pruner::Done
        };
        state.pruners[i] = match state.pruners[i] {
            Pruner::Starts if self.0 == Without::MarkerFirst => {
                if state.sessions != 0 {
                    Pruner::Done
                } else {
                    Pruner::ListsMarkers
                }
            }
            Pruner::Starts => {
                state.markers |= bit;
                Pruner::ListsMarkers
            }
            Pruner::ListsMarkers if self.0 == Without::MarkerFirst => {
                state.markers |= bit;
                Pruner::Marks
            }
            Pruner::ListsMarkers if state.markers & !bit != 0 => gives_up(state),
            Pruner::ListsMarkers => Pruner::ListsSessions,
            Pruner::ListsSessions if state.sessions != 0 => gives_up(state),
            Pruner::ListsSessions => Pruner::Marks,
            Pruner::Marks if state.references != 0 => Pruner::Ends,
            Pruner::Marks => Pruner::UnIndexes,
            Pruner::UnIndexes => {
                state.indexed = false;
                Pruner::Deletes
            }
            Pruner::Deletes => {
                state.exists = false;
                Pruner::Ends
            }
            Pruner::Ends => gives_up(state),
            Pruner::Stopped | Pruner::Done => return None,
        };
        Some(())
    }
}

impl Model for Alone {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            clients: [Client::Starts; 2],
            pruners: [Pruner::Starts; 2],
            sessions: 0,
            markers: 0,
            indexed: true,
            exists: true,
            references: 0,
            others: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for i in 0..2 {
            if !matches!(state.clients[i], Client::Stopped | Client::Done) {
                actions.extend([Action::Client(i), Action::ClientStops(i)]);
            }
            if state.clients[i] == Client::ListsMarkers && state.markers != 0 {
                actions.push(Action::GivesUp(i));
            }
            if !matches!(state.pruners[i], Pruner::Stopped | Pruner::Done) {
                actions.extend([Action::Pruner(i), Action::PrunerStops(i)]);
            }
        }
        actions.push(Action::Tidies);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Client(i) => self.client(&mut next, i)?,
            Action::Pruner(i) => self.pruner(&mut next, i)?,
            Action::ClientStops(i) => next.clients[i] = Client::Stopped,
            Action::PrunerStops(i) => next.pruners[i] = Pruner::Stopped,
            Action::GivesUp(i) => {
                next.sessions &= !(1 << i);
                next.clients[i] = Client::Done;
            }
            Action::Tidies => {
                for i in 0..2 {
                    if next.clients[i] == Client::Stopped {
                        next.sessions &= !(1 << i);
                    }
                    if next.pruners[i] == Pruner::Stopped {
                        next.markers &= !(1 << i);
                    }
                }
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |_, state: &State| state.references == 0 || state.exists),
            Property::sometimes("the pack is removed", |_, state: &State| !state.exists),
            Property::sometimes("both clients commit after it is", |_, state: &State| {
                !state.exists && state.others == 0b11
            }),
            Property::sometimes("both clients commit references", |_, state: &State| state.references == 0b11),
        ]
    }
}

#[test]
fn a_pruner_that_works_alone_removes_nothing_that_is_referenced() {
    let explored = Alone(Without::Nothing).checker().threads(1).spawn_bfs().join();
    assert!(explored.is_done());
    explored.assert_properties();
    eprintln!("{} states", explored.unique_state_count());
}

#[test]
fn each_rule_of_working_alone_is_needed() {
    for without in [Without::MarkerFirst, Without::RegistrationFirst, Without::IndexLast] {
        let explored = Alone(without).checker().threads(1).spawn_bfs().join();
        let path = explored.discoveries().remove(SAFE).expect("the rule that was left out is needed");
        eprintln!("lost in {} steps", path.into_actions().len());
    }
}
