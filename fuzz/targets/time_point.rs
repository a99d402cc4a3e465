//! Points in time as users write them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::ops::TimePoint;

fuzz_target!(|text: &str| {
    if let Ok(point) = text.parse::<TimePoint>() {
        assert_eq!(point.to_string().parse::<TimePoint>().ok(), Some(point));
    }
});
