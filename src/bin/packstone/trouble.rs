//! What a run met on the way to its repositories, said once at its end.

use packstone::backend::Retries;
use serde_json::json;

use crate::output::{Output, counted, grouped};

/// One line on standard error when anything was met.
pub fn report(output: &Output, met: &Retries) {
    if met.is_empty() {
        return;
    }
    output.trouble(
        &sentence(met),
        &json!({
            "message_type": "trouble",
            "repeated": met.repeated,
            "given_up": met.given_up,
            "transient": met.transient,
            "throttled": met.throttled,
            "timeouts": met.timeouts,
            "wrong_answers": met.wrong_answers,
            "full": met.full,
            "denied": met.denied,
        }),
    );
}

fn sentence(met: &Retries) -> String {
    let class = |number: u64, what: &str| (number > 0).then(|| format!("{} {what}", grouped(number)));
    let classes: Vec<_> = [
        class(met.transient, "for passing errors"),
        class(met.throttled, "throttled"),
        class(met.timeouts, "without an answer in time"),
        class(met.wrong_answers, "with a wrong answer"),
        class(met.full, "for want of space"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let repeated = met.repeated + met.wrong_answers;
    let were = if repeated == 1 { "was" } else { "were" };
    let mut said = match (repeated, classes.is_empty()) {
        (0, true) => String::new(),
        (0, false) => format!("requests failed: {}", classes.join(", ")),
        (_, true) => format!("{} {were} repeated", counted(repeated, "request")),
        (_, false) => format!("{} {were} repeated: {}", counted(repeated, "request"), classes.join(", ")),
    };
    for (number, what) in [(met.given_up, "given up"), (met.denied, "refused")] {
        if number > 0 {
            let start =
                if said.is_empty() { counted(number, "request") } else { format!("{said}; {}", grouped(number)) };
            said = format!("{start} {what}");
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_is_one_sentence() {
        let none = Retries::default();
        let mut met = none;
        (met.repeated, met.transient, met.throttled) = (3, 2, 1);
        assert_eq!(sentence(&met), "3 requests were repeated: 2 for passing errors, 1 throttled");
        (met.given_up, met.denied) = (1, 1);
        assert_eq!(
            sentence(&met),
            "3 requests were repeated: 2 for passing errors, 1 throttled; 1 given up; 1 refused"
        );
        let mut wrong = none;
        wrong.wrong_answers = 1;
        assert_eq!(sentence(&wrong), "1 request was repeated: 1 with a wrong answer");
        let mut denied = none;
        denied.denied = 1;
        assert_eq!(sentence(&denied), "1 request refused");
    }
}
