//! Which keys can be names below a directory.

/// Why a relative key cannot be restored; its components are joined by NUL, the empty key is the target itself.
///
/// No file system hands out such names: whoever wrote them into a snapshot meant to reach something else.
pub fn check_key(key: &[u8]) -> Result<(), &'static str> {
    if key.is_empty() {
        return Ok(());
    }
    for name in key.split(|&byte| byte == 0) {
        match name {
            b"" => return Err("an empty name"),
            b"." | b".." => return Err("a name that stands for another directory"),
            _ if name.contains(&b'/') => return Err("a name with a slash in it"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_one_component_pass() {
        for good in [&b""[..], b"a", b"a\0b", b"...", b"..a", b"a.", b" ", b"-", b"\xff\n"] {
            assert_eq!(check_key(good), Ok(()), "{good:?}");
        }
        for bad in [&b"/"[..], b"..", b".", b"a\0..", b"..\0a", b"a\0\0b", b"\0", b"a\0", b"\0a", b"a/b", b"a\0/etc"] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }
}
