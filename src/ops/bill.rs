//! What a repository costs while nothing is done, and what a backup costs that finds nothing new.

use std::collections::BTreeMap;

use crate::backend::{HttpRequests, Money, ObjectStat, Prices};
use crate::error::Result;
use crate::format::ObjectPath;
use crate::repository::Repository;

/// What a repository costs a month.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StorageCost {
    /// Its objects by folder.
    pub folders: Vec<FolderCost>,
    /// What all of them cost a month.
    pub month: Money,
    /// What a backup asks for, with a warm cache, when nothing has changed.
    pub unchanged_backup: HttpRequests,
    /// What that costs, once.
    pub unchanged_backup_cost: Money,
}

/// What one kind of objects costs a month.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FolderCost {
    /// The first part of their paths.
    pub folder: String,
    /// How many there are.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes they are charged as: small objects may count as larger ones.
    pub charged_bytes: u64,
    /// What they cost a month.
    pub month: Money,
}

/// What the repository costs at rest when each folder's objects lie where `prices` says, which is asked with the folder's name.
///
/// Lists all objects.
pub async fn storage_cost(
    repository: &Repository,
    prices: impl Fn(&str) -> Prices + Send + 'static,
) -> Result<StorageCost> {
    let repository = repository.clone();
    super::blocking(move || Ok(add_up(&repository.store().list("")?, &prices))).await
}

fn add_up(objects: &[(ObjectPath, ObjectStat)], prices: &dyn Fn(&str) -> Prices) -> StorageCost {
    let mut folders: BTreeMap<&str, (Prices, FolderCost)> = BTreeMap::new();
    for (path, stat) in objects {
        let folder = path.as_str().split('/').next().unwrap_or_default();
        let (prices, cost) = folders
            .entry(folder)
            .or_insert_with(|| (prices(folder), FolderCost { folder: folder.to_owned(), ..FolderCost::default() }));
        cost.objects += 1;
        cost.bytes += stat.size_bytes;
        cost.charged_bytes += prices.stored_bytes(stat.size_bytes);
    }
    let count = |folder: &str| folders.get(folder).map_or(0, |(_, cost)| cost.objects);
    let unchanged_backup = unchanged_backup(count("snapshots"), count("gc"), count("index"));
    let unchanged_backup_cost = prices("").charge(&unchanged_backup).total();
    let folders: Vec<_> = folders
        .into_values()
        .map(|(prices, cost)| FolderCost { month: prices.stored_month(cost.charged_bytes), ..cost })
        .collect();
    let month = folders.iter().map(|folder| folder.month).sum();
    StorageCost { folders, month, unchanged_backup, unchanged_backup_cost }
}

/// Names on a page of a listing.
const PAGE_NAMES: u64 = 1000;

/// The requests of a backup that finds nothing new, with what does not change in the cache: `tests/bill.py` compares them with
/// what one asks for. The listings are those of what the protocol needs to know.
fn unchanged_backup(snapshots: u64, records: u64, index: u64) -> HttpRequests {
    let pages = |objects: u64| objects.div_ceil(PAGE_NAMES).max(1);
    HttpRequests {
        writes: 2,
        reads: 3,
        lists: pages(snapshots) + pages(records) + pages(index),
        deletes: 1,
        ..HttpRequests::default()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::backend::PriceTable;

    #[test]
    fn objects_cost_by_their_folder_and_at_least_the_smallest_that_is_charged() {
        let table = PriceTable::built_in();
        let of = |class| table.prices("s3", Some(class)).unwrap().unwrap().1;
        let (hot, cold) = (of("STANDARD"), of("STANDARD_IA"));
        let object =
            |path: &str, size_bytes| (ObjectPath::parse(path).unwrap(), ObjectStat { size_bytes, modified_ms: 0 });
        let objects = [
            object("config", 100),
            object("packs/00/a", 1 << 30),
            object("packs/01/b", 1),
            object("snapshots/c", 1 << 20),
        ];
        let cost = add_up(&objects, &|folder| if folder == "packs" { cold } else { hot });
        let packs = &cost.folders[1];
        assert_eq!((packs.folder.as_str(), packs.objects, packs.bytes), ("packs", 2, (1 << 30) + 1));
        assert_eq!(packs.charged_bytes, (1 << 30) + (128 << 10));
        assert_eq!(packs.month, cold.stored_month((1 << 30) + (128 << 10)));
        assert_eq!(cost.month, packs.month + hot.stored_month(100) + hot.stored_month(1 << 20));
        assert_eq!(cost.unchanged_backup_cost, hot.charge(&cost.unchanged_backup).total());
    }
}
