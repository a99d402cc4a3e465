//! How far a connection to a database is trusted.

use std::path::PathBuf;

use super::url::{StoreUrl, Variable};
use crate::error::{Error, ErrorKind, Result};

/// The option that says it, in the words of libpq or of MySQL's own tools.
pub(super) const MODE: &str = "sslmode";
/// The option that names a file of certificates to trust beside the usual ones.
pub(super) const CA_FILE: &str = "ca-cert";

/// What is asked of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    /// No encryption.
    Off,
    /// Encryption where the server offers it, by whatever certificate.
    Prefer,
    /// Encryption, by whatever certificate.
    Require,
    /// Encryption by a certificate that holds for this host.
    Verify,
}

/// What is asked of the connection, and which further certificates are trusted.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) mode: TlsMode,
    pub(super) ca_file: Option<PathBuf>,
}

impl Tls {
    /// As the address or the environment says; otherwise hosts other than this one must prove who they are.
    pub(super) fn of(url: &StoreUrl, variables: (&str, &str), variable: Variable<'_>) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let ca_file = url.option(CA_FILE).map(str::to_owned).or_else(|| set(variables.1)).map(PathBuf::from);
        let mode = match url.option(MODE).map(str::to_owned).or_else(|| set(variables.0)) {
            Some(word) => parse(&word).ok_or_else(|| {
                url.refuse(format!("`{MODE}={word}`: there are disable, prefer, require, verify-ca and verify-full"))
            })?,
            None if is_this_machine(url.host()) => TlsMode::Prefer,
            None => TlsMode::Verify,
        };
        Ok(Self { mode, ca_file })
    }

    /// The certificates of the file, as it is.
    #[cfg(feature = "redis")]
    pub(super) fn ca_pem(&self) -> Result<Option<Vec<u8>>> {
        self.ca_file.as_ref().map(|path| std::fs::read(path).map_err(|e| Error::io(path.display(), e))).transpose()
    }

    /// The certificates of the file.
    #[cfg(feature = "postgres")]
    pub(super) fn ca_certificates(&self) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>> {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject as _;

        let Some(path) = &self.ca_file else { return Ok(Vec::new()) };
        let refuse = |e: &dyn std::fmt::Display| Error::new(ErrorKind::Usage, path.display(), e);
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| refuse(&e))?;
        certificates.collect::<Result<_, _>>().map_err(|e| refuse(&e))
    }
}

fn parse(word: &str) -> Option<TlsMode> {
    Some(match word.to_ascii_lowercase().replace('_', "-").as_str() {
        "disable" | "disabled" => TlsMode::Off,
        "allow" | "prefer" | "preferred" => TlsMode::Prefer,
        "require" | "required" => TlsMode::Require,
        "verify-ca" | "verify-full" | "verify-identity" => TlsMode::Verify,
        _ => return None,
    })
}

/// A socket, or an address that never leaves this machine.
fn is_this_machine(host: Option<&str>) -> bool {
    host.is_none_or(|host| {
        matches!(host, "localhost" | "::1")
            || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
            || host.starts_with('/')
    })
}

/// Libraries ask for a provider of cryptography that the program installs.
pub(super) fn install_provider() {
    // Fails only when somebody has installed one before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn mode(text: &str, variable: Variable<'_>) -> Result<TlsMode> {
        let url = StoreUrl::parse(text, &[MODE, CA_FILE]).unwrap();
        Tls::of(&url, ("PGSSLMODE", "PGSSLROOTCERT"), variable).map(|tls| tls.mode)
    }

    #[test]
    fn other_machines_prove_who_they_are_unless_told_otherwise() {
        let nothing: Variable<'_> = &|_| None;
        for (text, expected) in [
            ("postgres://db.example/x", TlsMode::Verify),
            ("postgres://10.0.0.7/x", TlsMode::Verify),
            ("postgres://127.0.0.1.example/x", TlsMode::Verify),
            ("postgres://localhost/x", TlsMode::Prefer),
            ("postgres://[::1]/x", TlsMode::Prefer),
            ("postgres://127.0.0.1:7/x", TlsMode::Prefer),
            ("postgres://localhost/x?sslmode=require", TlsMode::Require),
            ("postgres://db.example/x?sslmode=DISABLED", TlsMode::Off),
            ("postgres://db.example/x?sslmode=VERIFY_IDENTITY", TlsMode::Verify),
        ] {
            assert_eq!(mode(text, nothing).unwrap(), expected, "{text}");
        }
        let required: Variable<'_> = &|name| (name == "PGSSLMODE").then(|| "require".to_owned());
        assert_eq!(mode("postgres://db.example/x", required).unwrap(), TlsMode::Require);
        assert_eq!(mode("postgres://h/x?sslmode=yes", nothing).unwrap_err().kind(), ErrorKind::Usage);
    }
}
