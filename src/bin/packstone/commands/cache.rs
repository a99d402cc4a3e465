//! `cache`: what is kept on this machine.

use clap::Args;
use packstone::repository::{self, CacheInfo, machine};
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::{Code, Result};
use crate::output::{Column, counted};
use crate::{size, time};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Show and clean the local cache
///
/// Lists what is kept on this machine of repositories: their indexes, and of those on object stores also snapshots and
/// directory trees, encrypted as they are there. All of it can be deleted at any time; what is needed is read again.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Remove the caches of repositories that were not used for long
    #[arg(long)]
    cleanup: bool,
    /// How many days that is
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    max_age: u32,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<Code> {
    let output = &context.output;
    let Some(folder) = context.cache_folder()? else {
        output.json(&json!([]))?;
        output.info("there is no place for a local cache: neither HOME nor --cache-dir is set")?;
        return Ok(Code::Ok);
    };
    let caches = repository::caches(&folder)?;
    let oldest_ms = machine::now_ms() - i64::from(arguments.max_age) * DAY_MS;
    let is_old = |cache: &CacheInfo| cache.used_ms < oldest_ms;
    if arguments.cleanup {
        let (old, kept): (Vec<_>, Vec<_>) = caches.into_iter().partition(is_old);
        for cache in &old {
            repository::remove_cache(&folder, cache.repository)?;
        }
        let freed: u64 = old.iter().map(|cache| cache.size_bytes).sum();
        output.json(&json!({
            "message_type": "summary",
            "cache_dir": folder,
            "removed": old.iter().map(|cache| cache.repository.to_string()).collect::<Vec<_>>(),
            "bytes_removed": freed,
            "kept": kept.len(),
        }))?;
        output.info(format!("removed {}, {}", counted(old.len() as u64, "old cache"), size::show(freed)))?;
        return Ok(Code::Ok);
    }
    output.json(&caches.iter().map(|cache| value(cache, is_old(cache))).collect())?;
    let columns = [
        Column::Text("Repository"),
        Column::Text("Last used"),
        Column::Text("Old"),
        Column::Number("Size"),
        Column::Text("At"),
    ];
    let rows = caches.iter().map(|cache| {
        vec![
            cache.repository.to_string(),
            time::local(cache.used_ms),
            if is_old(cache) { "yes" } else { "" }.to_owned(),
            size::show(cache.size_bytes),
            cache.locations.join(" "),
        ]
    });
    output.table(&columns, &rows.collect::<Vec<_>>())?;
    output.info(format!("{} in {}", counted(caches.len() as u64, "cache"), folder.display()))?;
    Ok(Code::Ok)
}

fn value(cache: &CacheInfo, is_old: bool) -> Value {
    json!({
        "repository_id": cache.repository.to_string(),
        "locations": cache.locations,
        "last_used": time::rfc3339(cache.used_ms),
        "old": is_old,
        "size": cache.size_bytes,
    })
}
