//! Blobs on their way into a store: batches that another thread writes.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;

use crate::datahike::encode_head::{self, Lifetime};
use crate::datahike::node::Address;
use crate::datahike::{Compression, Home, StoreKey};
use crate::error::{Error, ErrorKind, Result};
use crate::record::datom::Value;

/// Blobs written at once, at most.
const BATCH_BLOBS: usize = 128;
/// Bytes of these, unless one blob alone is larger.
const BATCH_BYTES: usize = 4 << 20;

type Batch = Vec<(StoreKey, Bytes)>;

enum Order {
    Write(Batch),
    /// Tell when all before is durable.
    Report(SyncSender<()>),
}

/// Takes blobs and writes them in the order of batches.
pub(super) struct Blobs {
    name: String,
    now: i64,
    batch: Batch,
    batch_bytes: usize,
    orders: Option<SyncSender<Order>>,
    writer: Option<JoinHandle<Result<()>>>,
    blobs: u64,
    bytes: u64,
}

impl Blobs {
    pub(super) fn new(home: Arc<dyn Home>, now: i64) -> Self {
        // One batch is filled while another waits and a third is written.
        let (orders, taken) = sync_channel(1);
        let name = home.name();
        let writer = std::thread::spawn(move || write(&*home, &taken));
        Self {
            name,
            now,
            batch: Vec::new(),
            batch_bytes: 0,
            orders: Some(orders),
            writer: Some(writer),
            blobs: 0,
            bytes: 0,
        }
    }

    /// Takes the value of a node.
    pub(super) fn node(&mut self, address: Address, value: &[u8]) -> Result<()> {
        let key = Value::Uuid(address);
        let blob = encode_head::blob(&key, Lifetime::Immutable, value, self.now, Compression::None);
        self.put(blob.map_err(|e| Error::damaged(self.name.clone(), e))?)
    }

    pub(super) fn put(&mut self, blob: (StoreKey, Bytes)) -> Result<()> {
        self.blobs += 1;
        self.bytes += blob.1.len() as u64;
        self.batch_bytes += blob.1.len();
        self.batch.push(blob);
        if self.batch.len() >= BATCH_BLOBS || self.batch_bytes >= BATCH_BYTES {
            self.hand_over()?;
        }
        Ok(())
    }

    /// Returns when everything so far is durable.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.hand_over()?;
        let (report, reported) = sync_channel(1);
        self.order(Order::Report(report))?;
        if reported.recv().is_err() {
            return self.failed();
        }
        Ok(())
    }

    /// How many blobs and bytes were written.
    pub(super) fn finish(mut self) -> Result<(u64, u64)> {
        self.flush()?;
        Ok((self.blobs, self.bytes))
    }

    fn hand_over(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        self.order(Order::Write(batch))
    }

    fn order(&mut self, order: Order) -> Result<()> {
        match &self.orders {
            Some(orders) if orders.send(order).is_ok() => Ok(()),
            _ => self.failed(),
        }
    }

    /// Why the writer has stopped.
    fn failed(&mut self) -> Result<()> {
        self.orders = None;
        let stopped = || Error::new(ErrorKind::Failed, self.name.clone(), "writing has stopped");
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(error),
            _ => Err(stopped()),
        }
    }
}

impl Drop for Blobs {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write(home: &dyn Home, orders: &Receiver<Order>) -> Result<()> {
    for order in orders {
        match order {
            Order::Write(batch) => home.put_many(batch)?,
            Order::Report(report) => {
                let _ = report.send(());
            }
        }
    }
    Ok(())
}
