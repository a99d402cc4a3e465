//! `scheme://user:password@host:port/path?option=value`: where a store is that is not a folder.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

/// What JDBC puts before its own addresses.
pub(super) const JDBC: &str = "jdbc:";
/// Schemes of files of this machine.
const FILES: [&str; 2] = ["sqlite", "file"];

/// Looks up a variable of the environment.
pub(super) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A taken-apart address. Shown without the password and without any option but `table`.
#[derive(Clone)]
pub(super) struct StoreUrl {
    pub(super) scheme: String,
    user: Option<String>,
    password: Option<Zeroizing<String>>,
    host: Option<String>,
    port: Option<u16>,
    /// What comes after the host, without the slash before it.
    pub(super) path: String,
    options: BTreeMap<String, String>,
}

impl StoreUrl {
    /// Takes it apart; `known` are the options that have a meaning here.
    pub(super) fn parse(text: &str, known: &[&str]) -> Result<Self> {
        Self::take_apart(text, Some(known))
    }

    /// The same, whatever its options are.
    #[cfg(feature = "s3")]
    pub(super) fn parse_any(text: &str) -> Result<Self> {
        Self::take_apart(text, None)
    }

    fn take_apart(text: &str, known: Option<&[&str]>) -> Result<Self> {
        let text = match text.get(..JDBC.len()) {
            Some(start) if start.eq_ignore_ascii_case(JDBC) => &text[JDBC.len()..],
            _ => text,
        };
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        let scheme = scheme.to_ascii_lowercase();
        // Nothing of what may hold a password is shown when it cannot be told which part that is.
        let refuse = |why: String| Error::new(ErrorKind::Usage, format!("{scheme}:..."), why);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut options = BTreeMap::new();
        for (index, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            let number = index + 1;
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // What looks like an option may be the rest of a password that holds `?` or `&`: it is never shown.
            if pair.contains('@') && !["user", "password"].contains(&name) {
                return Err(refuse(
                    "`@` behind `?`: in a password `?` is written %3F, and in an option `@` %40".to_owned(),
                ));
            }
            let bad = || refuse(format!("option {number}: bad percent-encoding"));
            let name = decoded(name).ok_or_else(bad)?;
            if let Some(known) = known.filter(|known| !known.contains(&name.as_str())) {
                let known = known.join(", ");
                return Err(refuse(format!("option {number} has no meaning here; there are {known}")));
            }
            options.insert(name, decoded(value).ok_or_else(bad)?);
        }
        let mut url = Self {
            scheme: scheme.clone(),
            user: None,
            password: None,
            host: None,
            port: None,
            path: String::new(),
            options,
        };
        let bad = |what: &str| refuse(format!("bad percent-encoding in the {what}"));
        let Some(rest) = rest.strip_prefix("//") else {
            if !FILES.contains(&scheme.as_str()) {
                return Err(refuse(format!("`//` must follow: {scheme}://host/...")));
            }
            url.path = decoded(rest).ok_or_else(|| bad("path"))?;
            return Ok(url);
        };
        // A password may hold slashes that nobody encoded, but no host holds `@`.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        url.path = decoded(path).ok_or_else(|| bad("path"))?;
        if let Some(credentials) = credentials {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            url.user = Some(decoded(user).ok_or_else(|| bad("user"))?).filter(|user| !user.is_empty());
            let password = decoded(password).ok_or_else(|| bad("password"))?;
            url.password = Some(Zeroizing::new(password)).filter(|password| !password.is_empty());
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => match bracketed.split_once(']') {
                Some((host, port)) => (host, port.strip_prefix(':')),
                None => return Err(refuse("`[` without `]` in the host".to_owned())),
            },
            None => match place.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        url.host = Some(decoded(host).ok_or_else(|| bad("host"))?).filter(|host| !host.is_empty());
        url.port = match port.filter(|port| !port.is_empty()) {
            Some(port) => Some(port.parse().map_err(|_| refuse("the port is no number up to 65535".to_owned()))?),
            None => None,
        };
        Ok(url)
    }

    /// The user, or what the first set variable of these says.
    pub(super) fn user(&self, variables: &[&str], variable: Variable<'_>) -> Option<String> {
        self.user.clone().or_else(|| self.options.get("user").cloned()).or_else(|| first(variables, variable))
    }

    /// The password, or what the first set variable of these says.
    pub(super) fn password(&self, variables: &[&str], variable: Variable<'_>) -> Option<Zeroizing<String>> {
        let written = self.options.get("password").cloned().map(Zeroizing::new);
        self.password.clone().or(written).or_else(|| first(variables, variable).map(Zeroizing::new))
    }

    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    pub(super) fn port(&self) -> Option<u16> {
        self.port
    }

    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The options by their names.
    pub(super) fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.options.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// An error about this address.
    pub(super) fn refuse(&self, why: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Usage, self, why)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if self.host.is_some() || self.port.is_some() {
            f.write_str("//")?;
            if let Some(user) = &self.user {
                write!(f, "{user}@")?;
            }
            match self.host.as_deref().unwrap_or("") {
                host if host.contains(':') => write!(f, "[{host}]")?,
                host => f.write_str(host)?,
            }
            if let Some(port) = self.port {
                write!(f, ":{port}")?;
            }
            f.write_str("/")?;
        }
        f.write_str(&self.path)?;
        match self.option("table") {
            Some(table) => write!(f, "?table={table}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address as it may be stored: without user, password and options, but for the table.
pub(super) fn shown(text: &str) -> String {
    match StoreUrl::take_apart(text, None) {
        Ok(url) => StoreUrl { user: None, ..url }.to_string(),
        // Which part is the password cannot be told.
        Err(error) => error.object().to_owned(),
    }
}

fn first(variables: &[&str], variable: Variable<'_>) -> Option<String> {
    variables.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()))
}

/// Without percent-encoding; `None` for what is none, or no UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| value.try_into().ok())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const KNOWN: [&str; 4] = ["table", "user", "password", "sslmode"];
    const NOTHING: Variable<'_> = &|_| None;

    fn parse(text: &str) -> StoreUrl {
        StoreUrl::parse(text, &KNOWN).unwrap()
    }

    #[test]
    fn every_part_is_found_and_the_password_is_not_shown() {
        let url = parse("postgres://me:p%40s%2Fs@host.example:5433/data%20base?table=app_a&sslmode=disable");
        assert_eq!(url.user(&[], NOTHING).as_deref(), Some("me"));
        assert_eq!(url.password(&[], NOTHING).unwrap().as_str(), "p@s/s");
        assert_eq!((url.host(), url.port(), url.path.as_str()), (Some("host.example"), Some(5433), "data base"));
        assert_eq!(url.option("table"), Some("app_a"));
        assert_eq!(url.to_string(), "postgres://me@host.example:5433/data base?table=app_a");
        assert!(!format!("{url:?} {url}").contains("p@s"));
        assert_eq!(parse("redis://:a/b@c@host/0").password(&[], NOTHING).unwrap().as_str(), "a/b@c");
        assert_eq!(parse("redis://[::1]:7/0").host(), Some("::1"));
        assert_eq!(parse("redis://[::1]:7/0").to_string(), "redis://[::1]:7/0");
        assert_eq!(parse("sqlite:/some/where.db").path, "/some/where.db");
        assert_eq!(parse("sqlite:///some/where.db").path, "some/where.db");
    }

    #[test]
    fn what_is_written_goes_before_the_environment() {
        let variable = |name: &str| (name == "PGPASSWORD").then(|| "from-environment".to_owned());
        let password = |text: &str| parse(text).password(&["PGPASSWORD"], &variable).unwrap().as_str().to_owned();
        assert_eq!(password("postgres://me@host/db"), "from-environment");
        assert_eq!(password("postgres://me:written@host/db"), "written");
        assert_eq!(password("postgresql://host/db?user=me&password=option"), "option");
        assert_eq!(parse("postgresql://host/db?password=option").to_string(), "postgresql://host/db");
    }

    #[test]
    fn what_is_stored_names_the_store_and_nobody() {
        for (text, expected) in [
            ("postgres://me:hunter2@host:5433/db?table=a&sslmode=x", "postgres://host:5433/db?table=a"),
            ("redis://:hun/ter2@x@host/0", "redis://host/0"),
            ("postgresql://host/db?user=me&password=hunter2", "postgresql://host/db"),
            ("s3://bucket/id?secret_access_key=hunter2", "s3://bucket/id"),
            ("postgres://me:hunter2@host:port/db", "postgres:..."),
            ("jdbc:postgresql://me:hunter2@host/db", "postgresql://host/db"),
            ("postgres:me:hunter2@host/db", "postgres:..."),
            ("jdbc:me:hunter2@host/db", "me:..."),
            ("sqlite:/a/b.db?table=c", "sqlite:/a/b.db?table=c"),
            ("Postgres://me:hunter2@host/db", "postgres://host/db"),
            ("JDBC:PostgreSQL://me:hunter2@host/db", "postgresql://host/db"),
            ("s3://key:hun/ter2@bucket/id", "s3://bucket/id"),
            ("redis://:hun%40ter2@host/0", "redis://host/0"),
            ("mysql://me:hun:t/er@2@host/db", "mysql://host/db"),
            ("postgresql://host/db?user=me@x&password=hunter2@y", "postgresql://host/db"),
            // Where the password holds `?`, which part is the host cannot be told.
            ("postgres://me:123?hunter2@host/db", "postgres:..."),
            ("postgres://me:123?a=hunter2@host/db", "postgres:..."),
            ("postgres://me:12/3?hunter2@host/db", "postgres:..."),
            ("postgres://me:hun@ter?2@host/db", "postgres:..."),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn refusals_show_no_password() {
        for bad in [
            "postgres://me:hunter2@host:port/db",
            "postgres://me:hunter2@host/db?tabel=x",
            "postgres://me:hunter2%@host/db",
            "postgres://me:hunter2@[::1/db",
            "postgres://host/db?passwort=hunter2",
            "postgres://me:123?hunter2@host/db",
            "postgres://me:1/2?table=hunter2@host/db",
            "postgres://host/db?user=me&password=a&hunter2=x",
            "postgres://me@host/db?password=a&hunter2",
            "postgres://me@host/db?password=a&hunter2=%",
        ] {
            let error = StoreUrl::parse(bad, &KNOWN).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
