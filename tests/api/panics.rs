//! A bug below must end a run, not hang it.

use packstone::record::Rows;
use packstone::repository::WriterOptions;
use packstone::tree::{Node, WriteNode};

use crate::fixtures::{blocking, create};

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_writing_thread_is_an_error_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let repository = create(&folder.path().join("repository")).await;
    let message = blocking(move || {
        let mut writer = repository.writer(WriterOptions::default()).unwrap();
        let mut rows = Rows::new();
        rows.push(b"name", b"no entry");
        let node = Node { kind: 3, level: 0, rows };
        writer.write_node(node).and_then(|_| writer.flush()).unwrap_err().to_string()
    })
    .await;
    assert_eq!(message, "frame: a writing thread panicked");
}
