//! The bill: what a run asked of its stores, what that costs, and what it may cost at most.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use packstone::Error;
#[cfg(feature = "cloud")]
use packstone::backend::CloudAddress;
use packstone::backend::{
    Backend, Budget, Charge, HttpRequests, LocalBackend, Meter, Money, PriceTable, Prices, Purse,
};
use serde_json::{Value, json};

use crate::args::Global;
use crate::exit::{Failure, Result};
use crate::output::{Output, grouped};
use crate::place::Place;

/// What a run asks of its stores, and by which prices.
pub struct Bill {
    wanted: bool,
    table: PriceTable,
    /// What the table is called when it is not the built-in one.
    table_name: Option<String>,
    class: Option<String>,
    max_cost: Option<Money>,
    purse: Arc<Purse>,
    stores: Mutex<Vec<Store>>,
}

struct Store {
    tariff: Tariff,
    backend: Arc<Budget<Arc<dyn Backend>>>,
}

/// The prices that hold for a repository.
#[derive(Clone, Debug)]
pub struct Tariff {
    pub prices: Prices,
    pub currency: String,
    /// Provider and class with date and source, or why everything is free.
    origin: Result<Origin, String>,
}

#[derive(Clone, Debug)]
struct Origin {
    provider: String,
    class: String,
    date: String,
    source: String,
}

impl Bill {
    /// As the command line asks.
    pub fn new(global: &Global) -> Result<Self> {
        let (table, table_name) = match &global.price_table {
            None => (PriceTable::built_in(), None),
            Some(path) => {
                let name = path.display().to_string();
                let json = std::fs::read(path).map_err(|e| Error::io(&name, e))?;
                (PriceTable::parse(&name, &json)?, Some(name))
            }
        };
        Ok(Self {
            wanted: global.bill,
            table,
            table_name,
            class: global.price_class.clone(),
            max_cost: global.max_cost,
            purse: Purse::new(global.max_cost),
            stores: Mutex::default(),
        })
    }

    /// Puts a local repository on the bill.
    pub fn local(&self, backend: Arc<LocalBackend>) -> Result<Arc<dyn Backend>> {
        self.add(backend, Meter::Calls, || self.tariff_of("local", None, None))
    }

    /// Puts a store on the bill.
    #[cfg(feature = "cloud")]
    pub fn cloud(&self, address: &CloudAddress, backend: Arc<dyn Backend>) -> Result<Arc<dyn Backend>> {
        let meter = if address.scheme() == "sftp" { Meter::Calls } else { Meter::Wire };
        self.add(backend, meter, || self.tariff_of(address.scheme(), address.provider(), address.storage_class()))
    }

    fn add(
        &self,
        backend: Arc<dyn Backend>,
        meter: Meter,
        tariff: impl FnOnce() -> Result<Tariff>,
    ) -> Result<Arc<dyn Backend>> {
        if !self.wanted && self.max_cost.is_none() {
            return Ok(backend);
        }
        let tariff = tariff()?;
        if let (Some(_), Err(why)) = (self.max_cost, &tariff.origin)
            && !backend.is_local()
        {
            return Err(Failure::usage("--max-cost", format!("{}: {why}", backend.location()))
                .hint("--price-table FILE gives prices, --price-class s3/STANDARD takes those of a provider"));
        }
        let backend = Arc::new(Budget::new(backend, meter, tariff.prices, Arc::clone(&self.purse)));
        let store = Store { tariff, backend: Arc::clone(&backend) };
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).push(store);
        Ok(backend)
    }

    /// The prices that hold for a repository.
    pub fn tariff(&self, place: &Place) -> Result<Tariff> {
        match place {
            Place::Local(_) => self.tariff_of("local", None, None),
            #[cfg(feature = "cloud")]
            Place::Cloud(address) => self.tariff_of(address.scheme(), address.provider(), address.storage_class()),
        }
    }

    fn tariff_of(&self, scheme: &str, provider: Option<&str>, class: Option<&str>) -> Result<Tariff> {
        let free = |why: String| {
            Ok(Tariff { prices: Prices::free(), currency: self.table.currency().to_owned(), origin: Err(why) })
        };
        if let Some(wanted) = &self.class {
            let (provider, class) = wanted.split_once('/').unwrap_or((provider.unwrap_or(scheme), wanted));
            return match self.table.prices(provider, Some(class))? {
                Some((class, prices)) => Ok(self.priced(provider, class, prices)),
                None => Err(Failure::usage("--price-class", format!("there are no prices for `{provider}`"))
                    .hint("write PROVIDER/CLASS, e.g. s3/STANDARD_IA")),
            };
        }
        let provider = match (&self.table_name, provider) {
            (_, Some(provider)) => provider,
            (Some(_), None) => scheme,
            (None, None) if scheme == "local" => return free("a local repository costs nothing".to_owned()),
            (None, None) => return free("no prices are known for this endpoint".to_owned()),
        };
        match (self.table.prices(provider, class), &self.table_name) {
            (Ok(Some((class, prices))), _) => Ok(self.priced(provider, class, prices)),
            (Ok(None), Some(table)) => free(format!("{table} has no prices for `{provider}`")),
            (Ok(None), None) => free("no prices are known for this endpoint".to_owned()),
            (Err(error), _) => free(error.to_string()),
        }
    }

    fn priced(&self, provider: &str, class: &str, prices: Prices) -> Tariff {
        let (date, source) = self.table.origin(provider).unwrap_or_default();
        let source = match &self.table_name {
            Some(name) if source.is_empty() => name,
            _ => source,
        };
        let origin = Origin {
            provider: provider.to_owned(),
            class: class.to_owned(),
            date: date.to_owned(),
            source: source.to_owned(),
        };
        Tariff { prices, currency: self.table.currency().to_owned(), origin: Ok(origin) }
    }

    /// Says what was asked and what it costs, where it was asked for; on standard error, since it is not the command's result.
    pub fn print(&self, output: &Output) {
        if !self.wanted {
            return;
        }
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let bills: Vec<_> =
            stores.iter().map(|store| (store, store.backend.requests(), store.backend.charge())).collect();
        let total: Money = bills.iter().map(|(_, _, charge)| charge.total()).sum();
        let currency = self.table.currency();
        if output.is_json() {
            let stores: Vec<_> = bills.iter().map(|(store, asked, charge)| store.json(asked, charge)).collect();
            let mut bill = json!({
                "message_type": "bill",
                "currency": currency,
                "total_cost": amount(total),
                "stores": stores,
            });
            if let Some(most) = self.max_cost {
                bill["max_cost"] = amount(most);
            }
            Output::standard_error(&bill.to_string());
            return;
        }
        for (store, asked, charge) in &bills {
            for line in store.lines(asked, charge) {
                Output::standard_error(&line);
            }
        }
        let most = self.max_cost.map(|most| format!(" of {most} at most")).unwrap_or_default();
        Output::standard_error(&format!("total cost {}{most} {currency}", total.rounded()));
    }
}

impl Store {
    fn json(&self, asked: &HttpRequests, charge: &Charge) -> Value {
        json!({
            "repository": self.backend.location(),
            "prices": self.tariff.json(),
            "requests": requests(asked),
            "credential_requests": asked.others,
            "sent_bytes": asked.sent_bytes,
            "received_bytes": asked.received_bytes,
            "cost": {
                "writes": amount(charge.writes),
                "reads": amount(charge.reads),
                "lists": amount(charge.lists),
                "deletes": amount(charge.deletes),
                "retrieved": amount(charge.retrieved),
                "egress": amount(charge.egress),
                "total": amount(charge.total()),
            },
        })
    }

    fn lines(&self, asked: &HttpRequests, charge: &Charge) -> Vec<String> {
        let line =
            |what: &str, number: String, cost: Money| format!("  {what:<10} {number:>14} {:>12}", cost.rounded());
        let mut lines = vec![
            format!("bill for {} by {}:", self.backend.location(), self.tariff),
            line("writes", grouped(asked.writes), charge.writes),
            line("reads", grouped(asked.reads + asked.heads), charge.reads),
            line("lists", grouped(asked.lists), charge.lists),
            line("deletes", grouped(asked.deletes), charge.deletes),
            line("requests", grouped(asked.total()), charge.writes + charge.reads + charge.lists + charge.deletes),
            line("bytes out", grouped(asked.sent_bytes), Money::ZERO),
            line("bytes in", grouped(asked.received_bytes), charge.retrieved + charge.egress),
        ];
        if asked.others > 0 {
            lines.push(format!("  {:<10} {:>14}", "other", grouped(asked.others)));
        }
        lines
    }
}

impl Tariff {
    /// For programs.
    pub fn json(&self) -> Value {
        match &self.origin {
            Ok(origin) => json!({
                "currency": self.currency,
                "provider": origin.provider,
                "class": origin.class,
                "date": origin.date,
                "source": origin.source,
            }),
            Err(why) => json!({ "currency": self.currency, "unknown": why }),
        }
    }
}

impl fmt::Display for Tariff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Ok(Origin { provider, class, date, .. }) if date.is_empty() => {
                write!(f, "prices of {provider} {class} in {}", self.currency)
            }
            Ok(Origin { provider, class, date, .. }) => {
                write!(f, "list prices of {provider} {class} as of {date} in {}", self.currency)
            }
            Err(why) => write!(f, "no prices ({why})"),
        }
    }
}

/// An amount for programs: a number with all its digits.
pub fn amount(money: Money) -> Value {
    serde_json::from_str(&money.to_string()).unwrap_or(Value::Null)
}

/// Requests by class, for programs.
pub fn requests(asked: &HttpRequests) -> Value {
    json!({
        "writes": asked.writes,
        "reads": asked.reads,
        "lists": asked.lists,
        "heads": asked.heads,
        "deletes": asked.deletes,
        "total": asked.total(),
    })
}
