//! What every command works with: options, the runtime, the repository.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packstone::backend::{Backend, LocalBackend};
#[cfg(feature = "cloud")]
use packstone::backend::{CloudAddress, CloudBackend, RetryPolicy, Retrying};
#[cfg(feature = "cloud")]
use packstone::format::ObjectPath;
use packstone::repository::{CreateOptions, OpenOptions, Repository, Secret};
use packstone::{Error, ErrorKind};
use tokio::runtime::Runtime;

use crate::args::Global;
use crate::exit::{Failure, Result};
use crate::output::Output;
use crate::progress::{Progress, Status};
use crate::secrets::{self, Ask};
use crate::signals;

/// What every command works with.
pub struct Context {
    pub global: Global,
    pub output: Arc<Output>,
    runtime: Runtime,
}

impl Context {
    /// Checks the options and starts the runtime.
    pub fn new(global: Global, output: Arc<Output>) -> Result<Self> {
        if let Some(folder) = global.temp_dir.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(Failure::usage(folder.display(), "there is no such folder for temporary files"));
        }
        let runtime = Runtime::new().map_err(|e| Error::io("runtime", e))?;
        signals::watch(&runtime, output.clone())?;
        Ok(Self { global, output, runtime })
    }

    /// Runs one of the library's asynchronous functions to its end.
    pub fn wait<T>(&self, work: impl Future<Output = packstone::Result<T>>) -> Result<T> {
        Ok(self.runtime.block_on(work)?)
    }

    /// An observer that shows the progress of a run.
    pub fn progress(&self, status: Status) -> Arc<Progress> {
        Progress::start(&self.global, self.output.clone(), status)
    }

    /// What sorting may take: the rest is for packs, caches and the index.
    pub fn sorting_memory_bytes(&self) -> usize {
        const MOST: u64 = 128 << 20;
        usize::try_from((self.global.memory_limit / 4).min(MOST)).expect("128 MiB fit into an address space")
    }

    /// Unlocks the repository.
    pub fn open(&self) -> Result<Repository> {
        let backend: Arc<dyn Backend> = match self.repository()? {
            Place::Local(path) => Arc::new(self.wait(LocalBackend::open(path))?),
            #[cfg(feature = "cloud")]
            Place::Cloud(address) => self.cloud(&address)?,
        };
        let secret = secrets::read(&self.global, Ask::Once)?;
        let options = OpenOptions { cache: self.cache()?, key_hint: self.global.key_hint.clone() };
        self.wait(Repository::open(backend, secret, options))
    }

    #[cfg(feature = "cloud")]
    fn cloud(&self, address: &CloudAddress) -> Result<Arc<dyn Backend>> {
        let policy = RetryPolicy {
            retries: self.global.retries,
            max_wait: self.global.retry_max_wait,
            connections: self.global.connections,
            ..RetryPolicy::default()
        };
        Ok(Arc::new(Retrying::new(CloudBackend::open(address)?, policy)))
    }

    /// Creates the repository.
    pub fn create(&self, options: CreateOptions) -> Result<Repository> {
        let place = self.repository()?;
        let taken = || Failure::from(Error::new(ErrorKind::AlreadyExists, &place, "a repository is here already"));
        // Before anybody is asked for a password.
        let backend: Arc<dyn Backend> = match &place {
            Place::Local(path) => {
                match self.wait(LocalBackend::open(path.clone())) {
                    Ok(_) => return Err(taken()),
                    Err(failure) if failure.kind() == ErrorKind::NoRepository => {}
                    Err(failure) => return Err(failure),
                }
                let secret = secrets::read(&self.global, Ask::Twice)?;
                let backend = Arc::new(self.wait(LocalBackend::create(path.clone()))?);
                return self.create_on(backend, secret, options);
            }
            #[cfg(feature = "cloud")]
            Place::Cloud(address) => self.cloud(address)?,
        };
        #[cfg(feature = "cloud")]
        if self.wait(backend.stat(&ObjectPath::config()))?.is_some() {
            return Err(taken());
        }
        self.create_on(backend, secrets::read(&self.global, Ask::Twice)?, options)
    }

    fn create_on(&self, backend: Arc<dyn Backend>, secret: Secret, options: CreateOptions) -> Result<Repository> {
        let options = CreateOptions { cache: self.cache()?, ..options };
        self.wait(Repository::create(backend, secret, options))
    }

    /// Unlocks the repository and loads its index, for commands that read blobs by their id.
    pub fn open_with_index(&self) -> Result<Repository> {
        let repository = self.open()?;
        repository.load_index(&repository.gc_records()?)?;
        Ok(repository)
    }

    /// Where the repository is.
    pub fn repository(&self) -> Result<Place> {
        let text = match (&self.global.repo, &self.global.repository_file) {
            (Some(text), _) => text.clone(),
            (None, Some(file)) => first_line(file)?,
            (None, None) => match (variable("PACKSTONE_REPOSITORY")?, variable("PACKSTONE_REPOSITORY_FILE")?) {
                (Some(text), None) => text,
                (None, Some(file)) => first_line(Path::new(&file))?,
                (Some(_), Some(_)) => {
                    return Err(Failure::usage("PACKSTONE_REPOSITORY", "PACKSTONE_REPOSITORY_FILE is set as well"));
                }
                (None, None) => {
                    return Err(Failure::usage("", "no repository given").hint("use -r PATH or PACKSTONE_REPOSITORY"));
                }
            },
        };
        self.place(&text)
    }

    fn place(&self, text: &str) -> Result<Place> {
        let mut options = Vec::new();
        for option in &self.global.option {
            match option.split_once('=') {
                Some((key, value)) if !key.is_empty() => options.push((key.to_owned(), value.to_owned())),
                _ => return Err(Failure::usage("-o", "an option is written key=value")),
            }
        }
        #[cfg(feature = "cloud")]
        if CloudAddress::looks_like_one(text) {
            let lookup = |name: &str| variable(name).ok().flatten();
            return Ok(Place::Cloud(CloudAddress::parse(text, &options, &lookup)?));
        }
        let path = local_path(text)?;
        match options.first() {
            Some((key, _)) => Err(Failure::usage("-o", format!("a repository in a local path has no option `{key}`"))),
            None => Ok(Place::Local(path)),
        }
    }

    fn cache(&self) -> Result<Option<PathBuf>> {
        if self.global.no_cache {
            return Ok(None);
        }
        let folder = match &self.global.cache_dir {
            Some(folder) => folder.clone(),
            None => match (variable("XDG_CACHE_HOME")?, variable("HOME")?) {
                (Some(base), _) => Path::new(&base).join("packstone"),
                (None, Some(home)) => Path::new(&home).join(".cache/packstone"),
                (None, None) => return Ok(None),
            },
        };
        std::fs::create_dir_all(&folder).map_err(|e| {
            Failure::from(Error::io(folder.display(), e)).hint("--cache-dir chooses another folder, --no-cache none")
        })?;
        Ok(Some(folder))
    }
}

/// Where a repository is.
pub enum Place {
    /// In a folder.
    Local(PathBuf),
    /// On an object store.
    #[cfg(feature = "cloud")]
    Cloud(CloudAddress),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            #[cfg(feature = "cloud")]
            Self::Cloud(address) => address.fmt(f),
        }
    }
}

/// An environment variable; one that is empty counts as not set, one that is not text is an error.
pub fn variable(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::usage(name, error)),
    }
}

fn first_line(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io(file.display(), e))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::usage(file.display(), "holds no repository")),
    }
}

fn local_path(text: &str) -> Result<PathBuf> {
    let path = text.strip_prefix("local:").unwrap_or(text);
    if let Some((scheme, _)) = path.split_once("://") {
        return Err(Error::new(ErrorKind::Usage, text, format!("this program was built without `{scheme}://`")).into());
    }
    if path.is_empty() {
        return Err(Failure::usage(text, "no path to a repository"));
    }
    Ok(path.into())
}
