//! What a store charges a request as.

use http::{Method, Uri};

/// What a store charges a request as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Write,
    Read,
    List,
    Head,
    Delete,
    /// For credentials: not the store's.
    Other,
}

/// Who gives out credentials: the machine's own cloud, and token services.
const CREDENTIAL_HOSTS: [&str; 8] = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "[fd00:ec2::254]",
    "metadata.google.internal",
    "oauth2.googleapis.com",
    "iamcredentials.googleapis.com",
    "login.microsoftonline.com",
];

impl Class {
    /// By what S3, Azure, Google and B2 write into method, path and query.
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        if is_for_credentials(uri) {
            return Self::Other;
        }
        if let Some((_, call)) = uri.path().split_once("/b2api/").and_then(|(_, rest)| rest.split_once('/')) {
            return b2(call);
        }
        let parameters = || uri.query().unwrap_or("").split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let has = |name: &str| parameters().any(|(key, _)| key == name);
        let is = |name: &str, value: &str| parameters().any(|pair| pair == (name, value));
        match method.as_str() {
            "GET" if has("list-type") || has("uploads") || has("uploadId") || is("comp", "list") => Self::List,
            "GET" if uri.path().contains("/b/") && uri.path().ends_with("/o") => Self::List,
            "PROPFIND" => Self::List,
            "GET" => Self::Read,
            "HEAD" => Self::Head,
            "DELETE" => Self::Delete,
            "POST" if has("delete") || is("comp", "batch") || uri.path().starts_with("/batch/") => Self::Delete,
            _ => Self::Write,
        }
    }
}

fn is_for_credentials(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or("");
    let is_sts = host.starts_with("sts.") && host.contains(".amazonaws.com");
    is_sts || CREDENTIAL_HOSTS.contains(&host)
}

/// B2 names the call in the path.
fn b2(call: &str) -> Class {
    match call {
        "b2_authorize_account" => Class::Other,
        "b2_list_file_names" | "b2_list_file_versions" | "b2_list_buckets" | "b2_list_parts" => Class::List,
        "b2_list_unfinished_large_files" => Class::List,
        "b2_delete_file_version" | "b2_cancel_large_file" | "b2_hide_file" => Class::Delete,
        "b2_download_file_by_id" | "b2_download_file_by_name" => Class::Read,
        "b2_get_file_info" => Class::Head,
        _ => Class::Write,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn requests_are_classed_as_stores_charge_them() {
        for (request, class) in [
            ("PUT https://s3.amazonaws.com/bucket/packs/00/ab", Class::Write),
            ("POST https://s3.amazonaws.com/bucket/packs/00/ab?uploads", Class::Write),
            ("PUT https://s3.amazonaws.com/bucket/packs/00/ab?partNumber=1&uploadId=x", Class::Write),
            ("POST https://s3.amazonaws.com/bucket/packs/00/ab?uploadId=x", Class::Write),
            ("DELETE https://s3.amazonaws.com/bucket/packs/00/ab?uploadId=x", Class::Delete),
            ("POST https://s3.amazonaws.com/bucket/?delete", Class::Delete),
            ("GET https://s3.amazonaws.com/bucket/?list-type=2&prefix=gc/", Class::List),
            ("GET https://s3.amazonaws.com/bucket/?uploads&prefix=packs/", Class::List),
            ("GET https://s3.amazonaws.com/bucket/config", Class::Read),
            ("HEAD https://s3.amazonaws.com/bucket/config", Class::Head),
            ("GET https://x.blob.core.windows.net/c?restype=container&comp=list", Class::List),
            ("PUT https://x.blob.core.windows.net/c/config?comp=block&blockid=x", Class::Write),
            ("POST https://x.blob.core.windows.net/c?restype=container&comp=batch", Class::Delete),
            ("GET https://storage.googleapis.com/storage/v1/b/bucket/o?prefix=packs/", Class::List),
            ("GET https://storage.googleapis.com/storage/v1/b/bucket/o/config?alt=media", Class::Read),
            ("POST https://storage.googleapis.com/upload/storage/v1/b/bucket/o?uploadType=media", Class::Write),
            ("POST https://storage.googleapis.com/batch/storage/v1", Class::Delete),
            ("POST https://api005.backblazeb2.com/b2api/v2/b2_list_file_names", Class::List),
            ("GET https://api.backblazeb2.com/b2api/v1/b2_authorize_account", Class::Other),
            ("PROPFIND https://dav.example.org/backup/packs/", Class::List),
            ("PUT http://169.254.169.254/latest/api/token", Class::Other),
            ("POST https://sts.eu-west-1.amazonaws.com/", Class::Other),
            ("POST https://oauth2.googleapis.com/token", Class::Other),
        ] {
            let (method, uri) = request.split_once(' ').unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(Class::of(&method, &uri.parse().unwrap()), class, "{request}");
        }
    }
}
