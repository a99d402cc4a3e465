//! What every command works with: options, the runtime, the repository.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use packstone::backend::{
    Backend, Fitness, Limited, Limits, LocalBackend, Mirrored, Probe, Retries, Unreachable, WaitsWhenFull,
};
#[cfg(feature = "cloud")]
use packstone::backend::{CloudAddress, CloudBackend, ProbeOptions, RetryPolicy, Retrying, probe};
#[cfg(feature = "cloud")]
use packstone::format::ObjectPath;
use packstone::repository::{CreateOptions, Intent, OpenOptions, Protocol, Repository, Secret};
use packstone::{Error, ErrorKind};
use tokio::runtime::Runtime;

use crate::args::{FromRepository, Global};
use crate::bill::Bill;
use crate::exit::{Failure, Result};
use crate::output::Output;
use crate::place::{self, Place};
use crate::progress::{Progress, Status};
use crate::secrets::{self, Ask};
use crate::{mirrors, signals, trouble};

/// What every command works with.
pub struct Context {
    pub global: Global,
    pub output: Arc<Output>,
    pub bill: Arc<Bill>,
    runtime: Runtime,
    /// Every repository that was connected to.
    connected: Mutex<Vec<Arc<dyn Backend>>>,
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
        let bill = Arc::new(Bill::new(&global)?);
        signals::watch(&runtime, output.clone(), bill.clone())?;
        Ok(Self { global, output, bill, runtime, connected: Mutex::default(), opened: Mutex::default() })
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
        let options = OpenOptions { key_hint: self.global.key_hint.clone(), intent, ..self.opening()? };
        self.open_with(self.repository()?, || secrets::read(&self.global, Ask::Once), options)
    }

    /// Unlocks a repository at another place with the secret and options of the first.
    pub fn open_at(&self, text: &str) -> Result<Repository> {
        let place = Place::parse(text, &self.global.option)?;
        self.open_with(place, || secrets::read(&self.global, Ask::Once), self.opening()?)
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
        let options = OpenOptions { key_hint: from.from_key_hint.clone(), ..self.opening()? };
        self.open_with(place, || secrets::read_from(from), options)
    }

    fn open_with(
        &self,
        place: Place,
        secret: impl FnOnce() -> Result<Secret>,
        options: OpenOptions,
    ) -> Result<Repository> {
        let cache = options.cache.clone();
        let location = place.to_string();
        let remembered = mirrors::remembered(self, cache.as_deref(), &location)?;
        let mut options = options;
        let backend = match self.connect(place) {
            Err(failure) if !remembered.is_empty() && failure.kind() == ErrorKind::NoRepository => {
                // It can only be read, from a mirror: nothing is to be written along with opening it.
                options.intent = Intent::Anything;
                Arc::new(Unreachable::new(&location, failure.to_string()))
            }
            backend => backend?,
        };
        let mirrored = Arc::new(Mirrored::new(backend));
        mirrored.attach(remembered);
        let repository = self.wait(Repository::open(Arc::clone(&mirrored) as _, secret()?, options))?;
        mirrors::attach(self, &repository, &mirrored, cache.as_deref())?;
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(repository.clone());
        Ok(repository)
    }

    fn opening(&self) -> Result<OpenOptions> {
        Ok(OpenOptions { cache: self.cache()?, cache_size_bytes: self.global.cache_size, ..OpenOptions::default() })
    }

    /// What is left to do after a command that did not fail.
    pub fn finish(&self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        opened.iter().for_each(|repository| mirrors::finish(self, repository));
    }

    /// A place as a backend.
    pub fn connect(&self, place: Place) -> Result<Arc<dyn Backend>> {
        match place {
            Place::Local(path) => {
                let backend = self.bill.local(Arc::new(self.wait(LocalBackend::open(path))?))?;
                Ok(self.restrained(backend))
            }
            #[cfg(feature = "cloud")]
            Place::Cloud(address) => self.cloud(&address),
        }
    }

    /// Keeps to what the user allows, waits for space, and remembers the backend for the end of the run.
    fn restrained(&self, mut backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
        if let Some(period) = self.global.wait_on_full {
            let output = Arc::clone(&self.output);
            let notice = move |error: &Error| output.note(&format!("{error}; trying again in {} s", period.as_secs()));
            backend = Arc::new(WaitsWhenFull::new(backend, period, notice));
        }
        let limits = Limits {
            upload_bytes: self.global.limit_upload,
            download_bytes: self.global.limit_download,
            requests: self.global.limit_requests,
        };
        if [limits.upload_bytes, limits.download_bytes, limits.requests].iter().any(Option::is_some) {
            backend = Arc::new(Limited::new(backend, limits));
        }
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&backend));
        backend
    }

    /// Says what the run met on its way to the repositories, if anything.
    pub fn report_trouble(&self) {
        let connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let met = connected.iter().fold(Retries::default(), |sum, backend| sum + backend.traffic().retries);
        trouble::report(&self.output, &met);
    }

    #[cfg(feature = "cloud")]
    fn cloud(&self, address: &CloudAddress) -> Result<Arc<dyn Backend>> {
        let policy = RetryPolicy {
            retries: self.global.retries,
            first_wait: self.global.retry_first_wait,
            max_wait: self.global.retry_max_wait,
            connections: self.global.connections,
            ..RetryPolicy::default()
        };
        // Below the repetitions, which cost again.
        let billed = self.bill.cloud(address, Arc::new(CloudBackend::with_policy(address, &policy)?))?;
        Ok(self.restrained(Arc::new(Retrying::new(billed, policy))))
    }

    /// Creates the repository, on an object store once that was probed. Where it cannot fence anybody, only if that is
    /// allowed.
    pub fn create(&self, options: CreateOptions, weak: AllowWeak) -> Result<(Repository, Option<Probe>)> {
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
                let backend = self.bill.local(Arc::new(self.wait(LocalBackend::create(path.clone()))?))?;
                let backend = self.restrained(backend);
                return Ok((self.create_on(backend, secret, options)?, None));
            }
            #[cfg(feature = "cloud")]
            Place::Cloud(address) => self.cloud(address)?,
        };
        #[cfg(feature = "cloud")]
        if self.wait(backend.stat(&ObjectPath::config()))?.is_some() {
            return Err(taken());
        }
        #[cfg(feature = "cloud")]
        {
            let probe = self.wait(probe(Arc::clone(&backend), ProbeOptions::default()))?;
            let protocol = protocol(&place, &probe, weak)?;
            let secret = secrets::read(&self.global, Ask::Twice)?;
            Ok((self.create_on(backend, secret, CreateOptions { protocol, ..options })?, Some(probe)))
        }
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

/// Whether a repository may be kept where nobody can be fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowWeak {
    Yes,
    No,
}

/// How a repository on this store works, if at all.
fn protocol(place: &Place, probe: &Probe, weak: AllowWeak) -> Result<Protocol> {
    let problems: Vec<String> = probe
        .findings
        .iter()
        .filter_map(|finding| Some(format!("{}: {}", finding.guarantee.name(), finding.problem.as_ref()?)))
        .collect();
    let refuse = |hint: &str| {
        let message = format!("the store does not keep what a repository counts on: {}", problems.join("; "));
        Err(Failure::from(Error::new(ErrorKind::Failed, place, message)).hint(hint))
    };
    match (probe.fitness(), weak) {
        (Fitness::Full, _) => Ok(Protocol::Full),
        (Fitness::Weak, AllowWeak::Yes) => Ok(Protocol::Weak),
        (Fitness::Weak, AllowWeak::No) => refuse(
            "--allow-weak creates a repository that makes do without: backups still run side by side, but nothing else \
             may run while `prune` does",
        ),
        (Fitness::Unfit, _) => refuse("what is written there might be lost: use another store"),
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
