//! The EDN of manifests.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone::source::datoms::manifest::{Manifest, field, parse, print, redact};

fuzz_target!(|text: &str| {
    if let Ok(value) = parse(text) {
        let _ = field(&value, "file");
        let mut redacted = false;
        let _ = parse(&print(&redact(value, &mut redacted)));
    }
    if let Ok(manifest) = Manifest::parse("manifest.edn", text) {
        let _ = (manifest.text("schema"), manifest.number("count"), manifest.find("chunks"));
    }
});
