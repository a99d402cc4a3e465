//! Real servers, where the environment names them (`tests/services/services.sh start` prints the variables): the suite of
//! every backend. A server that is not named is skipped, and that is said.

use std::sync::Arc;

use packstone::backend::{Backend, CloudAddress, CloudBackend, RetryPolicy, Retrying};

use crate::conformance::conforms;
use crate::runtime;

#[test]
fn an_s3_server_conforms() {
    check("s3", "SVC_S3_BUCKET", |variable| {
        vec![
            ("endpoint", variable("SVC_S3_ENDPOINT")),
            ("region", variable("SVC_S3_REGION")),
            ("access-key-id", variable("SVC_S3_ACCESS_KEY_ID")),
            ("secret-access-key", variable("SVC_S3_SECRET_ACCESS_KEY")),
        ]
    });
}

#[test]
fn an_azure_server_conforms() {
    check("azblob", "SVC_AZBLOB_CONTAINER", |variable| {
        vec![
            ("endpoint", variable("SVC_AZBLOB_ENDPOINT")),
            ("account-name", variable("SVC_AZBLOB_ACCOUNT_NAME")),
            ("account-key", variable("SVC_AZBLOB_ACCOUNT_KEY")),
        ]
    });
}

#[test]
fn a_google_server_conforms() {
    check("gcs", "SVC_GCS_BUCKET", |variable| {
        vec![
            ("endpoint", variable("SVC_GCS_ENDPOINT")),
            ("skip-signature", "true".to_owned()),
            ("disable-vm-metadata", "true".to_owned()),
            ("disable-config-load", "true".to_owned()),
        ]
    });
}

fn check(scheme: &str, place: &str, options: impl Fn(&dyn Fn(&str) -> String) -> Vec<(&'static str, String)>) {
    let Ok(place) = std::env::var(place) else {
        eprintln!("skipped: no {scheme} server is named by {place}");
        return;
    };
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let options: Vec<_> = options(&variable).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let prefix = format!("conformance-{}-{:?}", std::process::id(), std::time::SystemTime::now())
        .replace([' ', '{', '}', ':', ','], "");
    let address = CloudAddress::parse(&format!("{scheme}://{place}/{prefix}"), &options, &|_| None).unwrap();
    runtime().block_on(async {
        let backend: Arc<dyn Backend> =
            Arc::new(Retrying::new(CloudBackend::open(&address).unwrap(), RetryPolicy::default()));
        conforms(backend).await;
    });
}
