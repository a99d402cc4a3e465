//! Dump directories (D.2): a manifest, a zero byte, and its chunk. `@sha` in the manifest stands for the chunk's hash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use packstone_fuzz::{folder, read_datoms};
use sha2::{Digest, Sha256};

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (manifest, chunk) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Ok(manifest) = std::str::from_utf8(manifest) else { return };
    let manifest = manifest
        .replace("@sha", &packstone::id::hex(&Sha256::digest(chunk)))
        .replace("@bytes", &chunk.len().to_string());
    std::fs::write(folder().join("manifest.edn"), manifest).expect("the folder takes files");
    std::fs::write(folder().join("datoms-000001.cbor"), chunk).expect("the folder takes files");
    read_datoms(folder(), false);
    read_datoms(folder(), true);
});
