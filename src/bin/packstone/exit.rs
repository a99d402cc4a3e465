//! How the program ends: exit codes, and errors with one hint for each kind.

use std::error::Error as _;
use std::fmt;
use std::process::ExitCode;

use packstone::datahike::Unreadable;
use packstone::{Error, ErrorKind};
use serde_json::json;

use crate::location::without_secrets;
use crate::output::Output;

/// The result of everything in the program.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// An exit code; the same meanings as restic's where it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Incomplete = 3,
    NoRepository = 10,
    Busy = 11,
    WrongKey = 12,
    Damage = 13,
    Cold = 14,
    NoSpace = 16,
    Foreign = 17,
    Interrupted = 130,
    Pipe = 141,
    Terminated = 143,
    /// What was compared is not the same: the number of `Failed`.
    Differs,
}

impl Code {
    /// The number that the program ends with.
    pub fn number(self) -> u8 {
        match self {
            Self::Differs => Self::Failed as u8,
            code => code as u8,
        }
    }

    /// One sentence about it, for runs that end with it after having done what they could.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "finished",
            Self::Failed => "failed",
            Self::Differs => "what was compared differs",
            Self::Usage => "the command makes no sense as it stands",
            Self::Incomplete => "finished, but some input failed",
            Self::NoRepository => "there is no repository",
            Self::Busy => "a session was not obtained",
            Self::WrongKey => "wrong password or key",
            Self::Damage => "damage was found",
            Self::Cold => "data must be thawed first",
            Self::NoSpace => "out of space",
            Self::Foreign => "another program's repository, or a newer one",
            Self::Interrupted | Self::Terminated => "interrupted",
            Self::Pipe => "the reader of the output has gone",
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

impl From<ErrorKind> for Code {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::NoRepository => Self::NoRepository,
            ErrorKind::Busy => Self::Busy,
            ErrorKind::WrongKey => Self::WrongKey,
            ErrorKind::Damaged => Self::Damage,
            ErrorKind::Cold => Self::Cold,
            ErrorKind::NoSpace | ErrorKind::OverBudget => Self::NoSpace,
            ErrorKind::Foreign => Self::Foreign,
            ErrorKind::Interrupted => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

/// Advice about a database that cannot be read.
pub const STORE_IS_DAMAGED: &str = "it is the store of the database that is damaged, not the repository; `packstone restore` \
                                    writes what was backed up to a new one";

/// Why the program stops, with what the user may do about it.
#[derive(Debug)]
pub struct Failure {
    error: Error,
    hint: Option<String>,
}

impl Failure {
    /// The request makes no sense as it stands.
    pub fn usage(object: impl fmt::Display, message: impl fmt::Display) -> Self {
        Error::new(ErrorKind::Usage, without_secrets(&object.to_string()), message).into()
    }

    /// The same with a cause.
    pub fn because(self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { error: self.error.because(cause), hint: self.hint }
    }

    /// The same with advice instead of that for its kind.
    pub fn hint(self, text: impl Into<String>) -> Self {
        Self { error: self.error, hint: Some(text.into()) }
    }

    /// What can be done about it.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    /// What it is about.
    pub fn object(&self) -> &str {
        self.error.object()
    }

    /// Its exit code.
    pub fn code(&self) -> Code {
        if self.is_broken_pipe() { Code::Pipe } else { self.kind().into() }
    }

    /// Says what went wrong; a reader that has seen enough is no error to talk about.
    pub fn report(&self, output: &Output) -> Code {
        let code = self.code();
        if code == Code::Pipe {
            return code;
        }
        let (message, advice) = (self.to_string(), self.advice());
        output.error(&message, advice.as_deref());
        output.exit_error(code, &message, advice.as_deref());
        code
    }

    /// Says what went wrong with one input, where the run goes on with others.
    pub fn report_input(&self, output: &Output) {
        let advice = self.advice();
        output.error(&self.to_string(), advice.as_deref());
        output.input_error(self.object(), &self.with_causes(self.error.message()), advice.as_deref());
    }

    fn advice(&self) -> Option<String> {
        let hint = self.hint.as_deref().or_else(|| self.advice_for_cause()).or_else(|| hint(self.kind()));
        hint.map(str::to_owned)
    }

    /// Advice where it is the cause that says what can be done.
    fn advice_for_cause(&self) -> Option<&'static str> {
        let is_of_database = self.causes().any(|cause| cause.is::<Unreadable>());
        match self.kind() {
            ErrorKind::WrongKey if is_of_database => {
                Some("the key of the store comes from `--datahike-key-file` or PACKSTONE_DATAHIKE_KEY")
            }
            ErrorKind::Damaged if is_of_database => Some(STORE_IS_DAMAGED),
            ErrorKind::Failed if self.is_denied() => {
                Some("this user may not: change the owner or the mode of what is named, or run as a user who may")
            }
            _ => None,
        }
    }

    /// Whether the system refuses it to this user.
    pub fn is_denied(&self) -> bool {
        self.causes().any(|cause| is_io(cause, std::io::ErrorKind::PermissionDenied))
    }

    /// Whether it was given up because of damage.
    pub fn comes_from_damage(&self) -> bool {
        let is_damage = |error: &Error| error.kind() == ErrorKind::Damaged;
        self.causes().any(|cause| cause.downcast_ref().is_some_and(is_damage))
    }

    fn is_broken_pipe(&self) -> bool {
        self.causes().any(|cause| is_io(cause, std::io::ErrorKind::BrokenPipe))
    }

    /// What is said, with the causes that say more.
    fn with_causes(&self, said: &str) -> String {
        let mut said = said.to_owned();
        for cause in self.causes() {
            let cause = cause.to_string();
            if !said.contains(&cause) {
                said = format!("{said}: {cause}");
            }
        }
        said
    }

    /// What it comes from, nearest first.
    fn causes(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        std::iter::successors(self.error.source(), |&cause| cause.source())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, hint: None }
    }
}

impl fmt::Display for Failure {
    /// The object, what is wrong with it, and causes that say more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_causes(&self.error.to_string()))
    }
}

fn is_io(cause: &(dyn std::error::Error + 'static), kind: std::io::ErrorKind) -> bool {
    cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == kind)
}

/// What to do about an error of a kind.
fn hint(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::NoRepository => "`packstone init -r PATH` creates one; or correct -r or PACKSTONE_REPOSITORY",
        ErrorKind::WrongKey => {
            "check the password (PACKSTONE_PASSWORD, -p FILE) or the key file (--key-file); without one of the \
             repository's secrets nobody can open it"
        }
        ErrorKind::Damaged => "`packstone check --read-data` names everything that is harmed",
        ErrorKind::NoSpace => {
            "free some space and run the same command again; what was acknowledged is safe, and `packstone prune` works \
             on a full disk"
        }
        ErrorKind::OverBudget => {
            "allow more with --max-cost and run the same command again: it continues with what is stored already; --bill shows \
             what was asked"
        }
        ErrorKind::Cold => "`packstone restore` says what must be thawed, and asks the store for it",
        ErrorKind::Foreign => "use the program and version that made it, or another path for a new repository",
        ErrorKind::Denied => {
            "check the store's credentials and what they may do: the cloud's own variables (such as AWS_ACCESS_KEY_ID), or -o"
        }
        ErrorKind::Busy | ErrorKind::Transient | ErrorKind::Throttled | ErrorKind::Interrupted => {
            "run the same command again: it continues with what is stored already"
        }
        _ => return None,
    })
}

/// Prints what clap has to say: help and version as well as mistakes.
pub fn report_usage(error: &clap::Error) -> ExitCode {
    let code = if error.use_stderr() { Code::Usage } else { Code::Ok };
    let printed = error.print();
    if code == Code::Usage && std::env::args_os().any(|argument| argument == "--json") {
        let message = error.render().to_string();
        let message = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let line = json!({ "message_type": "exit_error", "code": code.number(), "message": message });
        Output::standard_error(&line.to_string());
    }
    match printed {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Code::Pipe.into(),
        _ => code.into(),
    }
}
