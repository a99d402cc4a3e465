//! The bill of a run, amounts that stop it, and what a repository costs a month.

use serde_json::Value;

use crate::world::{Ran, World};

/// A write costs 0.01, a listing 0.002, a read 0.001, and a MiB stored 1 a month.
const TABLE: &str = r#"{
    "currency": "EUR",
    "providers": { "local": { "date": "2026-11", "source": "a test", "gb_bytes": 1048576, "classes": {
        "STANDARD": { "writes_per_1000": 10, "reads_per_1000": 1, "lists_per_1000": 2, "stored_gb_month": 1 },
        "COLD": { "stored_gb_month": 0.5, "minimum_object_bytes": 1048576, "minimum_storage_days": 30 }
    } } }
}"#;

fn world() -> World {
    let world = World::new();
    world.write("prices.json", TABLE);
    world.write("tree/a", "a".repeat(5000));
    world
}

/// The bill among the lines of standard error.
fn bill(ran: &Ran) -> Value {
    let mut bills = ran.err.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    bills.find(|line| line["message_type"] == "bill").unwrap_or_else(|| panic!("no bill: {ran:?}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn a_local_repository_shows_its_requests_and_costs_nothing() {
    let world = world();
    let ran = world.run(&["backup", "tree", "--bill"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("a local repository costs nothing"), "{ran:?}");
    assert!(ran.err.ends_with("total cost 0 USD\n"), "{ran:?}");
    let ran = world.run(&["snapshots", "--bill", "--json"]);
    let list: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "the result is still one document");
    let bill = bill(&ran);
    let store = &bill["stores"][0];
    assert!(
        store["requests"]["reads"].as_u64().unwrap() > 0 && store["received_bytes"].as_u64().unwrap() > 0,
        "{bill}"
    );
    assert_eq!((number(&bill["total_cost"]), &store["repository"]), (0.0, &Value::from("repo")));
    assert!(!world.run(&["snapshots"]).err.contains("bill"));
}

#[test]
fn every_line_is_priced_by_the_table() {
    let world = world();
    let ran = world.run(&["backup", "tree", "--bill", "--json", "--price-table", "prices.json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let bill = bill(&ran);
    let store = &bill["stores"][0];
    let asked = |class: &str| store["requests"][class].as_u64().unwrap();
    let cost = |line: &str| number(&store["cost"][line]);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(asked("writes") >= 3, "{bill}");
    assert!(near(cost("writes"), asked("writes") as f64 * 0.01), "{bill}");
    assert!(near(cost("reads"), (asked("reads") + asked("heads")) as f64 * 0.001), "{bill}");
    assert!(near(cost("lists"), asked("lists") as f64 * 0.002), "{bill}");
    assert!(near(number(&bill["total_cost"]), cost("total")), "{bill}");
    assert_eq!((&bill["currency"], &store["prices"]["class"]), (&Value::from("EUR"), &Value::from("STANDARD")));
    let text = world.run(&["snapshots", "--bill", "--price-table", "prices.json"]);
    assert!(text.err.contains("list prices of local STANDARD as of 2026-11 in EUR"), "{text:?}");
    // Another repository has lines of its own.
    world.ok(&["init", "-r", "other"]);
    let from = ["--from-repo", "repo", "--from-key-file", "key"];
    let ran = world.run(&[&["copy", "-r", "other", "--bill", "--json"], &from[..]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(self::bill(&ran)["stores"].as_array().unwrap().len(), 2);
}

#[test]
fn a_run_that_would_cost_more_stops_before_and_continues_with_more() {
    let world = world();
    let backup = |most: &str| {
        world.run(&["backup", "tree", "--bill", "--json", "--price-table", "prices.json", "--max-cost", most])
    };
    let mut stopped = 0;
    for step in 0..100 {
        let most = f64::from(step) * 0.01;
        let ran = backup(&format!("{most:.2}"));
        let bill = bill(&ran);
        assert!(number(&bill["total_cost"]) <= most + 1e-9, "{bill}");
        assert!((number(&bill["max_cost"]) - most).abs() < 1e-9);
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.code, 16, "{ran:?}");
        assert!(ran.err.contains("are allowed"), "{ran:?}");
        stopped += 1;
    }
    assert!((3..100).contains(&stopped), "{stopped}");
    assert_eq!(world.ids().len(), 1);
    world.ok(&["check", "--read-data"]);
    let text = world.run(&["snapshots", "--price-table", "prices.json", "--max-cost", "0.001"]);
    assert_eq!(text.code, 16);
    assert!(text.err.contains("hint: allow more with --max-cost"), "{text:?}");
}

#[test]
fn tables_and_amounts_that_make_no_sense_are_refused() {
    let world = world();
    for (table, word) in [
        (TABLE.replace("\"reads_per_1000\": 1", "\"reads_per_1000\": -1"), "no price"),
        (TABLE.replace("\"reads_per_1000\": 1", "\"reads_per_1000\": NaN"), "expected"),
        (TABLE.replace("reads_per_1000", "read_per_1000"), "unknown field"),
        (TABLE.replace("providers", "provider"), "unknown field"),
    ] {
        world.write("bad.json", table);
        let ran = world.run(&["snapshots", "--price-table", "bad.json"]);
        assert!(ran.code == 2 && ran.err.contains("bad.json") && ran.err.contains(word), "{ran:?}");
    }
    assert_eq!(world.run(&["snapshots", "--price-table", "none.json"]).code, 1);
    for amount in ["-1", "nan", "1e3", "", "1 USD"] {
        assert_eq!(world.run(&["snapshots", &format!("--max-cost={amount}")]).code, 2, "{amount}");
    }
    let ran = world.run(&["snapshots", "--bill", "--price-class", "s3/FROZEN"]);
    assert!(ran.code == 2 && ran.err.contains("DEEP_ARCHIVE"), "{ran:?}");
    let ran = world.run(&["snapshots", "--bill", "--price-class", "cloudy/STANDARD"]);
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[test]
fn stats_tell_what_a_repository_costs_a_month() {
    let world = world();
    world.ok(&["backup", "tree"]);
    let free = world.document(&["stats", "--cost"]);
    assert_eq!((number(&free["total_month"]), free["prices"]["unknown"].is_string()), (0.0, true));
    let priced = world.document(&["stats", "--cost", "--price-table", "prices.json"]);
    let objects = priced["objects"].as_array().unwrap();
    let bytes: u64 = objects.iter().map(|folder| folder["bytes"].as_u64().unwrap()).sum();
    let count: u64 = objects.iter().map(|folder| folder["count"].as_u64().unwrap()).sum();
    assert!((5..=world.files("repo") as u64).contains(&count), "{priced}");
    let expected = bytes as f64 / 1_048_576.0;
    assert!((number(&priced["storage_month"]) - expected).abs() < 1e-9, "{priced}");
    let daily = &priced["unchanged_backup"];
    assert!((number(&daily["month"]) - number(&daily["cost"]) * 31.0).abs() < 1e-9, "{priced}");
    let total = number(&priced["storage_month"]) + number(&daily["month"]);
    assert!((number(&priced["total_month"]) - total).abs() < 1e-9);
    // Small objects count as large ones.
    let cold = ["--price-table", "prices.json", "--price-class", "local/cold"];
    let cold = world.document(&[&["stats", "--cost"], &cold[..]].concat());
    assert!((number(&cold["storage_month"]) - count as f64 * 0.5).abs() < 1e-9, "{cold}");
    assert_eq!(cold["minimum_storage_days"], 30);
    // What it would cost elsewhere.
    let text = world.ok(&["stats", "--cost", "--price-class", "s3/STANDARD_IA"]);
    for part in ["list prices of s3 STANDARD_IA as of", "packs", "an unchanged backup", "USD", "within 30 days"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
