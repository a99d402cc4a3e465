//! Paths as a backend lists them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::format::ObjectPath;

fuzz_target!(|text: &str| {
    if let Some(path) = ObjectPath::parse(text) {
        assert_eq!(path.as_str(), text);
        assert!(!path.name().is_empty() && path.as_str().ends_with(path.name()));
        assert!(!text.starts_with('/') && !text.split('/').any(|part| part == ".."));
    }
});
