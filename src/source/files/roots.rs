//! The paths a backup was asked for, as keys.

/// Keys of all roots, ascending, those inside others too.
#[derive(Debug, Default)]
pub(super) struct Roots {
    keys: Vec<Vec<u8>>,
}

impl Roots {
    /// These keys, in any order and however often.
    pub fn new(mut keys: Vec<Vec<u8>>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        Self { keys }
    }

    /// All of them, ascending.
    pub fn keys(&self) -> &[Vec<u8>] {
        &self.keys
    }

    /// Whether this is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.keys.binary_search_by(|root| root.as_slice().cmp(key)).is_ok()
    }

    /// Whether there are any below a directory.
    pub fn any_below(&self, key: &[u8]) -> bool {
        self.names_below(key).next().is_some()
    }

    /// The names in a directory that are roots or lead to some, ascending.
    pub fn names_below<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let from = self.keys.partition_point(|root| root.as_slice() <= key);
        let mut last: Option<&[u8]> = None;
        self.keys[from..]
            .iter()
            .map_while(move |root| match key {
                [] => Some(root.as_slice()),
                _ => root.strip_prefix(key)?.strip_prefix(&[0]),
            })
            .map(|below| below.split(|&byte| byte == 0).next().unwrap_or_default())
            .filter(move |&name| last.replace(name) != Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(roots: &'a Roots, key: &'a str) -> Vec<&'a [u8]> {
        roots.names_below(key.as_bytes()).collect()
    }

    #[test]
    fn names_that_lead_to_roots() {
        let roots = ["home\0b", "etc", "home\0a\0x", "home!", "home\0a", "etc", "home\0a\0y\0z"];
        let roots = Roots::new(roots.iter().map(|key| key.as_bytes().to_vec()).collect());
        assert_eq!(names(&roots, ""), [&b"etc"[..], b"home", b"home!"]);
        assert_eq!(names(&roots, "home"), [b"a", b"b"]);
        assert_eq!(names(&roots, "home\0a"), [b"x", b"y"]);
        assert_eq!(names(&roots, "etc"), [b""; 0]);
        assert_eq!(names(&roots, "hom"), [b""; 0]);
        assert!(roots.contains(b"home\0a") && !roots.contains(b"home"));
        assert!(roots.any_below(b"home") && !roots.any_below(b"home\0b"));
    }
}
