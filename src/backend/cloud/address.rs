//! Where a store is: `s3://bucket/prefix` and the like, with options.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// The path of a file with certificates to trust beside the system's, as an option.
const CA_FILE: &str = "ca-cert";
/// The class that packs of content are put into, as an option.
const DATA_CLASS: &str = "data-storage-class";
/// OpenDAL's option for the class of everything.
const CLASS: &str = "default_storage_class";

/// A store, and how to talk to it. Shown without any option, so without credentials.
#[derive(Clone)]
pub struct CloudAddress {
    service: &'static Service,
    shown: String,
    options: BTreeMap<String, String>,
    ca_file: Option<PathBuf>,
    data_class: Option<String>,
}

struct Service {
    scheme: &'static str,
    /// OpenDAL's name of the place that the address names first.
    place: &'static str,
    /// Variables of the cloud's own tools that OpenDAL does not read, and the option that each stands for.
    variables: &'static [(&'static str, &'static str)],
    /// Options that make sense here, by OpenDAL's names: it ignores those that it does not know.
    options: &'static [&'static str],
    built: bool,
}

const SERVICES: [Service; 6] = [
    Service {
        scheme: "s3",
        place: "bucket",
        variables: &[
            ("AWS_REGION", "region"),
            ("AWS_DEFAULT_REGION", "region"),
            ("AWS_ENDPOINT_URL_S3", "endpoint"),
            ("AWS_ENDPOINT_URL", "endpoint"),
            ("AWS_ACCESS_KEY_ID", "access_key_id"),
            ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
            ("AWS_SESSION_TOKEN", "session_token"),
            ("AWS_PROFILE", "profile"),
        ],
        options: &[
            "endpoint",
            "region",
            "profile",
            "access_key_id",
            "secret_access_key",
            "session_token",
            "role_arn",
            "role_session_name",
            "external_id",
            "skip_signature",
            "disable_config_load",
            "disable_ec2_metadata",
            "enable_virtual_host_style",
            "enable_request_payer",
            "default_storage_class",
            "default_acl",
            "checksum_algorithm",
            "server_side_encryption",
            "server_side_encryption_aws_kms_key_id",
            "server_side_encryption_customer_algorithm",
            "server_side_encryption_customer_key",
            "server_side_encryption_customer_key_md5",
        ],
        built: cfg!(feature = "s3"),
    },
    Service {
        scheme: "gcs",
        place: "bucket",
        variables: &[
            ("GOOGLE_APPLICATION_CREDENTIALS", "credential_path"),
            ("STORAGE_EMULATOR_HOST", "endpoint"),
            ("GOOGLE_STORAGE_TOKEN", "token"),
        ],
        options: &[
            "endpoint",
            "credential",
            "credential_path",
            "service_account",
            "token",
            "scope",
            "skip_signature",
            "disable_config_load",
            "disable_vm_metadata",
            "default_storage_class",
            "predefined_acl",
        ],
        built: cfg!(feature = "gcs"),
    },
    Service {
        scheme: "azblob",
        place: "container",
        variables: &[
            ("AZURE_STORAGE_ACCOUNT", "account_name"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "account_name"),
            ("AZURE_STORAGE_KEY", "account_key"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "account_key"),
            ("AZURE_STORAGE_SAS_TOKEN", "sas_token"),
            ("AZURE_STORAGE_ENDPOINT", "endpoint"),
        ],
        options: &[
            "endpoint",
            "account_name",
            "account_key",
            "sas_token",
            "skip_signature",
            "encryption_key",
            "encryption_key_sha256",
            "encryption_algorithm",
        ],
        built: cfg!(feature = "azblob"),
    },
    Service {
        scheme: "b2",
        place: "bucket",
        variables: &[
            ("B2_APPLICATION_KEY_ID", "application_key_id"),
            ("B2_APPLICATION_KEY", "application_key"),
            ("B2_BUCKET_ID", "bucket_id"),
        ],
        options: &["application_key_id", "application_key", "bucket_id"],
        built: cfg!(feature = "b2"),
    },
    Service {
        scheme: "webdav",
        place: "endpoint",
        variables: &[("WEBDAV_USERNAME", "username"), ("WEBDAV_PASSWORD", "password"), ("WEBDAV_TOKEN", "token")],
        options: &["endpoint", "username", "password", "token", "disable_create_dir"],
        built: cfg!(feature = "webdav"),
    },
    Service {
        scheme: "sftp",
        place: "endpoint",
        variables: &[("SFTP_USER", "user"), ("SFTP_KEY", "key"), ("SFTP_KNOWN_HOSTS_STRATEGY", "known_hosts_strategy")],
        options: &["endpoint", "user", "key", "known_hosts_strategy"],
        built: cfg!(feature = "sftp"),
    },
];

impl Service {
    fn option(&self, name: &str) -> Option<&'static str> {
        let name = name.replace('-', "_");
        let stands_for = |known: &&str| {
            *known == name || ["default_", "enable_"].iter().any(|start| known.strip_prefix(start) == Some(&*name))
        };
        self.options.iter().find(|known| stands_for(known)).copied()
    }

    fn known_options(&self) -> String {
        let known = self.options.iter().map(|option| option.replace('_', "-"));
        known.chain([CA_FILE.to_owned()]).collect::<Vec<_>>().join(", ")
    }
}

impl CloudAddress {
    /// Whether this is written like the address of a store rather than a path.
    pub fn looks_like_one(text: &str) -> bool {
        text.split_once("://").is_some_and(|(scheme, _)| !scheme.is_empty() && !scheme.contains('/'))
    }

    /// The address, with options from the variables that the cloud's own tools read, as `variable` has them, and from
    /// `options`, which go before: OpenDAL's names with `-` or `_`, also without `default-` or `enable-`, and `ca-cert`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when it is no address, names a service that is not built in, or an option has no meaning there.
    pub fn parse(text: &str, options: &[(String, String)], variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Usage, text, message));
        let Some((scheme, rest)) = text.split_once("://") else {
            return refuse("not the address of a store".to_owned());
        };
        let scheme = match scheme {
            "gs" => "gcs",
            "az" | "azure" => "azblob",
            other => other,
        };
        let Some(service) = SERVICES.iter().find(|service| service.scheme == scheme) else {
            let known: Vec<_> = SERVICES.iter().map(|service| service.scheme).collect();
            return refuse(format!("no store is called `{scheme}`; there are {}", known.join(", ")));
        };
        if !service.built {
            return refuse(format!("this program was built without the feature `{scheme}`"));
        }
        if rest.contains(['?', '#']) || rest.split('/').next().is_some_and(|place| place.contains('@')) {
            return refuse(
                "options and credentials do not belong into the address: use `-o` or the environment".into(),
            );
        }
        let (place, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if place.is_empty() {
            return refuse(format!("the {} is missing", service.place));
        }
        let mut all = BTreeMap::new();
        for (name, option) in service.variables {
            if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
                all.entry((*option).to_owned()).or_insert(value);
            }
        }
        if service.place == "endpoint" {
            let host = if scheme == "webdav" { format!("https://{place}") } else { format!("ssh://{place}") };
            all.insert("endpoint".to_owned(), host);
        } else {
            all.insert(service.place.to_owned(), place.to_owned());
        }
        all.insert("root".to_owned(), format!("/{}", prefix.trim_matches('/')));
        let mut ca_file = None;
        let mut data_class = None;
        for (name, value) in options {
            if name == CA_FILE {
                ca_file = Some(PathBuf::from(value));
            } else if name.replace('_', "-") == DATA_CLASS {
                if !["s3", "gcs"].contains(&scheme) {
                    return refuse(format!("`{DATA_CLASS}` is for s3 and gcs"));
                }
                data_class = Some(value.clone());
            } else {
                let Some(known) = service.option(name) else {
                    return refuse(format!(
                        "`{scheme}://` has no option `{name}`; there are {}",
                        service.known_options()
                    ));
                };
                all.insert(known.to_owned(), value.clone());
            }
        }
        if scheme == "s3" {
            all.entry("region".to_owned()).or_insert_with(|| "us-east-1".to_owned());
        }
        let shown = format!("{scheme}://{}", rest.trim_end_matches('/'));
        Ok(Self { service, shown, options: all, ca_file, data_class })
    }

    /// The scheme, in the one way that it is written of several.
    pub fn scheme(&self) -> &'static str {
        self.service.scheme
    }

    /// Whose prices hold there, by the name that [`PriceTable`](crate::backend::PriceTable) has for it; `None` for an endpoint
    /// of somebody else.
    pub fn provider(&self) -> Option<&'static str> {
        let Some(endpoint) = self.options.get("endpoint") else {
            return ["s3", "gcs", "azblob", "b2"].into_iter().find(|known| *known == self.scheme());
        };
        let host = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, rest)| rest);
        let host = host.split(['/', ':']).next().unwrap_or("").to_ascii_lowercase();
        let hosts = [
            ("s3", ".amazonaws.com"),
            ("b2", ".backblazeb2.com"),
            ("gcs", "storage.googleapis.com"),
            ("azblob", ".blob.core.windows.net"),
        ];
        hosts.into_iter().find(|(_, end)| host.ends_with(end)).map(|(provider, _)| provider)
    }

    /// The storage class that objects are written with, when it is chosen.
    pub fn storage_class(&self) -> Option<&str> {
        self.options.get("default_storage_class").map(String::as_str)
    }

    pub(super) fn options(&self) -> impl Iterator<Item = (String, String)> {
        self.options.clone().into_iter()
    }

    #[cfg(feature = "s3")]
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The options for packs of content, where those have a class of their own.
    pub(super) fn data_options(&self) -> Option<impl Iterator<Item = (String, String)>> {
        let class = self.data_class.clone()?;
        let mut options = self.options.clone();
        options.insert(CLASS.to_owned(), class);
        Some(options.into_iter())
    }

    pub(super) fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// The store's library does not take these options. Its message may quote values: only its start is shown, never a
    /// credential.
    pub(super) fn refused(&self, error: &opendal::Error) -> Error {
        let mut message = error.message().to_owned();
        for (name, value) in &self.options {
            let public = ["bucket", "container", "root", "endpoint", "region"].contains(&name.as_str());
            if !public && !value.is_empty() {
                message = message.replace(value.as_str(), "...");
            }
        }
        Error::new(ErrorKind::Usage, self, message)
    }
}

impl fmt::Display for CloudAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for CloudAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(all(test, feature = "s3"))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn parse(text: &str, options: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<CloudAddress> {
        let options: Vec<_> = options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        CloudAddress::parse(text, &options, &variable)
    }

    #[test]
    fn options_go_before_the_environment_and_none_is_shown() {
        let address = parse(
            "s3://bucket/some/prefix/",
            &[("endpoint", "http://localhost:1"), ("default-storage-class", "STANDARD_IA")],
            &[("AWS_ENDPOINT_URL", "http://other"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "eu-1")],
        )
        .unwrap();
        let option = |name: &str| address.options.get(name).map(String::as_str);
        assert_eq!(option("endpoint"), Some("http://localhost:1"));
        assert_eq!(option("region"), Some("eu-1"));
        assert_eq!((option("bucket"), option("root")), (Some("bucket"), Some("/some/prefix")));
        assert_eq!(option("default_storage_class"), Some("STANDARD_IA"));
        assert_eq!(format!("{address} {address:?}"), "s3://bucket/some/prefix s3://bucket/some/prefix");
    }

    #[test]
    fn the_endpoint_tells_whose_prices_hold() {
        for (endpoint, provider) in [
            (None, Some("s3")),
            (Some("https://s3.eu-west-1.amazonaws.com"), Some("s3")),
            (Some("https://S3.us-west-004.BackblazeB2.com/"), Some("b2")),
            (Some("storage.googleapis.com:443"), Some("gcs")),
            (Some("http://127.0.0.1:18333"), None),
            (Some("https://example.org/s3.amazonaws.com"), None),
            (Some("https://amazonaws.com.example.org"), None),
        ] {
            let options: Vec<_> = endpoint.iter().map(|endpoint| ("endpoint", *endpoint)).collect();
            assert_eq!(parse("s3://bucket", &options, &[]).unwrap().provider(), provider, "{endpoint:?}");
        }
        let cold = parse("s3://bucket", &[("default-storage-class", "GLACIER_IR")], &[]).unwrap();
        assert_eq!(cold.storage_class(), Some("GLACIER_IR"));
    }

    #[test]
    fn an_option_nobody_knows_is_refused_with_those_there_are() {
        let error = parse("s3://bucket", &[("enpoint", "http://localhost:1")], &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.message().contains("`enpoint`") && error.message().contains("endpoint, region"), "{error}");
        for place in ["bucket", "root"] {
            assert!(parse("s3://bucket", &[(place, "other")], &[]).is_err(), "{place} is in the address");
        }
        let address = parse("s3://bucket", &[("storage-class", "GLACIER_IR"), ("ca_cert", "/x.pem")], &[]);
        assert!(address.is_err(), "ca-cert is written with a dash");
        let address = parse("s3://b", &[("storage-class", "X"), ("virtual-host-style", "true")], &[]).unwrap();
        assert_eq!(address.options["default_storage_class"], "X");
        assert_eq!(address.options["enable_virtual_host_style"], "true");
    }

    fn is_known<C: opendal::Configurator + PartialEq>(place: &str, option: &str) -> bool {
        let mut options = BTreeMap::from([(place.to_owned(), "x".to_owned())]);
        let without = C::from_iter(options.clone()).unwrap();
        options.insert(option.to_owned(), "true".to_owned());
        C::from_iter(options).is_ok_and(|with| with != without)
    }

    /// A name that OpenDAL does not know would do nothing.
    #[test]
    fn every_option_is_one_of_opendals() {
        for service in &SERVICES {
            for option in service.options.iter().chain(service.variables.iter().map(|(_, option)| option)) {
                let known = match service.scheme {
                    "s3" => is_known::<opendal::services::S3Config>(service.place, option),
                    #[cfg(feature = "gcs")]
                    "gcs" => is_known::<opendal::services::GcsConfig>(service.place, option),
                    #[cfg(feature = "azblob")]
                    "azblob" => is_known::<opendal::services::AzblobConfig>(service.place, option),
                    #[cfg(feature = "webdav")]
                    "webdav" => is_known::<opendal::services::WebdavConfig>(service.place, option),
                    #[cfg(feature = "b2")]
                    "b2" => is_known::<opendal::services::B2Config>(service.place, option),
                    #[cfg(feature = "sftp")]
                    "sftp" => is_known::<opendal::services::SftpConfig>(service.place, option),
                    other => {
                        assert!(!service.built, "{other}");
                        continue;
                    }
                };
                assert!(known, "{}: {option}", service.scheme);
            }
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["s3:/x", "s3://", "s3:///x", "ftp://host/x", "s3://bucket?x=1", "s3://key:secret@bucket"] {
            assert_eq!(parse(bad, &[], &[]).unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
        assert!(CloudAddress::looks_like_one("ftp://x") && !CloudAddress::looks_like_one("/srv/a://b"));
    }
}
