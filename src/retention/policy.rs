//! Rules and their application.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::Duration;
use crate::error::DecodeError;
use crate::id::SnapshotId;

/// How many a rule keeps; `0` is no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This many.
    Some(u32),
    /// All; written `-1` or `unlimited`.
    Unlimited,
}

impl Default for Count {
    fn default() -> Self {
        Self::Some(0)
    }
}

impl FromStr for Count {
    type Err = DecodeError;

    fn from_str(text: &str) -> Result<Self, DecodeError> {
        match text {
            "-1" | "unlimited" => Ok(Self::Unlimited),
            number => {
                number.parse().map(Self::Some).map_err(|_| DecodeError::Invalid("count: a number or `unlimited`"))
            }
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Some(count) => write!(f, "{count}"),
            Self::Unlimited => f.write_str("-1"),
        }
    }
}

/// What to keep; see the module for what the rules mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepPolicy {
    /// The newest.
    pub last: Count,
    /// The newest of each hour.
    pub hourly: Count,
    /// The newest of each day.
    pub daily: Count,
    /// The newest of each ISO week.
    pub weekly: Count,
    /// The newest of each month.
    pub monthly: Count,
    /// The newest of each quarter.
    pub quarterly: Count,
    /// The newest of each year.
    pub yearly: Count,
    /// All younger than this.
    pub within: Duration,
    /// The newest of each hour younger than this.
    pub within_hourly: Duration,
    /// The newest of each day younger than this.
    pub within_daily: Duration,
    /// The newest of each week younger than this.
    pub within_weekly: Duration,
    /// The newest of each month younger than this.
    pub within_monthly: Duration,
    /// The newest of each quarter younger than this.
    pub within_quarterly: Duration,
    /// The newest of each year younger than this.
    pub within_yearly: Duration,
    /// Those with all tags of one of these lists; a list of one empty tag means those without tags.
    pub tags: Vec<Vec<String>>,
    /// These.
    pub ids: Vec<SnapshotId>,
    /// None older than this, whatever the rules of time and number say.
    pub max_age: Option<Duration>,
    /// No more than this, whatever the rules of time and number say.
    pub max_count: Option<u32>,
}

/// A snapshot to decide about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: SnapshotId,
    /// When the backup began, in milliseconds since 1970-01-01T00:00Z.
    pub time_ms: i64,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether all of the source is in it.
    pub complete: bool,
}

/// What happens to the candidate of the same position.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Kept, as opposed to removed.
    pub keep: bool,
    /// Why it is kept, in restic's words; why it is removed where that is not just the lack of a reason to keep it.
    pub reasons: Vec<String>,
    /// What the counting rules have left after this snapshot.
    pub counters: Counters,
}

/// What counting rules have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named after its rule")]
pub struct Counters {
    pub last: Count,
    pub hourly: Count,
    pub daily: Count,
    pub weekly: Count,
    pub monthly: Count,
    pub quarterly: Count,
    pub yearly: Count,
}

/// Whether `tags` has all of `wanted`; nothing wanted, or only the empty tag, means no tags at all.
pub fn has_tags(tags: &[String], wanted: &[String]) -> bool {
    if wanted.iter().all(String::is_empty) {
        return tags.is_empty();
    }
    wanted.iter().all(|tag| tags.contains(tag))
}

impl KeepPolicy {
    /// Whether it has no rule and no bound.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn has_rules(&self) -> bool {
        !Self { max_age: None, max_count: None, ..self.clone() }.is_empty()
    }

    fn names(&self, candidate: &Candidate) -> Vec<String> {
        let tags = self.tags.iter().filter(|tags| has_tags(&candidate.tags, tags));
        let mut reasons: Vec<_> = tags.map(|tags| format!("has tags [{}]", tags.join(", "))).collect();
        if self.ids.contains(&candidate.id) {
            reasons.push("id".to_owned());
        }
        reasons
    }
}

/// Decides about one group of snapshots; the decisions come in the order of the candidates, which may be any.
///
/// Of snapshots with the same time the one with the greater id is taken for the newer.
pub fn apply(policy: &KeepPolicy, candidates: &[Candidate], now_ms: i64, zone: &TimeZone) -> Vec<Decision> {
    let mut decisions =
        vec![Decision { keep: false, reasons: Vec::new(), counters: Counters::default() }; candidates.len()];
    let mut newest_first: Vec<usize> = (0..candidates.len()).collect();
    newest_first.sort_by_key(|&i| std::cmp::Reverse((candidates[i].time_ms, candidates[i].id)));
    let complete: Vec<usize> = newest_first.iter().copied().filter(|&i| candidates[i].complete).collect();

    let mut superseded = false;
    let mut rules = Rules::new(policy, candidates, &complete, now_ms, zone);
    let has_rules = policy.has_rules();
    for i in newest_first {
        let (candidate, decision) = (&candidates[i], &mut decisions[i]);
        decision.reasons = policy.names(candidate);
        if candidate.complete {
            if has_rules {
                rules.judge(candidate, complete.last() == Some(&i), &mut decision.reasons);
            } else {
                decision.reasons.push("policy is empty".to_owned());
            }
            if complete.first() == Some(&i) && decision.reasons.is_empty() {
                decision.reasons.push("newest snapshot".to_owned());
            }
        } else if !superseded {
            decision.reasons.push("partial, no newer complete snapshot".to_owned());
        }
        decision.keep = !decision.reasons.is_empty();
        if !decision.keep && !candidate.complete {
            decision.reasons.push("partial, superseded by a newer complete snapshot".to_owned());
        }
        decision.counters = rules.counters();
        superseded |= candidate.complete;
    }
    bound(policy, candidates, &complete, now_ms, zone, &mut decisions);
    decisions
}

/// Removes what is beyond the upper bounds.
fn bound(
    policy: &KeepPolicy,
    candidates: &[Candidate],
    complete: &[usize],
    now_ms: i64,
    zone: &TimeZone,
    decisions: &mut [Decision],
) {
    let oldest_ms = policy.max_age.map_or(i64::MIN, |age| age.before(now_ms, zone));
    let mut room = policy.max_count.unwrap_or(u32::MAX);
    for (nr, &i) in complete.iter().enumerate() {
        if !decisions[i].keep {
            continue;
        }
        let too_old = candidates[i].time_ms < oldest_ms;
        if nr > 0 && policy.names(&candidates[i]).is_empty() && (too_old || room == 0) {
            let why = match policy.max_age.filter(|_| too_old) {
                Some(age) => format!("older than {age}"),
                None => "over the maximum count".to_owned(),
            };
            decisions[i].keep = false;
            decisions[i].reasons = vec![why];
        } else {
            room = room.saturating_sub(1);
        }
    }
}

/// A stretch of the calendar, numbered so that neighbours differ.
#[derive(Clone, Copy)]
enum Unit {
    Snapshot,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Unit {
    fn number(self, time: &Zoned, nr: usize) -> i64 {
        let (year, month, day) = (i64::from(time.year()), i64::from(time.month()), i64::from(time.day()));
        match self {
            Self::Snapshot => nr as i64,
            Self::Hour => ((year * 100 + month) * 100 + day) * 100 + i64::from(time.hour()),
            Self::Day => (year * 100 + month) * 100 + day,
            Self::Week => {
                let week = time.date().iso_week_date();
                i64::from(week.year()) * 100 + i64::from(week.week())
            }
            Self::Month => year * 100 + month,
            Self::Quarter => year * 10 + (month - 1) / 3,
            Self::Year => year,
        }
    }
}

struct Counting {
    left: Count,
    unit: Unit,
    name: &'static str,
    last: Option<i64>,
}

struct Within {
    duration: Duration,
    /// Snapshots after this moment are within.
    after_ms: i64,
    unit: Unit,
    name: &'static str,
    last: Option<i64>,
}

/// The rules of time and number, applied to complete snapshots from the newest to the oldest.
struct Rules<'a> {
    zone: &'a TimeZone,
    counting: [Counting; 7],
    within_all: (Duration, i64),
    within: Vec<Within>,
    seen: usize,
}

impl<'a> Rules<'a> {
    fn new(policy: &KeepPolicy, candidates: &[Candidate], complete: &[usize], now_ms: i64, zone: &'a TimeZone) -> Self {
        let latest_ms = complete.iter().map(|&i| candidates[i].time_ms).find(|&time| time <= now_ms).unwrap_or(now_ms);
        let counting = |left, unit, name| Counting { left, unit, name, last: None };
        let within = |duration: Duration, unit, name| {
            let after_ms = duration.before(latest_ms, zone);
            Within { duration, after_ms, unit, name, last: None }
        };
        let within_all = (policy.within, policy.within.before(latest_ms, zone));
        let mut within = vec![
            within(policy.within_hourly, Unit::Hour, "hourly within"),
            within(policy.within_daily, Unit::Day, "daily within"),
            within(policy.within_weekly, Unit::Week, "weekly within"),
            within(policy.within_monthly, Unit::Month, "monthly within"),
            within(policy.within_quarterly, Unit::Quarter, "quarterly within"),
            within(policy.within_yearly, Unit::Year, "yearly within"),
        ];
        within.retain(|rule| !rule.duration.is_zero());
        Self {
            zone,
            counting: [
                counting(policy.last, Unit::Snapshot, "last snapshot"),
                counting(policy.hourly, Unit::Hour, "hourly snapshot"),
                counting(policy.daily, Unit::Day, "daily snapshot"),
                counting(policy.weekly, Unit::Week, "weekly snapshot"),
                counting(policy.monthly, Unit::Month, "monthly snapshot"),
                counting(policy.quarterly, Unit::Quarter, "quarterly snapshot"),
                counting(policy.yearly, Unit::Year, "yearly snapshot"),
            ],
            within_all,
            within,
            seen: 0,
        }
    }

    /// Adds the reasons for which the next snapshot is kept.
    fn judge(&mut self, candidate: &Candidate, oldest: bool, reasons: &mut Vec<String>) {
        let time = Timestamp::from_millisecond(candidate.time_ms).unwrap_or(Timestamp::MIN).to_zoned(self.zone.clone());
        let nr = self.seen;
        self.seen += 1;
        let (duration, after_ms) = self.within_all;
        if !duration.is_zero() && candidate.time_ms > after_ms {
            reasons.push(format!("within {duration}"));
        }
        for rule in self.counting.iter_mut().filter(|rule| rule.left != Count::Some(0)) {
            let number = Some(rule.unit.number(&time, nr));
            let another = number != rule.last;
            if another || oldest {
                rule.last = number;
                if let Count::Some(left) = &mut rule.left {
                    *left -= 1;
                }
                reasons.push(format!("{}{}", if another { "" } else { "oldest " }, rule.name));
            }
        }
        for rule in self.within.iter_mut().filter(|rule| candidate.time_ms > rule.after_ms) {
            let number = Some(rule.unit.number(&time, nr));
            let another = number != rule.last;
            if another || oldest {
                rule.last = number;
                reasons.push(format!("{}{} {}", if another { "" } else { "oldest " }, rule.name, rule.duration));
            }
        }
    }

    fn counters(&self) -> Counters {
        let [last, hourly, daily, weekly, monthly, quarterly, yearly] = self.counting.each_ref().map(|rule| rule.left);
        Counters { last, hourly, daily, weekly, monthly, quarterly, yearly }
    }
}
