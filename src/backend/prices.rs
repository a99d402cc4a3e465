//! What stores charge: a table of prices, and amounts of money.
//!
//! Amounts are whole numbers of picos, 10^-12 of the currency: what one request costs when a thousand cost a nano. Nothing is
//! lost in a sum; a quotient is rounded up.

mod money;

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Deserialize, Deserializer};

use crate::backend::HttpRequests;
use crate::error::{Error, ErrorKind, Result};

pub use money::Money;

/// List prices in US dollars; the file says of each provider as of when, and where from. What is free for a start, what large
/// customers save and taxes are not in them.
const BUILT_IN: &str = include_str!("prices.json");
const GIB: u64 = 1 << 30;
/// No price is higher: what is counted fits into an amount.
const PRICE_MAX: f64 = 1e6;

/// Prices by provider and storage class.
///
/// ```
/// use packstone::backend::PriceTable;
///
/// let table = PriceTable::built_in();
/// let (class, prices) = table.prices("s3", Some("glacier_ir"))?.unwrap();
/// assert_eq!((class, table.currency()), ("GLACIER_IR", "USD"));
/// // A gibibyte stored for a month.
/// assert_eq!(prices.stored_month(1 << 30).to_string(), "0.004");
/// # Ok::<(), packstone::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    currency: String,
    providers: BTreeMap<String, Provider>,
}

/// A provider's prices, the same for every region.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    /// Since when, or as of when.
    #[serde(default)]
    date: String,
    /// Where they are published.
    #[serde(default)]
    source: String,
    /// What the provider means by a GB.
    gb_bytes: Option<u64>,
    classes: BTreeMap<String, Listed>,
}

/// A storage class, as a table has it; what is not named costs nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Listed {
    writes_per_1000: Nanos,
    reads_per_1000: Nanos,
    lists_per_1000: Nanos,
    deletes_per_1000: Nanos,
    stored_gb_month: Nanos,
    retrieved_gb: Nanos,
    egress_gb: Nanos,
    minimum_storage_days: u32,
    minimum_object_bytes: u64,
}

/// A price in nanos.
#[derive(Clone, Copy, Debug, Default)]
struct Nanos(u64);

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let price = f64::deserialize(deserializer)?;
        if (0.0..=PRICE_MAX).contains(&price) {
            // At most 10^15: exact.
            Ok(Self((price * 1e9).round() as u64))
        } else {
            Err(serde::de::Error::custom(format!("{price} is no price: 0 to {PRICE_MAX}")))
        }
    }
}

/// What a storage class costs.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    listed: Listed,
    gb_bytes: u64,
}

/// What requests cost, by line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Charge {
    /// Writes.
    pub writes: Money,
    /// Reads, and HEAD, which is charged like a read.
    pub reads: Money,
    /// Pages of listings.
    pub lists: Money,
    /// Deletions.
    pub deletes: Money,
    /// Reading from the storage class.
    pub retrieved: Money,
    /// Leaving the cloud.
    pub egress: Money,
}

impl PriceTable {
    /// List prices of AWS S3, Google Cloud Storage, Azure Blob Storage and Backblaze B2.
    pub fn built_in() -> Self {
        serde_json::from_str(BUILT_IN).expect("a test reads the table")
    }

    /// From JSON of the shape of [`PriceTable::built_in`]; `name` is what errors call it.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for unknown keys and for prices that are negative or no numbers.
    pub fn parse(name: impl Display, json: &[u8]) -> Result<Self> {
        let table: Self = serde_json::from_slice(json).map_err(|e| Error::new(ErrorKind::Usage, &name, e))?;
        for (provider, of) in &table.providers {
            let refuse = |message| Err(Error::new(ErrorKind::Usage, format!("{name}: {provider}"), message));
            if of.gb_bytes.is_some_and(|bytes| !(1..=GIB).contains(&bytes)) {
                return refuse("a GB has 1 to 1073741824 bytes");
            }
            if of.classes.is_empty() {
                return refuse("no storage class");
            }
        }
        Ok(table)
    }

    /// What amounts are in.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// Date and source of a provider's prices.
    pub fn origin(&self, provider: &str) -> Option<(&str, &str)> {
        let provider = self.providers.get(provider)?;
        Some((&provider.date, &provider.source))
    }

    /// The storage class, in any case of letters, and what it costs; the standard one without a name. `None` when the table
    /// does not know the provider.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when the table knows the provider but not the class.
    pub fn prices(&self, provider: &str, class: Option<&str>) -> Result<Option<(&str, Prices)>> {
        let Some(of) = self.providers.get(provider) else { return Ok(None) };
        let find = |name: &str| of.classes.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let found = match class {
            Some(class) => find(class),
            None => find("STANDARD").or_else(|| find("Hot")).or_else(|| of.classes.iter().next()),
        };
        let Some((class, listed)) = found else {
            let known: Vec<_> = of.classes.keys().map(String::as_str).collect();
            let message = format!("no prices for it; there are some for {}", known.join(", "));
            return Err(Error::new(ErrorKind::Usage, format!("storage class {}", class.unwrap_or("")), message));
        };
        Ok(Some((class, Prices { listed: *listed, gb_bytes: of.gb_bytes.unwrap_or(GIB) })))
    }
}

impl Prices {
    /// Everything for nothing.
    pub fn free() -> Self {
        Self { listed: Listed::default(), gb_bytes: GIB }
    }

    /// What these requests cost at most: stores do not charge for all that fail, nor for egress inside a region.
    pub fn charge(&self, requests: &HttpRequests) -> Charge {
        let listed = &self.listed;
        Charge {
            writes: Money::of_requests(requests.writes, listed.writes_per_1000.0),
            reads: Money::of_requests(requests.reads.saturating_add(requests.heads), listed.reads_per_1000.0),
            lists: Money::of_requests(requests.lists, listed.lists_per_1000.0),
            deletes: Money::of_requests(requests.deletes, listed.deletes_per_1000.0),
            retrieved: Money::of_bytes(requests.received_bytes, listed.retrieved_gb.0, self.gb_bytes),
            egress: Money::of_bytes(requests.received_bytes, listed.egress_gb.0, self.gb_bytes),
        }
    }

    /// What so many bytes cost a month at rest.
    pub fn stored_month(&self, bytes: u64) -> Money {
        Money::of_bytes(bytes, self.listed.stored_gb_month.0, self.gb_bytes)
    }

    /// The bytes that an object of so many is charged as.
    pub fn stored_bytes(&self, object_bytes: u64) -> u64 {
        object_bytes.max(self.listed.minimum_object_bytes)
    }

    /// Objects deleted earlier are charged as if they had stayed for so many days.
    pub fn minimum_storage_days(&self) -> u32 {
        self.listed.minimum_storage_days
    }
}

impl Charge {
    /// All lines together.
    pub fn total(&self) -> Money {
        [self.writes, self.reads, self.lists, self.deletes, self.retrieved, self.egress].into_iter().sum()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn table(class: &str) -> Result<PriceTable> {
        let json = format!(r#"{{"currency": "EUR", "providers": {{"s3": {{"classes": {{"STANDARD": {class}}}}}}}}}"#);
        PriceTable::parse("table", json.as_bytes())
    }

    #[test]
    fn every_built_in_class_has_a_date_a_source_and_a_price() {
        let table = PriceTable::built_in();
        for (provider, classes) in [("s3", 5), ("gcs", 4), ("azblob", 3), ("b2", 1)] {
            let (date, source) = table.origin(provider).unwrap();
            assert!(date.starts_with("20") && source.starts_with("https://"), "{provider}");
            let of = &table.providers[provider];
            assert_eq!(of.classes.len(), classes, "{provider}");
            for class in of.classes.keys() {
                let (_, prices) = table.prices(provider, Some(class)).unwrap().unwrap();
                assert!(prices.stored_month(1 << 40) > Money::ZERO, "{provider} {class}");
            }
        }
        assert_eq!(table.prices("azblob", None).unwrap().unwrap().0, "Hot");
        assert_eq!(table.prices("gcs", None).unwrap().unwrap().0, "STANDARD");
        assert!(table.prices("webdav", None).unwrap().is_none());
        assert_eq!(table.prices("s3", Some("FROZEN")).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn what_is_no_price_or_no_key_is_refused() {
        assert!(table(r#"{"writes_per_1000": 0.005, "egress_gb": 1e-9}"#).is_ok());
        for bad in [
            r#"{"writes_per_1000": -0.005}"#,
            r#"{"writes_per_1000": NaN}"#,
            r#"{"writes_per_1000": "0.005"}"#,
            r#"{"writes_per_1000": 1e300}"#,
            r#"{"writes_per_1000": null}"#,
            r#"{"writes": 0.005}"#,
            r#"{"minimum_storage_days": -1}"#,
            r#"{"writes_per_1000": 1, "writes_per_1000": 2}"#,
        ] {
            assert_eq!(table(bad).unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
        for bad in [
            r#"{"currency": "EUR", "providers": {}, "more": 1}"#,
            r#"{"providers": {}}"#,
            r#"{"currency": "EUR", "providers": {"s3": {"classes": {}}}}"#,
            r#"{"currency": "EUR", "providers": {"s3": {"gb_bytes": 0, "classes": {"A": {}}}}}"#,
            r#"{"currency": "EUR", "providers": {"s3": {"class": {"A": {}}}}}"#,
            "",
        ] {
            assert!(PriceTable::parse("table", bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_and_bytes_cost_what_the_table_says() {
        let table = table(
            r#"{"writes_per_1000": 0.005, "reads_per_1000": 0.0004, "lists_per_1000": 0.005, "deletes_per_1000": 0.001,
                "stored_gb_month": 0.023, "retrieved_gb": 0.01, "egress_gb": 0.09, "minimum_object_bytes": 1000}"#,
        );
        let table = table.unwrap();
        let (_, prices) = table.prices("s3", None).unwrap().unwrap();
        let requests = HttpRequests {
            writes: 3,
            reads: 2,
            lists: 1,
            heads: 5,
            deletes: 4,
            others: 100,
            sent_bytes: 1 << 40,
            received_bytes: 1 << 29,
        };
        let charge = prices.charge(&requests);
        assert_eq!(charge.writes.to_string(), "0.000015");
        assert_eq!(charge.reads.to_string(), "0.0000028");
        assert_eq!(charge.lists.to_string(), "0.000005");
        assert_eq!(charge.deletes.to_string(), "0.000004");
        assert_eq!((charge.retrieved.to_string(), charge.egress.to_string()), ("0.005".into(), "0.045".into()));
        assert_eq!(charge.total().to_string(), "0.0500268");
        assert_eq!(prices.stored_month(10 << 30).to_string(), "0.23");
        assert_eq!((prices.stored_bytes(1), prices.stored_bytes(1001)), (1000, 1001));
        assert_eq!(Prices::free().charge(&requests).total(), Money::ZERO);
    }
}
