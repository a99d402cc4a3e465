//! Signing requests to S3 that OpenDAL has no words for.

use opendal::HttpTransporter;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, OsEnv, ProvideCredentialChain, Signer};
use reqsign_file_read_tokio::TokioFileRead;

use super::CloudAddress;

/// Where nothing else is said.
pub(super) const REGION: &str = "us-east-1";

/// Signs with the credentials among the options, else with those of the environment; `None` when requests are not to be
/// signed.
pub(super) fn signer(address: &CloudAddress, transporter: &HttpTransporter) -> Option<Signer<Credential>> {
    if [address.option("skip_signature"), address.option("allow_anonymous")].contains(&Some("true")) {
        return None;
    }
    let mut provider = ProvideCredentialChain::new().push(DefaultCredentialProvider::builder().build());
    if let (Some(id), Some(secret)) = (address.option("access_key_id"), address.option("secret_access_key")) {
        let fixed = StaticCredentialProvider::new(id, secret);
        provider = provider.push_front(match address.option("session_token") {
            Some(token) => fixed.with_session_token(token),
            None => fixed,
        });
    }
    let context = Context::new().with_file_read(TokioFileRead).with_http_send(transporter.clone()).with_env(OsEnv);
    Some(Signer::new(context, provider, RequestSigner::new("s3", address.option("region").unwrap_or(REGION))))
}
