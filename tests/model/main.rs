//! The protocol of backup and prune, explored to the end: no order of steps, and no crash, loses what a snapshot holds.
//!
//! Each test explores one configuration of `protocol.rs`. The ablations leave one rule of the protocol out and show that
//! data is then lost: so the model would notice, and so the rule is needed.
//! `cargo test --release --test model -- --ignored` explores the configurations with millions of states.

mod alone;
mod client;
mod protocol;
mod pruner;
mod state;
mod sync;

use protocol::{Acknowledge, Orphans, Protocol, Removes};
use stateright::{Checker, HasDiscoveries, Model};

const RECLAIMED: &str = "a pack is reclaimed";
const COMMITTED: &str = "every client commits";
const RECOVERED: &str = "a fenced client commits in a new session";

/// No step loses anything, and these things happen.
fn holds(protocol: Protocol, happens: &[&str]) {
    let explored = protocol.checker().threads(1).spawn_bfs().join();
    assert!(explored.is_done());
    let found = explored.discoveries();
    if let Some(path) = found.get(protocol::SAFE) {
        panic!("lost by {:#?}", path.clone().into_actions());
    }
    for name in happens {
        assert!(found.contains_key(name), "it never happens that {name}");
    }
    eprintln!("{} states", explored.unique_state_count());
}

/// Some order of steps loses what a snapshot holds.
fn loses(protocol: Protocol) {
    let explored = protocol.checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let path = explored.discoveries().remove(protocol::SAFE).expect("the rule that was left out is needed");
    eprintln!("lost in {} steps", path.into_actions().len());
}

fn one_client() -> Protocol {
    Protocol { clients: 1, ..Protocol::default() }
}

fn two_clients() -> Protocol {
    Protocol { clients: 2, ..Protocol::default() }
}

/// Clients that bring a blob of their own, so that every backup uploads, and a pruner that condemns unlisted packs.
fn orphans() -> Protocol {
    Protocol { wanted: [0b101, 0b101], orphans: Orphans::Any, ..one_client() }
}

#[test]
fn one_client_and_a_pruner_that_runs_twice() {
    holds(Protocol { rounds: 2, ..one_client() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn two_clients_and_a_pruner() {
    holds(two_clients(), &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn long_backups_acknowledge_instead_of_being_fenced() {
    let acknowledge = Acknowledge::AfterPurging;
    holds(Protocol { acknowledge, rounds: 2, ..one_client() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn an_acknowledgement_may_come_before_the_purge_when_the_commit_waits() {
    holds(Protocol { acknowledge: Acknowledge::BeforePurging, ..one_client() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn a_late_duplicate_of_a_commit_meets_the_tombstone() {
    holds(Protocol { late_duplicate: true, ..one_client() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn without_conditional_put_the_fence_is_read_after_the_commit() {
    holds(Protocol { conditional_put: false, ..two_clients() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn packs_that_no_index_lists_yet_may_be_condemned() {
    holds(Protocol { rounds: 2, ..orphans() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn packs_of_two_clients_that_no_index_lists_yet_may_be_condemned() {
    holds(Protocol { clients: 2, ..orphans() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn own_packs_are_compared_with_gc_records_when_acknowledging() {
    let acknowledge = Acknowledge::AfterPurging;
    holds(Protocol { acknowledge, ..orphans() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn a_check_before_the_commit_makes_up_for_trusting_own_packs() {
    let acknowledge = Acknowledge::AfterPurging;
    let protocol = Protocol { acknowledge, trusts_own_packs: true, checks_own_packs: true, ..orphans() };
    holds(protocol, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn orphans_are_left_alone_while_sessions_are_open() {
    let protocol = Protocol { orphans: Orphans::WithoutSessions, checks_own_packs: true, rounds: 2, ..orphans() };
    holds(protocol, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn a_client_may_see_an_index_that_is_being_replaced() {
    holds(Protocol { torn_listings: true, rounds: 2, ..orphans() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
#[ignore = "millions of states"]
fn pruners_may_see_an_index_that_is_being_replaced() {
    let removes = Removes::BeforeListing;
    let protocol = Protocol { torn_listings: true, removes, pruners: 2, most_condemned: 1, ..orphans() };
    holds(protocol, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
#[ignore = "millions of states"]
fn a_pruner_removes_what_was_condemned_before_it_listed_sessions() {
    let protocol = Protocol { pruners: 2, removes: Removes::BeforeListing, most_condemned: 1, ..one_client() };
    holds(protocol, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
#[ignore = "millions of states"]
fn one_client_and_two_pruners() {
    holds(Protocol { pruners: 2, ..one_client() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
#[ignore = "millions of states"]
fn two_clients_that_acknowledge() {
    let acknowledge = Acknowledge::AfterPurging;
    holds(Protocol { acknowledge, ..two_clients() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
#[ignore = "millions of states"]
fn a_client_that_acknowledges_and_two_pruners() {
    let acknowledge = Acknowledge::AfterPurging;
    let protocol = Protocol { acknowledge, pruners: 2, most_condemned: 1, ..one_client() };
    holds(protocol, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn a_pruner_finishes_what_another_condemned() {
    holds(Protocol { pruners: 2, adopts: true, ..one_client() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
#[ignore = "millions of states"]
fn without_conditional_put_two_pruners() {
    holds(Protocol { conditional_put: false, pruners: 2, ..one_client() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
#[ignore = "millions of states"]
fn orphans_of_a_client_and_two_pruners() {
    let removes = Removes::BeforeListing;
    holds(Protocol { removes, pruners: 2, most_condemned: 1, ..orphans() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
#[ignore = "millions of states"]
fn orphans_of_two_clients_that_acknowledge() {
    let acknowledge = Acknowledge::AfterPurging;
    let protocol = Protocol { acknowledge, clients: 2, most_condemned: 1, ..orphans() };
    holds(protocol, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn listings_at_the_same_time_are_in_order_as_long_as_no_record_is_removed() {
    holds(Protocol { lists_index_first: true, rounds: 2, ..one_client() }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn what_an_earlier_run_saw_makes_up_for_listings_at_the_same_time() {
    let protocol = Protocol { lists_index_first: true, remembers_records: true, drops_records: true, ..one_client() };
    holds(Protocol { rounds: 2, ..protocol }, &[RECLAIMED, COMMITTED, RECOVERED]);
}

#[test]
fn listing_the_index_before_records_that_are_being_removed_loses_data() {
    loses(Protocol { lists_index_first: true, drops_records: true, ..one_client() });
}

#[test]
fn without_fences_data_is_lost() {
    loses(Protocol { fences: false, ..one_client() });
}

#[test]
fn listing_sessions_before_condemning_loses_data() {
    loses(Protocol { lists_sessions_first: true, ..one_client() });
}

#[test]
fn reading_the_index_before_registering_loses_data() {
    loses(Protocol { reads_before_registering: true, ..one_client() });
}

#[test]
fn not_looking_again_after_fencing_loses_data() {
    loses(Protocol { rescans: false, ..one_client() });
}

#[test]
fn forgetting_by_deletion_loses_data_to_a_late_duplicate() {
    loses(Protocol { late_duplicate: true, tombstones: false, ..one_client() });
}

#[test]
fn acknowledging_without_purging_references_loses_data() {
    loses(Protocol { acknowledge: Acknowledge::WithoutPurging, ..one_client() });
}

#[test]
fn trusting_own_packs_when_acknowledging_loses_data() {
    let acknowledge = Acknowledge::AfterPurging;
    loses(Protocol { acknowledge, trusts_own_packs: true, ..orphans() });
}

#[test]
fn dropping_gc_records_when_their_packs_are_gone_loses_data() {
    loses(Protocol { rounds: 2, drops_records: true, ..orphans() });
}

#[test]
fn pruning_by_an_index_that_lacks_what_is_needed_loses_data() {
    let protocol = Protocol { torn_listings: true, stops_when_missing: false, pruners: 2, ..orphans() };
    loses(Protocol { most_condemned: 1, ..protocol });
}

/// The pack of a rescue looks like an orphan until it is indexed. Whoever condemns it does not know what it was for.
#[test]
fn rescuing_only_from_own_condemned_packs_loses_data() {
    loses(Protocol { pruners: 2, most_condemned: 1, ..orphans() });
}

#[test]
fn removing_what_was_condemned_after_sessions_were_listed_loses_data() {
    loses(Protocol { pruners: 2, removes: Removes::Now, most_condemned: 1, ..one_client() });
}

#[test]
#[ignore = "hundreds of thousands of states before the loss"]
fn taking_a_condemnation_back_loses_data() {
    loses(Protocol { pruners: 2, adopts: true, takes_back: true, ..two_clients() });
}

#[test]
#[ignore = "hundreds of thousands of states before the loss"]
fn rescuing_by_an_old_view_of_what_is_condemned_loses_data() {
    loses(Protocol { pruners: 2, serialised: false, rescues_by_own_view: true, ..one_client() });
}
