//! PostgreSQL, and what speaks like it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ::postgres::config::SslMode;
use ::postgres::error::SqlState;
use ::postgres::types::Type;
use ::postgres::{Client, Config, NoTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Glance, Row, Session, Table};
use crate::datahike::home::connections::{Connect, Failure};
use crate::datahike::home::parts::Parts;
use crate::datahike::home::tls::{Tls, TlsMode};
use crate::datahike::home::url::{StoreUrl, Variable};
use crate::error::{Error, ErrorKind, Result};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(30);
/// A connection on which nothing is acknowledged for so long is broken.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a statement may take, also when it waits for another's lock.
const STATEMENT: Duration = Duration::from_secs(120);

/// A server, and how to talk to it.
pub(in crate::datahike::home) struct Postgres {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Postgres {
    /// As the address says, and where it does not the variables that libpq reads.
    pub(in crate::datahike::home) fn of(url: &StoreUrl, variable: Variable<'_>) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let tls = Tls::of(url, ("PGSSLMODE", "PGSSLROOTCERT"), variable)?;
        let mut config = Config::new();
        config.application_name("packstone").connect_timeout(CONNECT).tcp_user_timeout(SILENCE);
        config.keepalives_idle(SILENCE).keepalives_interval(Duration::from_secs(10)).keepalives_retries(3);
        config.host(url.host().map(str::to_owned).or_else(|| set("PGHOST")).as_deref().unwrap_or("localhost"));
        let port = url.port().or_else(|| set("PGPORT").and_then(|port| port.parse().ok())).unwrap_or(5432);
        config.port(port);
        let user = url.user(&["PGUSER", "USER"], variable).ok_or_else(|| url.refuse("no user"))?;
        let database = Some(url.path.clone()).filter(|path| !path.is_empty()).or_else(|| set("PGDATABASE"));
        config.dbname(database.as_ref().unwrap_or(&user)).user(&user);
        if let Some(password) = url.password(&["PGPASSWORD"], variable) {
            config.password(password.as_str());
        }
        config.ssl_mode(match tls.mode {
            TlsMode::Off => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::Verify => SslMode::Require,
        });
        let tls = match tls.mode {
            TlsMode::Off => None,
            TlsMode::Prefer | TlsMode::Require => Some(client_config(Arc::new(Whoever(ring::default_provider())))?),
            TlsMode::Verify => {
                let provider = Arc::new(ring::default_provider());
                let verifier = Verifier::new_with_extra_roots(tls.ca_certificates()?, provider);
                Some(client_config(Arc::new(verifier.map_err(|e| unusable(&e))?))?)
            }
        };
        Ok(Self { config, tls: tls.map(MakeRustlsConnect::new) })
    }
}

impl Connect for Postgres {
    type Connection = Kept;

    fn connect(&self) -> Result<Kept, Failure> {
        match &self.tls {
            Some(tls) => self.config.connect(tls.clone()),
            None => self.config.connect(NoTls),
        }
        .map(|client| Kept(Some(client)))
        .and_then(|mut kept| kept.limit_statements().map(|()| kept))
        .map_err(failure)
    }
}

/// A connection that may be dropped anywhere: it holds a runtime, which may not be dropped by what runs on another one.
pub(in crate::datahike::home) struct Kept(Option<Client>);

impl Kept {
    fn client(&mut self) -> &mut Client {
        self.0.as_mut().expect("it is there until this is dropped")
    }

    /// Not among what a connection begins with: poolers refuse what they do not know there.
    fn limit_statements(&mut self) -> Result<(), ::postgres::Error> {
        let ms = STATEMENT.as_millis();
        let set = format!("SET statement_timeout = {ms}; SET lock_timeout = {ms}");
        match self.client().batch_execute(&set) {
            Err(refused) if refused.as_db_error().is_some() && !refused.is_closed() => {
                tracing::debug!(%refused, "the server takes no limits of time");
                Ok(())
            }
            result => result,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let client = self.0.take();
        if tokio::runtime::Handle::try_current().is_ok() {
            thread::spawn(move || drop(client));
        }
    }
}

impl Session for Kept {
    fn has_table(&mut self, table: &Table) -> Result<bool, Failure> {
        match self.client().query_typed(&format!("SELECT 1 FROM {table} LIMIT 1"), &[]) {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(false),
            Err(error) => Err(failure(error)),
        }
    }

    fn create_table(&mut self, table: &Table) -> Result<(), Failure> {
        let columns = "(id varchar(100) primary key, header bytea, meta bytea, val bytea)";
        self.client().batch_execute(&format!("CREATE TABLE IF NOT EXISTS {table} {columns}")).map_err(failure)
    }

    fn read(&mut self, table: &Table, ids: &[String]) -> Result<Vec<Row>, Failure> {
        let statement = format!("SELECT id, header, meta, val FROM {table} WHERE id = ANY($1)");
        let rows = self.client().query_typed(&statement, &[(&ids, Type::VARCHAR_ARRAY)]).map_err(failure)?;
        let row = |row: &::postgres::Row| {
            let columns = [row.try_get(1)?, row.try_get(2)?, row.try_get(3)?];
            Ok((row.try_get::<_, String>(0)?.into_bytes(), columns))
        };
        rows.iter().map(row).collect::<Result<_, ::postgres::Error>>().map_err(failure)
    }

    fn glance(&mut self, table: &Table, ids: &[String]) -> Result<Vec<Glance>, Failure> {
        let statement = format!("SELECT id, header, meta, octet_length(val)::int8 FROM {table} WHERE id = ANY($1)");
        let rows = self.client().query_typed(&statement, &[(&ids, Type::VARCHAR_ARRAY)]).map_err(failure)?;
        let row = |row: &::postgres::Row| {
            let columns = [row.try_get(1)?, row.try_get(2)?];
            Ok((row.try_get::<_, String>(0)?.into_bytes(), columns, row.try_get(3)?))
        };
        rows.iter().map(row).collect::<Result<_, ::postgres::Error>>().map_err(failure)
    }

    fn write(&mut self, table: &Table, pieces: &[Vec<(String, Parts)>]) -> Result<(), Failure> {
        let statement = format!(
            "INSERT INTO {table} (id, header, meta, val) SELECT * FROM unnest($1, $2, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET header = excluded.header, meta = excluded.meta, val = excluded.val"
        );
        let mut transaction = self.client().transaction().map_err(failure)?;
        for piece in pieces {
            let ids: Vec<_> = piece.iter().map(|(id, _)| id.as_str()).collect();
            let [headers, metas, values] =
                [0, 1, 2].map(|part| piece.iter().map(|(_, parts)| &parts[part][..]).collect::<Vec<_>>());
            let bytes = Type::BYTEA_ARRAY;
            let parameters: [(&(dyn ::postgres::types::ToSql + Sync), Type); 4] =
                [(&ids, Type::VARCHAR_ARRAY), (&headers, bytes.clone()), (&metas, bytes.clone()), (&values, bytes)];
            transaction.query_typed(&statement, &parameters).map_err(failure)?;
        }
        transaction.commit().map_err(failure)
    }

    fn remove(&mut self, table: &Table, ids: &[String]) -> Result<(), Failure> {
        let statement = format!("DELETE FROM {table} WHERE id = ANY($1)");
        self.client().query_typed(&statement, &[(&ids, Type::VARCHAR_ARRAY)]).map(drop).map_err(failure)
    }

    fn list(&mut self, table: &Table, after: &str, most: usize) -> Result<Vec<String>, Failure> {
        let statement = format!("SELECT id FROM {table} WHERE id > $1 AND header IS NOT NULL ORDER BY id LIMIT {most}");
        let rows = self.client().query_typed(&statement, &[(&after, Type::VARCHAR)]).map_err(failure)?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(failure)
    }
}

/// How the library says that there is no connection, or none any more.
const BROKEN: [&str; 4] = [
    "error communicating with the server",
    "error connecting to server",
    "timeout waiting for server",
    "unexpected message from server",
];

/// What the server answered tells whether it is worth asking again; without an answer it is.
fn failure(error: ::postgres::Error) -> Failure {
    let Some(answer) = error.as_db_error() else {
        let message = causes(&error);
        // Whoever answers with a certificate that nobody trusts does so again.
        let is_passing = BROKEN.iter().any(|start| message.starts_with(start)) && !message.contains("peer certificate");
        return match is_passing || error.is_closed() {
            true => Failure::Passing(message),
            false if message.contains("password") => Failure::Lasting(ErrorKind::Denied, message),
            false => Failure::Lasting(ErrorKind::Failed, message),
        };
    };
    let message = format!("{} ({})", answer.message(), answer.code().code());
    // Classes of SQLSTATE: connections, resources, the operator, roll-backs; and two of access.
    match answer.code().code().get(..2).unwrap_or("") {
        "53" if *answer.code() == SqlState::DISK_FULL => Failure::Lasting(ErrorKind::NoSpace, message),
        "08" | "53" | "57" | "40" | "55" => Failure::Passing(message),
        "28" | "42" if *answer.code() == SqlState::INSUFFICIENT_PRIVILEGE => {
            Failure::Lasting(ErrorKind::Denied, message)
        }
        "28" => Failure::Lasting(ErrorKind::Denied, message),
        "3D" => Failure::Lasting(ErrorKind::NotFound, message),
        _ => Failure::Lasting(ErrorKind::Failed, message),
    }
}

/// The error with what lies below it.
fn causes(error: &::postgres::Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        let deeper_message = deeper.to_string();
        if !message.contains(&deeper_message) {
            message = format!("{message}: {deeper_message}");
        }
        cause = deeper.source();
    }
    message
}

fn client_config(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| unusable(&e))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn unusable(error: &rustls::Error) -> Error {
    Error::new(ErrorKind::Failed, "TLS", error)
}

/// Takes any certificate: for connections that are encrypted but go to whoever answers, as libpq's `require` does.
#[derive(Debug)]
struct Whoever(CryptoProvider);

impl ServerCertVerifier for Whoever {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn statements_have_a_limit_of_time() {
        let Ok(url) = std::env::var("SVC_PG_URL") else {
            eprintln!("skipped: SVC_PG_URL is not set");
            return;
        };
        let url = StoreUrl::parse(&url, &[]).unwrap();
        let mut connection = Postgres::of(&url, &|_| None).unwrap().connect().unwrap();
        for name in ["statement_timeout", "lock_timeout"] {
            let row = connection.client().query_one(&format!("SHOW {name}"), &[]).unwrap();
            assert_eq!(row.get::<_, String>(0), "2min", "{name}");
        }
    }
}
