//! `--shard`: which part of a long job this process does.

use packstone::ops::Shard;

/// Set by Kubernetes in every pod of an Indexed Job: 0, 1, ...
const INDEX: &str = "JOB_COMPLETION_INDEX";

/// `k/n`, or `job/n`: then k is one more than the index that Kubernetes gives a pod of an Indexed Job.
pub fn parse(text: &str) -> Result<Shard, String> {
    let Some(n) = text.strip_prefix("job/") else { return text.parse().map_err(|e: packstone::Error| e.to_string()) };
    let index = std::env::var(INDEX).map_err(|_| format!("{INDEX} is not set: this is no pod of an Indexed Job"))?;
    let k: u32 = index.parse().map_err(|_| format!("{INDEX} is `{index}`, not a number"))?;
    format!("{}/{n}", u64::from(k) + 1).parse().map_err(|e: packstone::Error| e.to_string())
}

/// Parts as people read them: `1, 2 and 4`.
pub fn show(parts: &[u32]) -> String {
    match parts {
        [] => "none".to_owned(),
        [one] => one.to_string(),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
    }
}
