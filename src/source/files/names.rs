//! Names of users and groups.

use uzers::{Groups, Users, UsersCache};

use crate::record::entry::Owner;

/// Looks up names of users and groups, each number once.
#[derive(Default)]
pub struct Names {
    known: UsersCache,
}

impl Names {
    /// Nothing looked up yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The numbers with the names they have here; empty where they have none or one that is not text.
    pub fn owner(&self, uid: u32, gid: u32) -> Owner {
        let user = self.known.get_user_by_uid(uid);
        let user = user.and_then(|user| user.name().to_str().map(str::to_owned)).unwrap_or_default();
        let group = self.known.get_group_by_gid(gid);
        let group = group.and_then(|group| group.name().to_str().map(str::to_owned)).unwrap_or_default();
        Owner { uid, gid, user, group }
    }
}
