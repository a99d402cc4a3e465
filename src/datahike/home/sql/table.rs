//! The name of the table that holds a store.

use std::fmt;

use crate::datahike::home::url::StoreUrl;
use crate::error::Result;

/// The option that names the table.
pub(in crate::datahike::home) const TABLE: &str = "table";
/// The table that konserve takes when none is named.
const DEFAULT: &str = "konserve";

/// A name that goes into statements as it is, as konserve writes it, so that databases fold its case alike.
#[derive(Clone, Debug)]
pub(in crate::datahike::home) struct Table(String);

impl Table {
    /// The table that the address names.
    pub(in crate::datahike::home) fn of(url: &StoreUrl) -> Result<Self> {
        let name = url.option(TABLE).unwrap_or(DEFAULT);
        let is_word = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
        };
        if name.split('.').count() > 2 || !name.split('.').all(is_word) {
            return Err(url.refuse("no name of a table: letters, digits, `_`, and at most one `.` after a schema"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(option: &str) -> Result<String> {
        let url = StoreUrl::parse(&format!("postgres://host/db{option}"), &[TABLE])?;
        Table::of(&url).map(|table| table.to_string())
    }

    #[test]
    fn only_names_go_into_statements() {
        assert_eq!(table("").ok().as_deref(), Some("konserve"));
        for good in ["app_a", "tenant_0", "public.Store"] {
            assert_eq!(table(&format!("?table={good}")).ok().as_deref(), Some(good));
        }
        for bad in ["a;drop", "a b", "\"a\"", "a.b.c", ".a", "1a", "a'--", "a%20b", "ä"] {
            assert!(table(&format!("?table={bad}")).is_err(), "{bad}");
        }
    }
}
