//! What a snapshot calls the trees and the properties of the branches of a database.

use std::collections::BTreeMap;

use crate::datahike::MAIN_BRANCH;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{NamedRoot, Snapshot};

/// Name of the tree that holds every event.
const LOG: &str = "log";
/// Name of the tree that holds what folding the log gives wrong.
const EXCEPTIONS: &str = "exceptions";

/// What the names of trees and properties of other branches than the main one begin with.
const PREFIX: &str = "branch/";

/// Names of the two trees of a branch of a database; without a name, of its main one.
pub fn root_names(branch: Option<&str>) -> (String, String) {
    match branch {
        None => (LOG.to_owned(), EXCEPTIONS.to_owned()),
        Some(branch) => (branch_property(branch, LOG), branch_property(branch, EXCEPTIONS)),
    }
}

/// Whether a tree holds what folding a log gives wrong, rather than what happened.
pub fn is_exceptions(tree: &str) -> bool {
    tree.rsplit('/').next() == Some(EXCEPTIONS)
}

/// The name under which a property or a tree of a branch stands in a snapshot.
pub fn branch_property(branch: &str, name: &str) -> String {
    if branch == MAIN_BRANCH { name.to_owned() } else { format!("{PREFIX}{branch}/{name}") }
}

/// Where a database stands: the greatest transaction of each branch, the main one first.
pub fn consistency_point<'b>(branches: impl IntoIterator<Item = (&'b str, i64)>) -> String {
    let point = |(branch, t): (&str, i64)| match branch {
        MAIN_BRANCH => format!("t {t}"),
        _ => format!(":{branch} t {t}"),
    };
    branches.into_iter().map(point).collect::<Vec<_>>().join(", ")
}

/// The properties of a branch of a database, by the names that those of a database with one branch have.
pub fn branch_properties<'p>(
    all: impl Iterator<Item = (&'p String, &'p String)>,
    branch: Option<&str>,
) -> BTreeMap<String, String> {
    let prefix = match branch {
        None | Some(MAIN_BRANCH) => None,
        Some(branch) => Some(branch_property(branch, "")),
    };
    let own = |(name, value): (&String, &String)| {
        let name = match &prefix {
            None => (!name.starts_with(PREFIX)).then_some(name.as_str()),
            Some(prefix) => name.strip_prefix(prefix),
        };
        Some((name?.to_owned(), value.clone()))
    };
    all.filter_map(own).collect()
}

/// The branches of a database that a snapshot holds, the main one first.
pub fn branches(snapshot: &Snapshot) -> Vec<&str> {
    let main = snapshot.roots.iter().any(|root| root.name == LOG).then_some(MAIN_BRANCH);
    let others = snapshot.roots.iter().filter_map(|root| root.name.strip_prefix(PREFIX)?.strip_suffix("/log"));
    main.into_iter().chain(others).collect()
}

/// The roots of the two trees of a branch in a snapshot.
pub fn find_roots<'s>(snapshot: &'s Snapshot, branch: Option<&str>) -> Result<(&'s NamedRoot, &'s NamedRoot)> {
    let (log, exceptions) = root_names(branch);
    let find = |name: &str| snapshot.roots.iter().find(|root| root.name == name);
    let object = || format!("snapshot {}", snapshot.id.short());
    match (find(&log), find(&exceptions), branch) {
        (Some(log), Some(exceptions), _) => Ok((log, exceptions)),
        (_, _, Some(branch)) if find(LOG).is_some() => {
            Err(Error::new(ErrorKind::Usage, object(), format!("holds no branch :{branch}")))
        }
        _ => match branches(snapshot).first() {
            Some(other) => {
                let message = format!("does not hold that branch of the database, but :{other}: name it");
                Err(Error::new(ErrorKind::Usage, object(), message))
            }
            None => Err(Error::new(ErrorKind::Usage, object(), "holds no datoms")),
        },
    }
}
