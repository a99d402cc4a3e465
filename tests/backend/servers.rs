//! Real servers, where the environment names them (`tests/services/services.sh start` prints the variables): the suite of
//! every backend, and what the probe says of each. A server that is not named is skipped, and that is said.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use packstone::ErrorKind;
use packstone::backend::{
    Backend, CloudAddress, CloudBackend, Fitness, Guarantee, LocalBackend, Probe, ProbeOptions, RetryPolicy, Retrying,
    probe,
};

use crate::conformance::{Creates, conforms};
use crate::runtime;

/// Rounds of racing on a server: a local suite has more.
const ROUNDS: u32 = 20;

/// How a server is reached: options of the store, and the variables that hold their values.
struct Server {
    name: &'static str,
    scheme: &'static str,
    place: &'static str,
    options: &'static [(&'static str, &'static str)],
    fixed: &'static [(&'static str, &'static str)],
}

const SEAWEEDFS: Server = Server {
    name: "SeaweedFS",
    scheme: "s3",
    place: "SVC_S3_BUCKET",
    options: &[
        ("endpoint", "SVC_S3_ENDPOINT"),
        ("region", "SVC_S3_REGION"),
        ("access-key-id", "SVC_S3_ACCESS_KEY_ID"),
        ("secret-access-key", "SVC_S3_SECRET_ACCESS_KEY"),
    ],
    fixed: &[],
};
const MOTO: Server = Server {
    name: "moto",
    scheme: "s3",
    place: "SVC_MOTO_BUCKET",
    options: &[
        ("endpoint", "SVC_MOTO_ENDPOINT"),
        ("access-key-id", "SVC_MOTO_ACCESS_KEY_ID"),
        ("secret-access-key", "SVC_MOTO_SECRET_ACCESS_KEY"),
    ],
    fixed: &[],
};
const S3S: Server = Server {
    name: "s3s-fs",
    scheme: "s3",
    place: "SVC_S3S_BUCKET",
    options: &[
        ("endpoint", "SVC_S3S_ENDPOINT"),
        ("access-key-id", "SVC_S3S_ACCESS_KEY_ID"),
        ("secret-access-key", "SVC_S3S_SECRET_ACCESS_KEY"),
    ],
    fixed: &[],
};
const AZURITE: Server = Server {
    name: "Azurite",
    scheme: "azblob",
    place: "SVC_AZBLOB_CONTAINER",
    options: &[
        ("endpoint", "SVC_AZBLOB_ENDPOINT"),
        ("account-name", "SVC_AZBLOB_ACCOUNT_NAME"),
        ("account-key", "SVC_AZBLOB_ACCOUNT_KEY"),
    ],
    fixed: &[],
};
const GOOGLE: Server = Server {
    name: "gcsd",
    scheme: "gcs",
    place: "SVC_GCS_BUCKET",
    options: &[("endpoint", "SVC_GCS_ENDPOINT")],
    fixed: &[("skip-signature", "true"), ("disable-vm-metadata", "true"), ("disable-config-load", "true")],
};
#[cfg(feature = "webdav")]
const WEBDAV: Server = Server {
    name: "rclone WebDAV",
    scheme: "webdav",
    place: "SVC_WEBDAV_ENDPOINT",
    options: &[
        ("endpoint", "SVC_WEBDAV_ENDPOINT"),
        ("username", "SVC_WEBDAV_USERNAME"),
        ("password", "SVC_WEBDAV_PASSWORD"),
    ],
    fixed: &[],
};
#[cfg(feature = "sftp")]
const SFTP: Server = Server {
    name: "OpenSSH",
    scheme: "sftp",
    place: "SVC_SFTP_PLACE",
    options: &[("user", "SVC_SFTP_USER"), ("key", "SVC_SFTP_KEY")],
    fixed: &[("known-hosts-strategy", "accept")],
};

impl Server {
    /// The server at a prefix of its own, if it is named.
    fn open(&self) -> Option<Arc<dyn Backend>> {
        let Ok(place) = std::env::var(self.place) else {
            eprintln!("skipped: no {} is named by {}", self.name, self.place);
            return None;
        };
        let place = place.rsplit_once("//").map_or(&*place, |(_, host)| host);
        let mut options: Vec<(String, String)> = self
            .options
            .iter()
            .map(|(name, variable)| ((*name).to_owned(), std::env::var(variable).unwrap_or_default()))
            .collect();
        options.extend(self.fixed.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let moment = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let text = format!("{}://{place}/conformance-{}-{moment}", self.scheme, std::process::id());
        let address = CloudAddress::parse(&text, &options, &|_| None).unwrap();
        Some(Arc::new(Retrying::new(CloudBackend::open(&address).unwrap(), RetryPolicy::default())))
    }

    fn conforms(&self, creates: Creates) {
        if let Some(backend) = self.open() {
            runtime().block_on(conforms(backend, creates, ROUNDS));
        }
    }

    fn probe(&self) -> Option<Probe> {
        let backend = self.open()?;
        Some(probed(self.name, backend))
    }
}

fn probed(name: &str, backend: Arc<dyn Backend>) -> Probe {
    let start = Instant::now();
    let probe = runtime().block_on(probe(Arc::clone(&backend), ProbeOptions::default())).unwrap();
    let problems = |probe: &Probe| {
        let broken = probe.findings.iter().filter_map(|f| Some((f.guarantee.name(), f.problem.clone()?)));
        broken.map(|(name, problem)| format!("; {name}: {problem}")).collect::<String>()
    };
    eprintln!("{name}: {:?} in {} ms{}", probe.fitness(), start.elapsed().as_millis(), problems(&probe));
    assert!(runtime().block_on(backend.list("")).unwrap().is_empty(), "{name}: the probe leaves nothing");
    probe
}

#[test]
fn an_s3_server_conforms() {
    SEAWEEDFS.conforms(Creates::Once);
}

#[test]
fn another_s3_server_conforms() {
    MOTO.conforms(Creates::Once);
}

#[test]
fn an_azure_server_conforms() {
    AZURITE.conforms(Creates::Once);
}

#[test]
fn a_google_server_conforms() {
    GOOGLE.conforms(Creates::Once);
}

#[cfg(feature = "webdav")]
#[test]
fn a_webdav_server_conforms_but_for_creating() {
    WEBDAV.conforms(Creates::Never);
}

#[cfg(feature = "sftp")]
#[test]
fn an_ssh_server_conforms_but_for_replacing() {
    SFTP.conforms(Creates::OnceInPlace);
}

#[cfg(feature = "sftp")]
#[test]
fn the_probe_finds_nothing_wrong_with_an_ssh_server() {
    let Some(probe) = SFTP.probe() else { return };
    assert_eq!(probe.fitness(), Fitness::Full, "{probe:?}");
}

#[test]
fn the_probe_finds_nothing_wrong_with_servers_that_conform() {
    for probe in [&SEAWEEDFS, &MOTO, &AZURITE, &GOOGLE].into_iter().filter_map(Server::probe) {
        assert_eq!(probe.fitness(), Fitness::Full, "{probe:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let local = runtime().block_on(LocalBackend::create(folder.path())).unwrap();
    assert_eq!(probed("local", Arc::new(local)).fitness(), Fitness::Full);
}

#[cfg(feature = "webdav")]
#[test]
fn the_probe_finds_that_webdav_cannot_create_only_what_is_absent() {
    let Some(probe) = WEBDAV.probe() else { return };
    assert_eq!(probe.fitness(), Fitness::Weak, "{probe:?}");
}

#[test]
fn the_probe_finds_a_server_that_loses_races() {
    let Some(probe) = S3S.probe() else { return };
    assert_ne!(probe.fitness(), Fitness::Full, "{probe:?}");
    let racing = probe.findings.iter().find(|finding| finding.guarantee == Guarantee::PutNewRacing).unwrap();
    assert!(racing.problem.is_some(), "{probe:?}");
}

/// Nothing of what an error says, shows or drags along names the secret.
#[test]
fn a_refused_credential_is_never_shown() {
    const SECRET: &str = "nobody-may-see-this-secret";
    for (server, option) in [(&SEAWEEDFS, "secret-access-key"), (&AZURITE, "account-key"), (&S3S, "secret-access-key")]
    {
        let Ok(place) = std::env::var(server.place) else { continue };
        let named = |(name, variable): &(&str, &str)| ((*name).to_owned(), std::env::var(variable).unwrap_or_default());
        let mut options: Vec<_> = server.options.iter().map(named).collect();
        let secret = if server.scheme == "azblob" { "bm9ib2R5LW1heS1zZWUtdGhpcy1zZWNyZXQ=" } else { SECRET };
        options.push((option.to_owned(), secret.to_owned()));
        let address = CloudAddress::parse(&format!("{}://{place}/x", server.scheme), &options, &|_| None).unwrap();
        let backend = CloudBackend::open(&address).unwrap();
        let refused = runtime().block_on(probe(Arc::new(backend), ProbeOptions::default())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Denied, "{refused:?}");
        let said = format!("{refused} {refused:?} {refused:#?} {address:?}");
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn uploads_that_never_ended_are_found_and_removed() {
    // moto says of every upload that it was begun in 2010.
    let server = &SEAWEEDFS;
    if let Some(backend) = server.open() {
        let variable = |name: &str| {
            let (_, variable) = server.options.iter().find(|(option, _)| *option == name).unwrap();
            std::env::var(variable).unwrap()
        };
        let place = backend.location().split_once("//").unwrap().1.to_owned();
        let url = format!("{}/{place}/packs/00/begun?uploads=", variable("endpoint"));
        let keys = format!("{}:{}", variable("access-key-id"), variable("secret-access-key"));
        let sign = ["--aws-sigv4", "aws:amz:us-east-1:s3", "-u", &keys];
        let begun = Command::new("curl").args(["-sfX", "POST", "-o", "/dev/null"]).args(sign).arg(url).status();
        assert!(begun.unwrap().success(), "{}", server.name);
        runtime().block_on(async {
            assert_eq!(backend.clean_uploads(Duration::from_secs(3600)).await.unwrap(), 0, "{}", server.name);
            assert_eq!(backend.clean_uploads(Duration::ZERO).await.unwrap(), 1, "{}", server.name);
            assert_eq!(backend.clean_uploads(Duration::ZERO).await.unwrap(), 0, "{}", server.name);
        });
    }
}
