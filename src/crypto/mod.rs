//! Secrets and what is done with them: key derivation, ids of blobs, sealing and opening.
//!
//! One master key per epoch gives one key per purpose. Nothing here draws random bytes: they are arguments.

mod kdf;
mod keyring;
mod keys;
mod padme;
mod seal;

pub use kdf::{KdfParameters, SlotKeys, SlotSecret};
pub use keyring::{Keyring, MasterKey};
pub use keys::{Keys, Purpose};
pub use padme::padme;
pub use seal::{NONCE_LEN, SEAL_OVERHEAD, TAG_LEN};
