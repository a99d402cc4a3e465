//! Retention durations as users write them.
#![no_main]

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use packstone::retention::Duration;

fuzz_target!(|text: &str| {
    match text.parse::<Duration>() {
        Ok(duration) => {
            for time_ms in [0, i64::MIN, i64::MAX, 1_795_000_000_000] {
                assert!(duration.before(time_ms, &TimeZone::UTC) <= time_ms);
            }
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
        Err(why) => drop(why.to_string()),
    }
});
