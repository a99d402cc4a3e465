//! Servers that are set up otherwise than usual.

use std::env;

use mysql::prelude::Queryable as _;
use packstone::datahike::home;

use crate::place::{blob, key, places};

/// A server that commits nothing by itself, until this is dropped.
struct NoAutocommit(mysql::Conn);

impl NoAutocommit {
    fn begin() -> Self {
        let url = env::var("SVC_MYSQL_URL").unwrap();
        let mut connection = mysql::Conn::new(mysql::Opts::from_url(&url).unwrap()).unwrap();
        connection.query_drop("SET GLOBAL autocommit = 0").unwrap();
        Self(connection)
    }
}

impl Drop for NoAutocommit {
    fn drop(&mut self) {
        self.0.query_drop("SET GLOBAL autocommit = 1").unwrap();
    }
}

#[test]
fn a_kept_connection_sees_what_others_commit_whatever_the_server_does_by_itself() {
    let Some(place) = places().into_iter().find(|place| place.kind == "mariadb") else { return };
    let _server = NoAutocommit::begin();
    let writer = home::create(&place.location).unwrap();
    writer.put_many(vec![(key(1), blob("1", b"a"))]).unwrap();
    let reader = home::open(&place.location).unwrap();
    let mut before = reader.stamps(&[key(1)]).unwrap();
    for round in 2..5 {
        let now = blob(&round.to_string(), b"b");
        writer.put_many(vec![(key(1), now.clone())]).unwrap();
        let after = reader.stamps(&[key(1)]).unwrap();
        assert_ne!(after, before);
        assert_eq!(reader.get(key(1)).unwrap(), Some(now));
        before = after;
    }
    writer.remove_many(&[key(1)]).unwrap();
    assert_eq!(reader.get(key(1)).unwrap(), None);
}
