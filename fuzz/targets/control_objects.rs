//! Sessions, heartbeats, gc records and ledger records that a key holder sealed; the first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::format::{GcRecord, Heartbeat, LedgerRecord, SessionRecord};
use packstone_fuzz::{GC_RECORD, HEARTBEAT, LEDGER, Object, SESSION, keys};

fuzz_target!(|data: &[u8]| {
    let Some((which, body)) = data.split_first() else { return };
    match which % 4 {
        0 => drop(SessionRecord::open(keys(), SESSION, &Object::Session.seal(body))),
        1 => drop(Heartbeat::open(keys(), SESSION, HEARTBEAT, &Object::Heartbeat.seal(body))),
        3 => drop(LedgerRecord::open(keys(), LEDGER, &Object::Ledger.seal(body))),
        _ => drop(GcRecord::open(keys(), GC_RECORD, &Object::Gc.seal(body))),
    }
    let _ = SessionRecord::open(keys(), SESSION, body);
    let _ = Heartbeat::open(keys(), SESSION, HEARTBEAT, body);
    let _ = GcRecord::open(keys(), GC_RECORD, body);
    let _ = LedgerRecord::open(keys(), LEDGER, body);
});
