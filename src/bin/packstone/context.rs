//! What every command works with: options, the runtime, the repository.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packstone::backend::{Backend, LocalBackend};
#[cfg(feature = "cloud")]
use packstone::backend::{CloudAddress, CloudBackend, RetryPolicy, Retrying};
#[cfg(feature = "cloud")]
use packstone::format::ObjectPath;
use packstone::repository::{CreateOptions, Intent, OpenOptions, Repository, Secret};
use packstone::{Error, ErrorKind};
use tokio::runtime::Runtime;

use crate::args::{FromRepository, Global};
use crate::exit::{Failure, Result};
use crate::output::Output;
use crate::place::{self, Place};
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
        self.open_for(Intent::Anything)
    }

    /// Unlocks the repository; the requests that follow are sent along.
    pub fn open_for(&self, intent: Intent) -> Result<Repository> {
        let backend = self.connect(self.repository()?)?;
        let secret = secrets::read(&self.global, Ask::Once)?;
        self.open_with(
            backend,
            secret,
            OpenOptions { key_hint: self.global.key_hint.clone(), intent, ..self.opening()? },
        )
    }

    /// Unlocks another repository.
    pub fn open_from(&self, from: &FromRepository) -> Result<Repository> {
        let names = ["PACKSTONE_FROM_REPOSITORY", "PACKSTONE_FROM_REPOSITORY_FILE"];
        let text =
            place::named(from.from_repo.as_ref(), from.from_repository_file.as_ref(), names)?.ok_or_else(|| {
                Failure::usage("", "no repository to read given")
                    .hint("use --from-repo PATH or PACKSTONE_FROM_REPOSITORY")
            })?;
        let backend = self.connect(Place::parse(&text, &from.from_option)?)?;
        let options = OpenOptions { key_hint: from.from_key_hint.clone(), ..self.opening()? };
        self.open_with(backend, secrets::read_from(from)?, options)
    }

    fn open_with(&self, backend: Arc<dyn Backend>, secret: Secret, options: OpenOptions) -> Result<Repository> {
        self.wait(Repository::open(backend, secret, options))
    }

    fn opening(&self) -> Result<OpenOptions> {
        Ok(OpenOptions { cache: self.cache()?, cache_size_bytes: self.global.cache_size, ..OpenOptions::default() })
    }

    fn connect(&self, place: Place) -> Result<Arc<dyn Backend>> {
        match place {
            Place::Local(path) => Ok(Arc::new(self.wait(LocalBackend::open(path))?)),
            #[cfg(feature = "cloud")]
            Place::Cloud(address) => self.cloud(&address),
        }
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
        let names = ["PACKSTONE_REPOSITORY", "PACKSTONE_REPOSITORY_FILE"];
        let text = place::named(self.global.repo.as_ref(), self.global.repository_file.as_ref(), names)?
            .ok_or_else(|| Failure::usage("", "no repository given").hint("use -r PATH or PACKSTONE_REPOSITORY"))?;
        Place::parse(&text, &self.global.option)
    }

    fn cache(&self) -> Result<Option<PathBuf>> {
        if self.global.no_cache {
            return Ok(None);
        }
        let Some(folder) = self.cache_folder()? else { return Ok(None) };
        std::fs::create_dir_all(&folder).map_err(|e| {
            Failure::from(Error::io(folder.display(), e)).hint("--cache-dir chooses another folder, --no-cache none")
        })?;
        Ok(Some(folder))
    }

    /// Where the local cache is, or would be; none where there is no place for it.
    pub fn cache_folder(&self) -> Result<Option<PathBuf>> {
        let folder = match &self.global.cache_dir {
            Some(folder) => folder.clone(),
            None => match (variable("XDG_CACHE_HOME")?, variable("HOME")?) {
                (Some(base), _) => Path::new(&base).join("packstone"),
                (None, Some(home)) => Path::new(&home).join(".cache/packstone"),
                (None, None) => return Ok(None),
            },
        };
        Ok(Some(folder))
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
