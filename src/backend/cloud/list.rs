//! Listings.

use futures::TryStreamExt;
use opendal::options::ListOptions;
use opendal::{Metadata, Operator};

use super::error;
use crate::backend::ObjectStat;
use crate::error::{Error, ErrorKind, Result};
use crate::format::ObjectPath;

/// Every object below a folder, in path order.
pub(super) async fn objects(operator: &Operator, prefix: &str) -> Result<Vec<(ObjectPath, ObjectStat)>> {
    let mut objects: Vec<_> = files(operator, prefix)
        .await?
        .into_iter()
        .filter_map(|(path, metadata)| Some((ObjectPath::parse(&path)?, stat(&metadata))))
        .collect();
    objects.sort_by(|(a, _), (b, _)| a.cmp(b));
    objects.dedup_by(|(a, _), (b, _)| a == b);
    Ok(objects)
}

/// Names that no object has.
pub(super) async fn unknown(operator: &Operator) -> Result<Vec<String>> {
    let files = files(operator, "").await?;
    let mut names: Vec<_> =
        files.into_iter().map(|(path, _)| path).filter(|path| ObjectPath::parse(path).is_none()).collect();
    names.sort_unstable();
    Ok(names)
}

/// What a store knows of an object.
pub(super) fn stat(metadata: &Metadata) -> ObjectStat {
    let modified_ms = metadata.last_modified().map_or(0, |time| time.into_inner().as_millisecond());
    ObjectStat { size_bytes: metadata.content_length(), modified_ms }
}

/// All files below a folder. Folders are walked here where the service does not list all of it by itself: OpenDAL's own walk
/// loses what is below a folder whose listing fails once.
async fn files(operator: &Operator, prefix: &str) -> Result<Vec<(String, Metadata)>> {
    let recursive = operator.info().capability().list_with_recursive;
    let mut folders = vec![if prefix.is_empty() { "/".to_owned() } else { prefix.to_owned() }];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let options = ListOptions { recursive, ..ListOptions::default() };
        let listed = async {
            let lister = operator.lister_options(&folder, options).await?;
            lister.try_collect::<Vec<_>>().await
        };
        let listed = match listed.await {
            Ok(listed) => listed,
            Err(missing) if missing.kind() == opendal::ErrorKind::NotFound => {
                // Some WebDAV servers say so of a folder when something in it went away meanwhile.
                if !recursive && operator.exists(&folder).await.map_err(|e| error::of(&folder, e))? {
                    return Err(
                        Error::new(ErrorKind::Transient, &folder, "changed while it was listed").because(missing)
                    );
                }
                continue;
            }
            Err(other) => return Err(error::of(&folder, other)),
        };
        for entry in listed {
            let (path, metadata) = entry.into_parts();
            if metadata.is_file() {
                files.push((path, metadata));
            } else if !recursive && path.trim_matches('/') != folder.trim_matches('/') {
                folders.push(path);
            }
        }
    }
    Ok(files)
}
