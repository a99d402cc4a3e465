//! What the program prints and takes for people of Clojure.

use packstone::record::datom::{Value, edn};

use crate::world::{World, ran};

/// The value under a keyword.
fn get<'v, 'a>(map: &'v Value<'a>, name: &str) -> &'v Value<'a> {
    let Value::Map(entries) = map else { panic!("no map: {map:?}") };
    let found = entries.iter().find(|(key, _)| matches!(key, Value::Keyword(key) if key == name));
    &found.unwrap_or_else(|| panic!("no :{name} in {map:?}")).1
}

fn string(text: &str) -> Value<'_> {
    Value::String(text.as_bytes().into())
}

#[test]
fn snapshots_are_manifests_in_the_words_of_datacamp() {
    let world = World::with_days();
    let list = world.ok(&["snapshots", "--format", "edn"]);
    let Value::Tuple(manifests) = edn::parse_value(list.as_bytes()).unwrap() else { panic!("{list}") };
    assert_eq!(manifests.len(), 3);
    let (first, last) = (&manifests[0], &manifests[2]);
    let ids = world.ids();
    assert_eq!(get(last, "backup/id"), &string(&ids[2]));
    assert_eq!(get(first, "backup/type"), &Value::Keyword("full".into()));
    assert_eq!(get(last, "backup/type"), &Value::Keyword("incremental".into()));
    assert_eq!(get(last, "backup/completed"), &Value::Boolean(true));
    assert_eq!(get(first, "backup/created-at"), &Value::Instant(1_767_268_800_000));
    assert_eq!(get(last, "database/id"), &string("db"));
    assert_eq!(get(last, "database/branch"), &Value::Keyword("db".into()));
    assert_eq!(get(last, "datahike/version"), &Value::Nil);
    assert_eq!(get(last, "format/compression"), &Value::Keyword("zstd".into()));
    // 201 datoms, and on each of two days the instant and ten names that change.
    assert_eq!(get(last, "stats/datom-count"), &Value::Long(243));
    assert_eq!(get(last, "stats/tx-range"), &Value::Tuple(vec![Value::Long(1), Value::Long(3)]));
    assert_eq!(get(last, "stats/max-tx"), &Value::Long(3));
    assert_eq!(get(last, "stats/max-eid"), &Value::Long(299));
    assert_eq!(get(last, "stats/chunk-count"), &Value::Long(2));
    assert!(matches!(get(last, "stats/size-bytes"), Value::Long(bytes) if *bytes > 0));
    let Value::Tuple(chunks) = get(last, "chunks") else { panic!("{last:?}") };
    assert_eq!(get(&chunks[0], "chunk/id"), &string("log"));
    assert_eq!(get(&chunks[0], "chunk/datom-count"), &Value::Long(243));
    assert_eq!(get(last, "packstone/tags"), &Value::Tuple(vec![string("all"), string("day2")]));
    assert_eq!(get(last, "packstone/parent"), &string(&ids[1]));
    let cat = world.ok(&["cat", "snapshot", "latest", "--format", "edn"]);
    assert_eq!(&edn::parse_value(cat.as_bytes()).unwrap(), last);
    let grouped = world.ok(&["snapshots", "--format", "edn", "--group-by", "label"]);
    let Value::Tuple(groups) = edn::parse_value(grouped.as_bytes()).unwrap() else { panic!("{grouped}") };
    assert_eq!(get(get(&groups[0], "group-key"), "label"), &string("db"));
    assert_eq!(get(&groups[0], "snapshots"), &Value::Tuple(manifests.clone()));
}

#[test]
fn stats_diff_and_objects_come_as_edn() {
    let world = World::with_days();
    let stats = world.ok(&["stats", "--format", "edn"]);
    let json = world.document(&["stats"]);
    let stats = edn::parse_value(stats.as_bytes()).unwrap();
    let total = json.as_object().unwrap().iter().find(|(_, value)| value.is_u64()).unwrap();
    let name = format!("stats/{}", total.0.replace('_', "-"));
    assert_eq!(get(&stats, &name), &Value::Long(total.1.as_i64().unwrap()));
    for mode in [&["--by-snapshot"][..], &["--mode", "restore-size"], &["--mode", "raw-data"]] {
        let out = world.ok(&[&["stats", "--format", "edn"], mode].concat());
        edn::parse_value(out.as_bytes()).unwrap_or_else(|why| panic!("{mode:?}: {why}: {out}"));
    }
    let diff = world.ok(&["diff", "latest~1", "latest", "--format", "edn"]);
    let lines: Vec<Value<'_>> = diff.lines().map(|line| edn::parse_value(line.as_bytes()).unwrap()).collect();
    // Ten names that went, ten that came, and the instant.
    assert_eq!(lines.len(), 22);
    let change = &lines[0];
    assert_eq!(get(change, "diff/message-type"), &Value::Keyword("change".into()));
    assert!(matches!(get(change, "diff/datom"), Value::Tuple(parts) if parts.len() == 5));
    assert_eq!(get(get(&lines[21], "diff/added"), "datoms"), &Value::Long(21));
    for object in [&["config"][..], &["masterkey"]] {
        let out = world.ok(&[&["cat", "--format", "edn"], object].concat());
        edn::parse_value(out.as_bytes()).unwrap_or_else(|why| panic!("{object:?}: {why}: {out}"));
    }
    assert_eq!(world.run(&["stats", "--format", "edn", "--json"]).code, 2);
    let error = world.run(&["cat", "snapshot", "nonsense", "--format", "edn"]);
    assert!(error.code != 0 && error.out.is_empty() && error.err.starts_with("error:"), "{error:?}");
}

/// What `(d/listen conn :backup (fn [{:keys [tx-data]}] (run! prn tx-data)))` and `(run! prn (d/datoms db :eavt))` print.
#[test]
fn a_database_in_memory_is_backed_up_through_a_pipe() {
    let world = World::new();
    let pipe = |text: &str, more: &[&str]| {
        let arguments = [&["backup", "datoms:-", "--label", "memory"], more].concat();
        let ran = ran(world.command(&arguments).write_stdin(text.to_owned()));
        assert_eq!(ran.code, 0, "{text}: {ran:?}");
    };
    let history = "#datahike/Datom [1 :name \"Ada\" 536870913 true]\n#datahike/Datom [1 :name \"Ada\" 536870914 false]\n\
                   #datahike/Datom [1 :name \"Ada Lovelace\" 536870914 true]\n";
    pipe(history, &["--view", "history"]);
    let text = "[1 :name \"Ada\" 536870913 true]\n[1 :name \"Ada\" 536870914 false]\n[1 :name \"Ada Lovelace\" 536870914 true]\n";
    assert_eq!(world.ok(&["dump", "latest"]), text);
    // Each state after the other, as a job that prints `d/datoms` every hour gives them.
    pipe("#datahike/Datom [1 :name \"Ada\" 536870913 true]\n", &["--view", "current", "--parent", "none"]);
    pipe("#datahike/Datom [1 :name \"Ada Lovelace\" 536870914 true]\n", &["--view", "current"]);
    assert_eq!(world.ok(&["dump", "latest", "--history"]), text);
    // Logs and relatives come through a pipe too, also where they have to be read twice.
    let log = "{:t 1000 :data [[72 10 :user/name 13194139534312 true] [80 72 \"x\" 13194139534312 true]]}\n";
    pipe(log, &["--parent", "none"]);
    assert!(world.ok(&["dump", "latest"]).contains("[80 :user/name \"x\" 13194139534312 true]"));
    pipe(log, &["--parent", "none", "--remap-ids"]);
    assert!(world.ok(&["dump", "latest"]).contains(" :packstone/original-id 80 536871912 true]"));
    let serialized = std::fs::read("tests/fixtures/relatives/serializable.json.gz").unwrap();
    assert_eq!(ran(world.command(&["backup", "datoms:-"]).write_stdin(serialized)).code, 0);
    assert_eq!(world.ok(&["dump", "latest"]).lines().count(), 264);
}
