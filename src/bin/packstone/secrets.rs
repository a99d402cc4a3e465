//! Where passwords and key files come from: options, the environment, or the terminal.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use packstone::repository::Secret;
use packstone::{Error, ErrorKind};

use crate::args::{FromRepository, Global, NewSecret};
use crate::context::variable;
use crate::exit::{Failure, Result};

/// A longer password or key file is a mistake.
const SECRET_MAX_BYTES: u64 = 1 << 20;

/// How often a password is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Once, to open.
    Once,
    /// Twice, to set.
    Twice,
}

/// Where one repository's secret may come from.
struct Origins<'a> {
    password_file: Option<&'a Path>,
    password_command: Option<&'a str>,
    key_file: Option<&'a Path>,
    /// Start of the names of its variables.
    prefix: &'static str,
    prompt: &'static str,
}

/// The secret that opens the repository: an option, else the one variable that is set, else the terminal.
pub fn read(global: &Global, ask: Ask) -> Result<Secret> {
    let origins = Origins {
        password_file: global.password_file.as_deref(),
        password_command: global.password_command.as_deref(),
        key_file: global.key_file.as_deref(),
        prefix: "PACKSTONE_",
        prompt: "password for the repository: ",
    };
    origins.read(ask)
}

/// The secret that opens the other repository, likewise.
pub fn read_from(from: &FromRepository) -> Result<Secret> {
    let origins = Origins {
        password_file: from.from_password_file.as_deref(),
        password_command: from.from_password_command.as_deref(),
        key_file: from.from_key_file.as_deref(),
        prefix: "PACKSTONE_FROM_",
        prompt: "password for the repository that is read: ",
    };
    origins.read(Ask::Once)
}

impl Origins<'_> {
    fn read(&self, ask: Ask) -> Result<Secret> {
        if let Some(path) = self.password_file {
            return password_file(path);
        }
        if let Some(command) = self.password_command {
            return password_command(command);
        }
        if let Some(path) = self.key_file {
            return key_file(path);
        }
        let mut set = Vec::new();
        for kind in ["PASSWORD", "PASSWORD_FILE", "PASSWORD_COMMAND", "KEY_FILE"] {
            let name = format!("{}{kind}", self.prefix);
            set.extend(variable(&name)?.map(|value| (kind, name, value)));
        }
        match set.as_slice() {
            [] => prompt(self.prompt, ask),
            [("PASSWORD", _, password)] => Ok(Secret::password(password)),
            [("PASSWORD_FILE", _, path)] => password_file(Path::new(path)),
            [("PASSWORD_COMMAND", _, command)] => password_command(command),
            [(_, _, path)] => key_file(Path::new(path)),
            [(_, first, _), (_, second, _), ..] => {
                let message = format!("{second} is set as well: which one counts?");
                Err(Failure::usage(first, message).hint("unset one of them"))
            }
        }
    }
}

/// The secret for a new key slot.
pub fn read_new(new: &NewSecret) -> Result<Secret> {
    match (&new.new_password_file, &new.new_key_file) {
        (Some(path), _) => password_file(path),
        (None, Some(path)) => key_file(path),
        (None, None) => match variable("PACKSTONE_NEW_PASSWORD")? {
            Some(password) => Ok(Secret::password(password)),
            None => prompt("new password: ", Ask::Twice),
        },
    }
}

fn password_file(path: &Path) -> Result<Secret> {
    password(content(path)?, &path.display().to_string())
}

fn key_file(path: &Path) -> Result<Secret> {
    Ok(Secret::key_file(content(path)?))
}

fn content(path: &Path) -> Result<Vec<u8>> {
    let failed = |error| Failure::from(Error::io(path.display(), error));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(SECRET_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SECRET_MAX_BYTES {
        return Err(Failure::usage(path.display(), "too long for a password or key file"));
    }
    Ok(bytes)
}

/// The command runs in a shell; what it prints, up to the end of the line, is the password.
fn password_command(command: &str) -> Result<Secret> {
    let name = "password command";
    let child = Command::new("sh").args(["-c", command]).stdin(Stdio::inherit()).stderr(Stdio::inherit()).output();
    let output = child.map_err(|e| Error::io(name, e))?;
    if !output.status.success() {
        return Err(Error::new(ErrorKind::Failed, name, output.status).into());
    }
    password(output.stdout, name)
}

/// Bytes as a password, without the end of the line.
fn password(bytes: Vec<u8>, from: &str) -> Result<Secret> {
    let text = String::from_utf8(bytes).map_err(|_| Failure::usage(from, "a password must be UTF-8 text"))?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err(Failure::usage(from, "an empty password"));
    }
    Ok(Secret::password(text))
}

fn prompt(text: &str, ask: Ask) -> Result<Secret> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("", "no password given, and no terminal to ask for one")
            .hint("use -p FILE, --password-command, --key-file, or PACKSTONE_PASSWORD, _FILE or _COMMAND"));
    }
    let read = |text| rpassword::prompt_password(text).map_err(|e| Failure::from(Error::io("terminal", e)));
    let first = read(text)?;
    if first.is_empty() {
        return Err(Failure::usage("", "an empty password"));
    }
    if ask == Ask::Twice && read("the same again: ")? != first {
        return Err(Failure::usage("", "the two passwords differ"));
    }
    Ok(Secret::password(first))
}
