//! Objects that a store keeps so cheaply that reading them must be asked for hours before.

/// What can be read of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thaw {
    /// It can be read now.
    Readable,
    /// It cannot be read until it has been asked for.
    Frozen {
        /// The store's name of the class it is in.
        class: String,
    },
    /// It has been asked for, and will be readable later.
    Underway {
        /// The store's name of the class it is in.
        class: String,
    },
}

/// How to ask for objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThawOrder {
    /// How long they are to stay readable.
    pub days: u32,
    /// How much haste is paid for.
    pub tier: ThawTier,
}

/// How much haste is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThawTier {
    /// The cheapest: up to 12 hours, from the deepest class 48.
    #[default]
    Bulk,
    /// Up to 5 hours, from the deepest class 12.
    Standard,
    /// Minutes; the deepest class has none.
    Expedited,
}

impl ThawTier {
    /// The name that stores have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bulk => "Bulk",
            Self::Standard => "Standard",
            Self::Expedited => "Expedited",
        }
    }
}
