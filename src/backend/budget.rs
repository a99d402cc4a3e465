//! A bill for what a run asks of a store, and an amount that it may not pass.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::backend::{
    Answer, Backend, Charge, HttpRequests, Money, ObjectStat, Prices, PutNew, Thaw, ThawOrder, Traffic,
};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{ObjectPath, Sealed};

/// No store takes smaller parts of an upload, so none has more of them.
const PART_BYTES: usize = 5 << 20;
/// A page of a listing is not longer: a thousand names with what is known of them.
const PAGE_BYTES: u64 = 1 << 20;
/// What is read whole is not longer: packs and parts of the index, and everything else.
const LARGE_BYTES: u64 = 64 << 20;
const SMALL_BYTES: u64 = 1 << 20;

/// What one or several [`Budget`]s may spend together, and have spent.
#[derive(Debug, Default)]
pub struct Purse {
    most: Option<Money>,
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What was charged, as far as it was looked at.
    spent: Money,
    /// What requests under way may cost at most.
    reserved: Money,
}

/// What a backend is charged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// Requests on the wire, as [`Backend::traffic`] tells them.
    Wire,
    /// Calls of the backend, as if each were a request of a store.
    Calls,
}

/// A backend that knows what it costs, and refuses what might bring the cost over the purse's amount.
///
/// The most that a request can cost is reserved before and what it did cost is settled after, so that requests at the same time
/// never pass the amount together. A request that would fit if those under way turn out cheaper waits for them.
///
/// Repetitions cost again: this belongs below [`super::Retrying`].
pub struct Budget<B> {
    inner: B,
    prices: Prices,
    meter: Meter,
    purse: Arc<Purse>,
    /// Calls that have ended, with what there is on the wire nothing.
    calls: Mutex<HttpRequests>,
    /// What of this backend is in the purse's sum already.
    settled: Mutex<Money>,
}

impl Purse {
    /// Holds `most`, or as much as is needed.
    pub fn new(most: Option<Money>) -> Arc<Self> {
        Arc::new(Self { most, ..Self::default() })
    }

    /// What was spent by requests that have ended.
    pub fn spent(&self) -> Money {
        self.lock().spent
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend> Budget<B> {
    /// Charges what `inner` is asked for by these prices, out of `purse`.
    pub fn new(inner: B, meter: Meter, prices: Prices, purse: Arc<Purse>) -> Self {
        Self { inner, prices, meter, purse, calls: Mutex::default(), settled: Mutex::default() }
    }

    /// What was asked so far, by what is charged.
    pub fn requests(&self) -> HttpRequests {
        match self.meter {
            Meter::Wire => self.inner.traffic().http,
            Meter::Calls => *self.calls.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// What that costs.
    pub fn charge(&self) -> Charge {
        self.prices.charge(&self.requests())
    }

    /// Brings the purse's sum up to date.
    fn settle(&self, state: &mut State) {
        let now = self.charge().total();
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        state.spent = state.spent + (now - *settled);
        *settled = now;
    }

    /// Takes what `request` can cost at most out of the purse.
    async fn reserve(&self, object: &str, request: HttpRequests) -> Result<Reserved<'_, B>> {
        let amount = self.prices.charge(&request).total();
        loop {
            let settled = self.purse.settled.notified();
            let mut settled = pin!(settled);
            // Before looking: what is settled from now on wakes this.
            settled.as_mut().enable();
            {
                let mut state = self.purse.lock();
                self.settle(&mut state);
                match self.purse.most {
                    Some(most) if state.spent + amount > most => {
                        return Err(self.refusal(object, state.spent, amount, most));
                    }
                    Some(most) if state.spent + state.reserved + amount > most => {}
                    _ => {
                        state.reserved = state.reserved + amount;
                        return Ok(Reserved { budget: self, amount });
                    }
                }
            }
            settled.await;
        }
    }

    fn refusal(&self, object: &str, spent: Money, amount: Money, most: Money) -> Error {
        let object = if object.is_empty() { self.inner.location() } else { object.to_owned() };
        let message = format!(
            "{} are spent and this request may cost {}: more than the {most} that are allowed",
            spent.rounded(),
            amount.rounded()
        );
        Error::new(ErrorKind::OverBudget, object, message)
    }

    /// Passes one request on.
    async fn spend<T>(&self, object: &str, worst: HttpRequests, request: Answer<'_, T>) -> Result<T> {
        let _reserved = self.reserve(object, worst).await?;
        let answer = request.await;
        // A failed call counts too, its body with it: as on the wire.
        self.call(worst);
        answer
    }

    /// Counts a call where calls are charged.
    fn call(&self, requests: HttpRequests) {
        if self.meter == Meter::Calls {
            let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            *calls = calls.plus(&requests);
        }
    }

    async fn write<T>(&self, path: &ObjectPath, body_len: usize, request: Answer<'_, T>) -> Result<T> {
        let writes = match self.meter {
            // The parts, and a request before and after them.
            Meter::Wire => body_len.div_ceil(PART_BYTES) as u64 + 2,
            Meter::Calls => 1,
        };
        let worst = HttpRequests { writes, sent_bytes: body_len as u64, ..HttpRequests::default() };
        self.spend(path.as_str(), worst, request).await
    }

    /// Passes on a listing of unknown length: there is always one page's amount left for the page that comes next.
    async fn pages<T>(&self, folder: &str, request: Answer<'_, T>) -> Result<T> {
        let page = HttpRequests { lists: 1, received_bytes: PAGE_BYTES, ..HttpRequests::default() };
        let page = match self.meter {
            Meter::Wire => page,
            Meter::Calls => HttpRequests { received_bytes: 0, ..page },
        };
        let reserved = self.reserve(folder, page).await?;
        let mut request = pin!(request);
        let answer = poll_fn(|context| match self.page_left(folder, reserved.amount) {
            Ok(()) => request.as_mut().poll(context),
            Err(error) => Poll::Ready(Err(error)),
        });
        let answer = answer.await;
        self.call(page);
        answer
    }

    fn page_left(&self, folder: &str, page: Money) -> Result<()> {
        let Some(most) = self.purse.most else { return Ok(()) };
        let mut state = self.purse.lock();
        self.settle(&mut state);
        if state.spent + page > most { Err(self.refusal(folder, state.spent, page, most)) } else { Ok(()) }
    }
}

/// An amount that a request under way holds.
struct Reserved<'a, B: Backend> {
    budget: &'a Budget<B>,
    amount: Money,
}

impl<B: Backend> Drop for Reserved<'_, B> {
    fn drop(&mut self) {
        let mut state = self.budget.purse.lock();
        self.budget.settle(&mut state);
        state.reserved = state.reserved - self.amount;
        drop(state);
        self.budget.purse.settled.notify_waiters();
    }
}

impl<B: Backend> Backend for Budget<B> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn is_local(&self) -> bool {
        self.inner.is_local()
    }

    fn put<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.write(path, body.len(), self.inner.put(path, body)).await })
    }

    fn put_new<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, PutNew> {
        Box::pin(async move { self.write(path, body.len(), self.inner.put_new(path, body)).await })
    }

    fn replace<'a>(&'a self, path: &'a ObjectPath, body: Sealed) -> Answer<'a, ()> {
        Box::pin(async move { self.write(path, body.len(), self.inner.replace(path, body)).await })
    }

    fn get<'a>(&'a self, path: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let most = match &range {
                Some(range) => range.end.saturating_sub(range.start),
                None if path.as_str().starts_with("packs/") || path.as_str().starts_with("index/") => LARGE_BYTES,
                None => SMALL_BYTES,
            };
            let read = |received_bytes| HttpRequests { reads: 1, received_bytes, ..HttpRequests::default() };
            let _reserved = self.reserve(path.as_str(), read(most)).await?;
            let answer = self.inner.get(path, range).await;
            self.call(read(answer.as_ref().map_or(0, |bytes| bytes.len() as u64)));
            answer
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
        Box::pin(self.pages(prefix, self.inner.list(prefix)))
    }

    fn stat<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
        let worst = HttpRequests { heads: 1, ..HttpRequests::default() };
        Box::pin(async move { self.spend(path.as_str(), worst, self.inner.stat(path)).await })
    }

    fn delete<'a>(&'a self, path: &'a ObjectPath) -> Answer<'a, ()> {
        let worst = HttpRequests { deletes: 1, ..HttpRequests::default() };
        Box::pin(async move { self.spend(path.as_str(), worst, self.inner.delete(path)).await })
    }

    fn thaw<'a>(&'a self, path: &'a ObjectPath, order: Option<&'a ThawOrder>) -> Answer<'a, Thaw> {
        let worst = HttpRequests { heads: 1, writes: u64::from(order.is_some()), ..HttpRequests::default() };
        Box::pin(async move { self.spend(path.as_str(), worst, self.inner.thaw(path, order)).await })
    }

    fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }

    fn doubt(&self, path: &ObjectPath) {
        self.inner.doubt(path);
    }

    fn clean_uploads(&self, older_than: Duration) -> Answer<'_, u64> {
        Box::pin(self.pages("", self.inner.clean_uploads(older_than)))
    }

    fn list_unknown(&self) -> Answer<'_, Vec<String>> {
        Box::pin(self.pages("", self.inner.list_unknown()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::backend::PriceTable;

    /// A store where each request costs what the test says, counted as on a wire, and takes a moment.
    #[derive(Default)]
    struct Wire {
        reads: AtomicU64,
        received: AtomicU64,
        lists: AtomicU64,
        pages: u64,
        /// The most that was charged while something was under way.
        prices: Option<Prices>,
        worst: Mutex<Money>,
    }

    impl Wire {
        fn http(&self) -> HttpRequests {
            HttpRequests {
                reads: self.reads.load(Ordering::Relaxed),
                received_bytes: self.received.load(Ordering::Relaxed),
                lists: self.lists.load(Ordering::Relaxed),
                ..HttpRequests::default()
            }
        }

        fn look(&self) {
            let Some(prices) = &self.prices else { return };
            let mut worst = self.worst.lock().unwrap();
            *worst = (*worst).max(prices.charge(&self.http()).total());
        }
    }

    impl Backend for Wire {
        fn location(&self) -> String {
            "wire".to_owned()
        }

        fn put<'a>(&'a self, _: &'a ObjectPath, _: Sealed) -> Answer<'a, ()> {
            Box::pin(async { Ok(()) })
        }

        fn put_new<'a>(&'a self, _: &'a ObjectPath, _: Sealed) -> Answer<'a, PutNew> {
            Box::pin(async { Ok(PutNew::Created) })
        }

        fn replace<'a>(&'a self, _: &'a ObjectPath, _: Sealed) -> Answer<'a, ()> {
            Box::pin(async { Ok(()) })
        }

        fn get<'a>(&'a self, _: &'a ObjectPath, range: Option<Range<u64>>) -> Answer<'a, Bytes> {
            Box::pin(async move {
                self.reads.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                // Half of the objects are not there.
                if let Some(range) = range.filter(|range| range.start == 0) {
                    self.received.fetch_add(range.end - range.start, Ordering::Relaxed);
                }
                self.look();
                tokio::task::yield_now().await;
                Ok(Bytes::new())
            })
        }

        fn list<'a>(&'a self, _: &'a str) -> Answer<'a, Vec<(ObjectPath, ObjectStat)>> {
            Box::pin(async move {
                for _ in 0..self.pages {
                    self.lists.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    self.received.fetch_add(PAGE_BYTES, Ordering::Relaxed);
                    self.look();
                    tokio::task::yield_now().await;
                }
                Ok(Vec::new())
            })
        }

        fn stat<'a>(&'a self, _: &'a ObjectPath) -> Answer<'a, Option<ObjectStat>> {
            Box::pin(async { Ok(None) })
        }

        fn delete<'a>(&'a self, _: &'a ObjectPath) -> Answer<'a, ()> {
            Box::pin(async { Ok(()) })
        }

        fn traffic(&self) -> Traffic {
            Traffic { http: self.http(), ..Traffic::default() }
        }
    }

    /// A read costs 0.001 and a MiB 0.01, a page 0.002.
    fn prices() -> Prices {
        let json = br#"{"currency": "USD", "providers": {"s3": {"gb_bytes": 1048576, "classes": {"STANDARD":
            {"reads_per_1000": 1, "lists_per_1000": 2, "egress_gb": 0.01}}}}}"#;
        PriceTable::parse("test", json).unwrap().prices("s3", None).unwrap().unwrap().1
    }

    fn budget(most: &str, pages: u64) -> Budget<Wire> {
        let wire = Wire { pages, prices: Some(prices()), ..Wire::default() };
        Budget::new(wire, Meter::Wire, prices(), Purse::new(Some(most.parse().unwrap())))
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn the_last_request_is_the_one_that_still_fits() {
        let path = ObjectPath::config();
        let mib = 0..1_u64 << 20;
        for (most, fit) in [("0.0109", 0), ("0.011", 1), ("0.0219", 1), ("0.022", 2), ("0.11", 10)] {
            let budget = budget(most, 0);
            let mut done = 0;
            let error = run(async {
                loop {
                    match budget.get(&path, Some(mib.clone())).await {
                        Ok(_) => done += 1,
                        Err(error) => return error,
                    }
                }
            });
            assert_eq!((done, error.kind()), (fit, ErrorKind::OverBudget), "{most}");
            assert_eq!(budget.requests().reads, fit);
            assert_eq!(budget.purse.lock().reserved, Money::ZERO);
        }
    }

    #[test]
    fn what_turns_out_cheaper_leaves_the_rest_for_others() {
        let path = ObjectPath::config();
        // Nothing comes back from the second half: only the request is charged.
        let budget = budget("0.02", 0);
        let done = run(async {
            let mut done = 0;
            while budget.get(&path, Some(1..1 + (1 << 20))).await.is_ok() {
                done += 1;
            }
            done
        });
        // Up to 0.009 are spent when 0.011 are still to spare.
        assert_eq!(done, 10);
    }

    #[test]
    fn a_listing_stops_before_the_page_that_does_not_fit() {
        // A page costs 0.012.
        for (most, pages) in [("0.0119", 0), ("0.012", 1), ("0.047", 3), ("0.048", 4)] {
            let budget = budget(most, 100);
            let error = run(budget.list("packs/")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OverBudget);
            assert_eq!(budget.requests().lists, pages, "{most}");
            assert!(*budget.inner.worst.lock().unwrap() <= most.parse().unwrap());
        }
        assert!(run(budget("0.06", 4).list("packs/")).is_ok());
    }

    #[test]
    fn two_stores_share_a_purse() {
        let purse = Purse::new(Some("0.022".parse().unwrap()));
        let new = || Budget::new(Wire::default(), Meter::Wire, prices(), Arc::clone(&purse));
        let (a, b) = (new(), new());
        let path = ObjectPath::config();
        run(async {
            a.get(&path, Some(0..1 << 20)).await.unwrap();
            b.get(&path, Some(0..1 << 20)).await.unwrap();
            assert_eq!(a.get(&path, Some(0..1)).await.unwrap_err().kind(), ErrorKind::OverBudget);
        });
        assert_eq!(purse.spent(), "0.022".parse().unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn requests_at_the_same_time_never_pass_the_amount(
            most in 1_u64..200,
            requests in prop::collection::vec((0_u64..2, 0_u64..1 << 21), 1..40),
        ) {
            // In thousandths.
            let most = Money::from_picos(u128::from(most) * 1_000_000_000);
            let wire = Wire { prices: Some(prices()), ..Wire::default() };
            let purse = Purse::new(Some(most));
            let budget = Arc::new(Budget::new(wire, Meter::Wire, prices(), Arc::clone(&purse)));
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
            let refused = runtime.block_on(async {
                let tasks: Vec<_> = requests.iter().map(|&(start, len)| {
                    let budget = Arc::clone(&budget);
                    tokio::spawn(async move {
                        budget.get(&ObjectPath::config(), Some(start..start + len)).await.is_err()
                    })
                }).collect();
                let mut refused = 0;
                for task in tasks {
                    refused += u64::from(task.await.unwrap());
                }
                refused
            });
            let total = budget.charge().total();
            prop_assert!(*budget.inner.worst.lock().unwrap() <= most);
            prop_assert!(total <= most);
            prop_assert_eq!(purse.spent(), total);
            prop_assert_eq!(purse.lock().reserved, Money::ZERO);
            prop_assert_eq!(budget.requests().reads + refused, requests.len() as u64);
            // Nothing is refused that would have fitted alone at the end.
            let worst_of_all: Money = requests.iter().map(|(_, len)| {
                prices().charge(&HttpRequests { reads: 1, received_bytes: *len, ..HttpRequests::default() }).total()
            }).sum();
            prop_assert!(refused == 0 || worst_of_all > most);
        }
    }
}
