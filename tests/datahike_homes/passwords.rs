//! Wrong passwords, and that none is ever shown.

use std::env;
use std::process::Command;

use mysql::prelude::Queryable as _;
use packstone::ErrorKind;
use packstone::datahike::home;

use crate::place::{Place, blob, key, places};

const RIGHT: &str = "Xright-p4ssX";
const WRONG: &str = "Ywrong-p4ssY";

/// The place with a user of this password.
fn with_password(place: &Place, password: &str) -> String {
    let location = &place.location;
    match place.kind {
        "s3" => {
            let secret = env::var("SVC_S3_SECRET_ACCESS_KEY").unwrap();
            location.replace(&secret, if password == RIGHT { &secret } else { password })
        }
        _ => {
            let (scheme, rest) = location.split_once("://").unwrap();
            let rest = rest.split_once('@').map_or(rest, |(_, rest)| rest);
            format!("{scheme}://secured:{password}@{rest}")
        }
    }
}

/// Users that have a password.
fn make_users() {
    if let Ok(url) = env::var("SVC_PG_URL") {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        // Tests may do this at the same time.
        let _ = client.batch_execute("CREATE ROLE secured LOGIN SUPERUSER");
        let _ = client.batch_execute(&format!("ALTER ROLE secured PASSWORD '{RIGHT}'"));
    }
    if let Ok(url) = env::var("SVC_MYSQL_URL") {
        let mut connection = mysql::Conn::new(mysql::Opts::from_url(&url).unwrap()).unwrap();
        for host in ["%", "localhost"] {
            let user = format!("'secured'@'{host}'");
            connection.query_drop(format!("CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{RIGHT}'")).unwrap();
            connection.query_drop(format!("GRANT ALL ON *.* TO {user}")).unwrap();
        }
    }
    if let Ok(url) = env::var("SVC_REDIS_URL") {
        let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        let user = ["SETUSER", "secured", "on", "resetpass", &format!(">{RIGHT}"), "~*", "+@all"];
        redis::cmd("ACL").arg(&user).exec(&mut connection).unwrap();
    }
}

#[test]
fn a_wrong_password_is_refused_and_none_is_shown() {
    make_users();
    for place in places().into_iter().filter(|place| place.kind != "sqlite") {
        home::create(&place.location).unwrap().put_many(vec![(key(1), blob("a", b"b"))]).unwrap();
        let home = home::open(&with_password(&place, RIGHT)).unwrap();
        assert!(home.get(key(1)).unwrap().is_some(), "{}", place.kind);
        let shown = home.name();
        for secret in [RIGHT, "testsecret"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let refused = home::open(&with_password(&place, WRONG)).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Denied, "{}: {refused}", place.kind);
        let told = format!("{refused} {refused:?}");
        assert!(!told.contains(WRONG) && !told.contains("testsecret"), "{}: {told}", place.kind);
        let run = program(&["backup", &format!("datahike:{}", with_password(&place, WRONG))]);
        let told = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert_eq!(run.status.code(), Some(1), "{}: {told}", place.kind);
        assert!(!told.contains(WRONG) && !told.contains("testsecret"), "{}: {told}", place.kind);
    }
}

/// Runs the program on a new repository.
fn program(arguments: &[&str]) -> std::process::Output {
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("key"), "a key file has at least 32 bytes in it").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packstone"));
        command.current_dir(work.path()).env("PACKSTONE_CACHE_DIR", work.path().join("cache"));
        command.args(["-r", "repository", "--key-file", "key"]).args(arguments).output().unwrap()
    };
    assert!(run(&["init"]).status.success());
    run(arguments)
}
