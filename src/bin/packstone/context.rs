//! What every command works with: options, the runtime, the repository.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use packstone::backend::{Backend, LocalBackend, Mirrored, Unreachable};
#[cfg(feature = "cloud")]
use packstone::backend::{CloudAddress, CloudBackend, RetryPolicy, Retrying};
#[cfg(feature = "cloud")]
use packstone::format::ObjectPath;
use packstone::repository::{CreateOptions, OpenOptions, Repository, Secret};
use packstone::{Error, ErrorKind};
use tokio::runtime::Runtime;

use crate::args::{FromRepository, Global};
use crate::exit::{Failure, Result};
use crate::output::Output;
use crate::place::{self, Place};
use crate::progress::{Progress, Status};
use crate::secrets::{self, Ask};
use crate::{mirrors, signals};

/// What every command works with.
pub struct Context {
    pub global: Global,
    pub output: Arc<Output>,
    runtime: Runtime,
    /// Every repository that was opened.
    opened: Mutex<Vec<Repository>>,
}

impl Context {
    /// Checks the options and starts the runtime.
    pub fn new(global: Global, output: Arc<Output>) -> Result<Self> {
        if let Some(folder) = global.temp_dir.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(Failure::usage(folder.display(), "there is no such folder for temporary files"));
        }
        let runtime = Runtime::new().map_err(|e| Error::io("runtime", e))?;
        signals::watch(&runtime, output.clone())?;
        Ok(Self { global, output, runtime, opened: Mutex::default() })
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
        let place = self.repository()?;
        self.open_with(place, || secrets::read(&self.global, Ask::Once), self.global.key_hint.clone())
    }

    /// Unlocks another repository.
    pub fn open_from(&self, from: &FromRepository) -> Result<Repository> {
        let names = ["PACKSTONE_FROM_REPOSITORY", "PACKSTONE_FROM_REPOSITORY_FILE"];
        let text =
            place::named(from.from_repo.as_ref(), from.from_repository_file.as_ref(), names)?.ok_or_else(|| {
                Failure::usage("", "no repository to read given")
                    .hint("use --from-repo PATH or PACKSTONE_FROM_REPOSITORY")
            })?;
        let place = Place::parse(&text, &from.from_option)?;
        self.open_with(place, || secrets::read_from(from), from.from_key_hint.clone())
    }

    fn open_with(
        &self,
        place: Place,
        secret: impl FnOnce() -> Result<Secret>,
        key_hint: Option<String>,
    ) -> Result<Repository> {
        let cache = self.cache()?;
        let location = place.to_string();
        let remembered = mirrors::remembered(self, cache.as_deref(), &location)?;
        let backend = match self.connect(place) {
            Err(failure) if !remembered.is_empty() && failure.kind() == ErrorKind::NoRepository => {
                Arc::new(Unreachable::new(&location, failure.to_string()))
            }
            backend => backend?,
        };
        let mirrored = Arc::new(Mirrored::new(backend));
        mirrored.attach(remembered);
        let options = OpenOptions { cache: cache.clone(), key_hint };
        let repository = self.wait(Repository::open(Arc::clone(&mirrored) as _, secret()?, options))?;
        mirrors::attach(self, &repository, &mirrored, cache.as_deref())?;
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(repository.clone());
        Ok(repository)
    }

    /// What is left to do after a command that did not fail.
    pub fn finish(&self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        opened.iter().for_each(|repository| mirrors::finish(self, repository));
    }

    /// A place as a backend.
    pub fn connect(&self, place: Place) -> Result<Arc<dyn Backend>> {
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

/// An environment variable; one that is empty counts as not set, one that is not text is an error.
pub fn variable(name: &str) -> Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::usage(name, error)),
    }
}
