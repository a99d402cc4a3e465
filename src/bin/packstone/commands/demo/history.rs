//! The bundled history: the descriptions of 600 packages of Debian, and seven days of upgrades.
//!
//! It knows nothing of the repository: what was true on a day is computed from the log itself, to compare with.

use std::collections::BTreeMap;

use packstone::record::datom::edn;
use packstone::{Error, ErrorKind};

use crate::exit::Result;

/// Datoms as EDN lines, `[e a v t op]`, in order of t.
const COMPRESSED: &[u8] = include_bytes!("packages.edn.zst");
/// Transactions that load the packages, before the first day of upgrades.
const LOADING: usize = 3;

/// A log, cut into days.
pub struct History {
    text: String,
    /// For each day where its last line ends in the text, and its t.
    days: Vec<(usize, i64)>,
}

impl History {
    /// The bundled one.
    pub fn bundled() -> Result<Self> {
        let broken = |why: String| Error::new(ErrorKind::Failed, "bundled history", why);
        let text = zstd::decode_all(COMPRESSED).map_err(|e| broken(e.to_string()))?;
        let text = String::from_utf8(text).map_err(|e| broken(e.to_string()))?;
        let mut transactions: Vec<(usize, i64)> = Vec::new();
        let mut end = 0;
        for line in text.split_inclusive('\n') {
            end += line.len();
            let t = edn::parse_datom_line(line.trim_end().as_bytes()).map_err(|e| broken(e.to_string()))?.t;
            match transactions.last_mut() {
                Some(last) if last.1 == t => last.0 = end,
                _ => transactions.push((end, t)),
            }
        }
        let days = transactions.split_off(LOADING - 1);
        Ok(Self { text, days })
    }

    /// How many days there are; the first is day 0.
    pub fn days(&self) -> usize {
        self.days.len()
    }

    /// Everything up to the end of a day.
    pub fn until(&self, day: usize) -> &str {
        &self.text[..self.days[day].0]
    }

    /// What a day added.
    pub fn of(&self, day: usize) -> &str {
        let start = if day == 0 { 0 } else { self.days[day - 1].0 };
        &self.text[start..self.days[day].0]
    }

    /// The last t of a day.
    pub fn t(&self, day: usize) -> i64 {
        self.days[day].1
    }

    /// What was true at the end of a day, as sorted lines.
    pub fn state(&self, day: usize) -> Vec<String> {
        let mut state = BTreeMap::new();
        for line in self.until(day).lines() {
            let (rest, op) = line.trim_end_matches(']').rsplit_once(' ').unwrap_or((line, ""));
            let (fact, t) = rest.rsplit_once(' ').unwrap_or((rest, ""));
            if op == "true" {
                state.insert(fact, t);
            } else {
                state.remove(fact);
            }
        }
        let mut lines: Vec<_> = state.into_iter().map(|(fact, t)| format!("{fact} {t} true]")).collect();
        lines.sort();
        lines
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_days_make_up_the_whole_log() {
        let history = History::bundled().unwrap();
        assert_eq!(history.days(), 8);
        let parts: String = (0..history.days()).map(|day| history.of(day)).collect();
        assert_eq!(parts, history.until(7));
        assert_eq!(history.of(3).lines().count(), 49);
        assert_eq!(history.t(7) - history.t(0), 7);
    }

    #[test]
    fn an_upgrade_replaces_a_version_in_the_state() {
        let history = History::bundled().unwrap();
        let (before, after) = (history.state(0), history.state(1));
        assert_eq!(after.len(), before.len() + 1, "the upgrades keep the number of facts, but for the time they add");
        assert!(after.iter().any(|line| line.contains(":package/version") && line.contains("+1\"")));
    }
}
