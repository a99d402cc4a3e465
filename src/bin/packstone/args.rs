//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use packstone::backend::Money;

use crate::commands;
use crate::{period, size};

/// Content-addressed, deduplicating, encrypted backups of datom databases.
#[derive(Debug, Parser)]
#[command(name = "packstone", version, after_long_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 ok; 1 failed; 2 usage; 3 finished, but some input failed; 10 no repository; 11 session not obtained; \
12 wrong password or key; 13 damage found; 14 data must be thawed first: run again later; 16 out of space or over \
--max-cost; 17 another program's repository or a newer one; \
130 and 143 interrupted. Any other code than 0 means failure.

Environment: PACKSTONE_REPOSITORY, PACKSTONE_REPOSITORY_FILE; PACKSTONE_PASSWORD, PACKSTONE_PASSWORD_FILE, \
PACKSTONE_PASSWORD_COMMAND or PACKSTONE_KEY_FILE (one of them); PACKSTONE_KEY_HINT; PACKSTONE_NEW_PASSWORD; for copy \
PACKSTONE_FROM_REPOSITORY, PACKSTONE_FROM_PASSWORD and so on, like these; PACKSTONE_DATAHIKE_KEY; PACKSTONE_CACHE_DIR; \
PACKSTONE_CACHE_SIZE; PACKSTONE_HOST; PACKSTONE_COMPRESSION; PACKSTONE_READ_CONCURRENCY; PACKSTONE_MEMORY_LIMIT; \
PACKSTONE_TEMP_DIR; PACKSTONE_RETRIES; PACKSTONE_CONNECTIONS; PACKSTONE_PRICE_TABLE; PACKSTONE_PRICE_CLASS; \
PACKSTONE_PROGRESS_FPS; PACKSTONE_LOG.";

/// Options of every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The repository: a path, or s3://BUCKET/PREFIX, gcs://..., azblob://... [env: PACKSTONE_REPOSITORY]
    #[arg(short, long, global = true, value_name = "PATH", conflicts_with = "repository_file")]
    pub repo: Option<String>,
    /// File that holds the repository's path [env: PACKSTONE_REPOSITORY_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub repository_file: Option<PathBuf>,
    /// File that holds the password [env: PACKSTONE_PASSWORD_FILE]
    #[arg(short, long, global = true, value_name = "FILE", conflicts_with_all = ["password_command", "key_file"])]
    pub password_file: Option<PathBuf>,
    /// Shell command that prints the password [env: PACKSTONE_PASSWORD_COMMAND]
    #[arg(long, global = true, value_name = "COMMAND", conflicts_with = "key_file")]
    pub password_command: Option<String>,
    /// Key file, 32 bytes to 1 MiB, instead of a password [env: PACKSTONE_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Try only the key slot whose id begins like this
    #[arg(long, global = true, value_name = "ID", env = "PACKSTONE_KEY_HINT", hide_env_values = true)]
    pub key_hint: Option<String>,
    /// Folder of the local cache, which can be deleted at any time [default: ~/.cache/packstone]
    #[arg(long, global = true, value_name = "DIR", env = "PACKSTONE_CACHE_DIR", hide_env_values = true)]
    pub cache_dir: Option<PathBuf>,
    /// What the local cache of a repository may take, roughly
    #[arg(long, global = true, value_name = "SIZE", env = "PACKSTONE_CACHE_SIZE", hide_env_values = true,
          default_value = "1GiB", value_parser = size::parse)]
    pub cache_size: u64,
    /// Use no local cache
    #[arg(long, global = true)]
    pub no_cache: bool,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print details
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Print JSON: one document for lists, lines with a `message_type` for runs
    #[arg(long, global = true)]
    pub json: bool,
    /// Show no progress
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Updates of the progress a second; 0 for none [default: 10 on a terminal, else 1]
    #[arg(long, global = true, hide = true, value_name = "N", env = "PACKSTONE_PROGRESS_FPS", value_parser = frames_per_second)]
    pub progress_fps: Option<f64>,
    /// Anonymous memory that the program may take; mapped files do not count
    #[arg(long, global = true, value_name = "SIZE", env = "PACKSTONE_MEMORY_LIMIT", hide_env_values = true,
          default_value = "512MiB", value_parser = memory_limit)]
    pub memory_limit: u64,
    /// Folder for temporary files [default: the system's]
    #[arg(long, global = true, value_name = "DIR", env = "PACKSTONE_TEMP_DIR", hide_env_values = true)]
    pub temp_dir: Option<PathBuf>,
    /// How often a request to an object store is repeated when it failed for a passing reason
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 8,
        env = "PACKSTONE_RETRIES",
        hide_env_values = true
    )]
    pub retries: u32,
    /// The longest wait before a request is repeated
    #[arg(long, global = true, value_name = "PERIOD", default_value = "1m", value_parser = period::parse)]
    pub retry_max_wait: Duration,
    /// The wait before a request is repeated for the first time; it doubles each time
    #[arg(long, global = true, hide = true, value_name = "PERIOD", default_value = "1s", value_parser = period::parse)]
    pub retry_first_wait: Duration,
    /// When there is no space, wait and try again every so often instead of stopping
    #[arg(long, global = true, value_name = "PERIOD", value_parser = period::parse)]
    pub wait_on_full: Option<Duration>,
    /// The most bytes a second that are written to the repository, e.g. 2MiB; a number alone is KiB
    #[arg(long, global = true, value_name = "SIZE", value_parser = speed)]
    pub limit_upload: Option<u64>,
    /// The most bytes a second that are read from the repository
    #[arg(long, global = true, value_name = "SIZE", value_parser = speed)]
    pub limit_download: Option<u64>,
    /// The most requests a second
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit_requests: Option<u64>,
    /// The most requests to an object store at once; how many there are follows from its answers
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 32,
        env = "PACKSTONE_CONNECTIONS",
        hide_env_values = true
    )]
    pub connections: usize,
    /// Option of an object store, e.g. endpoint, region, default-storage-class, ca-cert (repeatable)
    #[arg(short, long = "option", global = true, value_name = "KEY=VALUE")]
    pub option: Vec<String>,
    /// At the end, print what was asked of the store and what it costs at most by its list prices
    #[arg(long, global = true)]
    pub bill: bool,
    /// Stop, with code 16, before requests can cost more than this; running the command again continues. In the currency of
    /// the prices, USD for the built-in ones; storage is not counted
    #[arg(long, global = true, value_name = "AMOUNT")]
    pub max_cost: Option<Money>,
    /// JSON file with prices instead of the built-in ones of AWS S3, Google, Azure and B2; any endpoint may have some
    #[arg(long, global = true, value_name = "FILE", env = "PACKSTONE_PRICE_TABLE", hide_env_values = true)]
    pub price_table: Option<PathBuf>,
    /// Storage class to take prices of, e.g. Cool or s3/GLACIER_IR [default: the one that objects are written with]
    #[arg(long, global = true, value_name = "CLASS", env = "PACKSTONE_PRICE_CLASS", hide_env_values = true)]
    pub price_class: Option<String>,
    /// An option or credential of the object store of one mirror (repeatable)
    #[arg(long, global = true, value_name = "NAME:KEY=VALUE")]
    pub mirror_option: Vec<String>,
}

/// What sorting needs at the very least.
const MEMORY_MIN_BYTES: u64 = 64 << 20;

fn memory_limit(text: &str) -> Result<u64, String> {
    match size::parse(text)? {
        bytes if bytes < MEMORY_MIN_BYTES => Err(format!("less than {}", size::show(MEMORY_MIN_BYTES))),
        bytes => Ok(bytes),
    }
}

/// As restic has it: a number alone is of KiB.
fn speed(text: &str) -> Result<u64, String> {
    let bytes = match text.trim().parse::<u64>() {
        Ok(kibibytes) => kibibytes.checked_mul(1024).ok_or_else(|| format!("`{text}` is too large"))?,
        Err(_) => size::parse(text.trim().trim_end_matches("/s"))?,
    };
    if bytes == 0 { Err("a limit of nothing".to_owned()) } else { Ok(bytes) }
}

fn frames_per_second(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|fps| (0.0..=1000.0).contains(fps)).ok_or_else(|| format!("`{text}`: 0 to 1000"))
}

/// Which snapshots are considered.
#[derive(Args, Clone, Debug, Default)]
pub struct Filters {
    /// Only snapshots of this host (repeatable)
    #[arg(short = 'H', long, value_name = "HOST")]
    pub host: Vec<String>,
    /// Only snapshots with this label (repeatable)
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// Only snapshots with all of these tags, separated by commas (repeatable: any of the lists will do)
    #[arg(long, value_name = "TAG,...")]
    pub tag: Vec<String>,
}

/// Another repository, which is read.
#[derive(Args, Clone, Debug)]
pub struct FromRepository {
    /// The repository to read: a path or an object store [env: PACKSTONE_FROM_REPOSITORY]
    #[arg(long, value_name = "PATH", conflicts_with = "from_repository_file")]
    pub from_repo: Option<String>,
    /// File that holds its path [env: PACKSTONE_FROM_REPOSITORY_FILE]
    #[arg(long, value_name = "FILE")]
    pub from_repository_file: Option<PathBuf>,
    /// File that holds its password [env: PACKSTONE_FROM_PASSWORD_FILE]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from_password_command", "from_key_file"])]
    pub from_password_file: Option<PathBuf>,
    /// Shell command that prints its password [env: PACKSTONE_FROM_PASSWORD_COMMAND]
    #[arg(long, value_name = "COMMAND", conflicts_with = "from_key_file")]
    pub from_password_command: Option<String>,
    /// Its key file instead of a password [env: PACKSTONE_FROM_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub from_key_file: Option<PathBuf>,
    /// Try only its key slot whose id begins like this
    #[arg(long, value_name = "ID", env = "PACKSTONE_FROM_KEY_HINT", hide_env_values = true)]
    pub from_key_hint: Option<String>,
    /// An option of its object store (repeatable); the rest is as for `-o`
    #[arg(long = "from-option", value_name = "KEY=VALUE")]
    pub from_option: Vec<String>,
}

/// The secret of a new key slot.
#[derive(Args, Clone, Debug)]
pub struct NewSecret {
    /// File that holds the new password [env: PACKSTONE_NEW_PASSWORD, the password itself]
    #[arg(long, value_name = "FILE", conflicts_with = "new_key_file")]
    pub new_password_file: Option<PathBuf>,
    /// New key file, 32 bytes to 1 MiB
    #[arg(long, value_name = "FILE")]
    pub new_key_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    Init(commands::init::Arguments),
    Backup(commands::backup::Arguments),
    Restore(commands::restore::Arguments),
    Dump(commands::dump::Arguments),
    Snapshots(commands::snapshots::Arguments),
    Ls(commands::ls::Arguments),
    Find(commands::find::Arguments),
    Diff(commands::diff::Arguments),
    Stats(commands::stats::Arguments),
    Cat(commands::cat::Arguments),
    Verify(commands::verify::Arguments),
    Check(commands::check::Arguments),
    Doctor(commands::doctor::Arguments),
    Forget(commands::forget::Arguments),
    Tag(commands::tag::Arguments),
    Rewrite(commands::rewrite::Arguments),
    Copy(commands::copy::Arguments),
    Mirror(commands::mirror::Arguments),
    Mount(commands::mount::Arguments),
    Prune(commands::prune::Arguments),
    Repair(commands::repair::Arguments),
    Sync(commands::sync::Arguments),
    Migrate(commands::migrate::Arguments),
    Key(commands::key::Arguments),
    Cache(commands::cache::Arguments),
    Completions(commands::completions::Arguments),
    Demo(commands::demo::Arguments),
    /// Explain why there is nothing to unlock
    #[command(hide = true)]
    Unlock,
    /// Commands on the repository, for those who look for them here
    #[command(hide = true)]
    Repo {
        #[command(subcommand)]
        command: RepoCommand,
    },
}

/// What other programs group as commands on the repository.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    Init(commands::init::Arguments),
    Check(commands::check::Arguments),
    Prune(commands::prune::Arguments),
    Stats(commands::stats::Arguments),
    Repair(commands::repair::Arguments),
    Key(commands::key::Arguments),
    Cat(commands::cat::Arguments),
}

impl From<RepoCommand> for Command {
    fn from(command: RepoCommand) -> Self {
        match command {
            RepoCommand::Init(arguments) => Self::Init(arguments),
            RepoCommand::Check(arguments) => Self::Check(arguments),
            RepoCommand::Prune(arguments) => Self::Prune(arguments),
            RepoCommand::Stats(arguments) => Self::Stats(arguments),
            RepoCommand::Repair(arguments) => Self::Repair(arguments),
            RepoCommand::Key(arguments) => Self::Key(arguments),
            RepoCommand::Cat(arguments) => Self::Cat(arguments),
        }
    }
}
