//! Which snapshot a user means: an id, the start of one, `latest`, or `latest~2`, the second before the latest.
//!
//! Filters narrow down what `latest` counts; an id is an id whatever the filters say. Partial snapshots are not counted
//! by `latest` unless there are no complete ones. Snapshots of the same time are ordered by id, so that an answer does not
//! depend on the order of a listing.

use crate::error::{Error, ErrorKind, Result};
use crate::format::{Snapshot, Status};
use crate::id::SnapshotId;

/// How many candidates an error lists.
const LISTED: usize = 8;

/// What selecting needs to know of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: SnapshotId,
    /// When the backup began, in milliseconds since 1970-01-01T00:00Z.
    pub time_ms: i64,
    /// Machine it was made on.
    pub host: String,
    /// Name of the backup job.
    pub label: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether all of the source is in it.
    pub complete: bool,
}

impl From<&Snapshot> for Summary {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            id: snapshot.id,
            time_ms: snapshot.time_ms,
            host: snapshot.host.clone(),
            label: snapshot.label.clone(),
            tags: snapshot.tags.clone(),
            complete: snapshot.status == Status::Complete,
        }
    }
}

/// Which snapshots are considered; an empty list allows all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Made on one of these machines.
    pub hosts: Vec<String>,
    /// Of one of these backup jobs.
    pub labels: Vec<String>,
    /// With all tags of one of these lists; an empty list, or one of an empty tag, means no tags at all.
    pub tags: Vec<Vec<String>>,
}

impl Filter {
    /// Whether this snapshot is considered.
    pub fn allows(&self, snapshot: &Summary) -> bool {
        (self.hosts.is_empty() || self.hosts.contains(&snapshot.host))
            && (self.labels.is_empty() || self.labels.contains(&snapshot.label))
            && (self.tags.is_empty() || self.tags.iter().any(|tags| crate::retention::has_tags(&snapshot.tags, tags)))
    }
}

/// The snapshot that `reference` means.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is none, [`ErrorKind::Usage`] when there are several (they are listed) or the
/// reference is none.
pub fn select<'a>(reference: &str, snapshots: &'a [Summary], filter: &Filter) -> Result<&'a Summary> {
    if let Some(rest) = reference.strip_prefix("latest") {
        let back = match rest.strip_prefix('~') {
            None if rest.is_empty() => 0,
            Some(number) if number.bytes().all(|c| c.is_ascii_digit()) => {
                number.parse().map_err(|_| malformed(reference))?
            }
            _ => return Err(malformed(reference)),
        };
        return latest(reference, back, snapshots, filter);
    }
    by_id(reference, snapshots)
}

fn latest<'a>(reference: &str, back: usize, snapshots: &'a [Summary], filter: &Filter) -> Result<&'a Summary> {
    let allowed = || snapshots.iter().filter(|snapshot| filter.allows(snapshot));
    let any_complete = allowed().any(|snapshot| snapshot.complete);
    let mut counted: Vec<_> = allowed().filter(|snapshot| snapshot.complete == any_complete).collect();
    counted.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.time_ms, snapshot.id)));
    counted.get(back).copied().ok_or_else(|| {
        let why = match (counted.len(), snapshots.len()) {
            (0, 0) => "the repository has no snapshots".to_owned(),
            (0, all) => format!("none of {all} snapshots has this host, label and tags"),
            (count, _) => format!("only {count} snapshots to count back"),
        };
        Error::new(ErrorKind::NotFound, format!("snapshot {reference}"), why)
    })
}

fn by_id<'a>(reference: &str, snapshots: &'a [Summary]) -> Result<&'a Summary> {
    let digits = reference.to_ascii_lowercase();
    if digits.is_empty() || digits.len() > 2 * SnapshotId::LEN || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Err(malformed(reference));
    }
    let mut found: Vec<_> = snapshots.iter().filter(|snapshot| snapshot.id.to_string().starts_with(&digits)).collect();
    found.sort_by_key(|snapshot| snapshot.id);
    found.dedup_by_key(|snapshot| snapshot.id);
    match found.as_slice() {
        [] => Err(Error::new(ErrorKind::NotFound, format!("snapshot {reference}"), "there is none with this id")),
        [snapshot] => Ok(snapshot),
        several => {
            let mut ids: Vec<_> = several.iter().take(LISTED).map(|snapshot| snapshot.id.to_string()).collect();
            if several.len() > LISTED {
                ids.push(format!("and {} more", several.len() - LISTED));
            }
            let message = format!("the start of {} ids: {}", several.len(), ids.join(", "));
            Err(Error::new(ErrorKind::Usage, format!("snapshot {reference}"), message))
        }
    }
}

fn malformed(reference: &str) -> Error {
    let message = "neither an id, the start of one, `latest` nor `latest~N`";
    Error::new(ErrorKind::Usage, format!("snapshot {reference}"), message)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn snapshot(first: u8, time_ms: i64, host: &str, tags: &[&str], complete: bool) -> Summary {
        let mut id = [0; 16];
        id[0] = first;
        Summary {
            id: SnapshotId::new(id),
            time_ms,
            host: host.to_owned(),
            label: format!("job {host}"),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            complete,
        }
    }

    fn snapshots() -> Vec<Summary> {
        vec![
            snapshot(0xa1, 10, "one", &["x"], true),
            snapshot(0xa2, 30, "two", &["x", "y"], true),
            snapshot(0xb0, 20, "one", &[], true),
            snapshot(0xc0, 40, "one", &[], false),
            snapshot(0xd0, 50, "three", &[], false),
        ]
    }

    fn check(reference: &str, filter: Filter, expected: Result<u8, ErrorKind>) {
        let snapshots = snapshots();
        let got = select(reference, &snapshots, &filter);
        assert_eq!(got.map(|s| s.id.as_bytes()[0]).map_err(|e| e.kind()), expected, "{reference} {filter:?}");
    }

    fn host(name: &str) -> Filter {
        Filter { hosts: vec![name.to_owned()], ..Filter::default() }
    }

    fn tags(lists: &[&[&str]]) -> Filter {
        let owned = |list: &&[&str]| list.iter().map(|&tag| tag.to_owned()).collect();
        Filter { tags: lists.iter().map(owned).collect(), ..Filter::default() }
    }

    #[test]
    fn latest_counts_complete_snapshots_that_the_filter_allows() {
        check("latest", Filter::default(), Ok(0xa2));
        check("latest~0", Filter::default(), Ok(0xa2));
        check("latest~1", Filter::default(), Ok(0xb0));
        check("latest~2", Filter::default(), Ok(0xa1));
        check("latest~3", Filter::default(), Err(ErrorKind::NotFound));
        check("latest", host("one"), Ok(0xb0));
        check("latest~1", host("one"), Ok(0xa1));
        check("latest", Filter { labels: vec!["job two".to_owned()], ..Filter::default() }, Ok(0xa2));
        check("latest", tags(&[&["x"]]), Ok(0xa2));
        check("latest~1", tags(&[&["x"]]), Ok(0xa1));
        check("latest~1", tags(&[&["x", "y"]]), Err(ErrorKind::NotFound));
        check("latest", tags(&[&[""]]), Ok(0xb0));
        check("latest~1", tags(&[&["y"], &["x"]]), Ok(0xa1));
        check("latest", host("nobody"), Err(ErrorKind::NotFound));
    }

    #[test]
    fn a_partial_snapshot_is_latest_only_without_complete_ones() {
        check("latest", host("three"), Ok(0xd0));
        check("latest~1", host("three"), Err(ErrorKind::NotFound));
    }

    #[test]
    fn ids_are_found_by_any_unique_start_whatever_the_filter() {
        check("a1", host("two"), Ok(0xa1));
        check("B", Filter::default(), Ok(0xb0));
        check("d0000000000000000000000000000000", Filter::default(), Ok(0xd0));
        check("d00000000000000000000000000000000", Filter::default(), Err(ErrorKind::Usage));
        check("a", Filter::default(), Err(ErrorKind::Usage));
        check("e", Filter::default(), Err(ErrorKind::NotFound));
        for bad in ["", "latest~", "latest~x", "latest~+1", "latest1", "xyz", "latest~99999999999999999999999", "é"] {
            check(bad, Filter::default(), Err(ErrorKind::Usage));
        }
    }

    #[test]
    fn an_ambiguous_start_lists_the_candidates() {
        let message = select("a", &snapshots(), &Filter::default()).unwrap_err().to_string();
        assert!(message.contains("a1000000000000000000000000000000, a2000000000000000000000000000000"), "{message}");
    }
}
