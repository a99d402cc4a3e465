//! Where a repository is: a folder or an object store.

use std::fmt;
use std::path::{Path, PathBuf};

#[cfg(feature = "cloud")]
use packstone::backend::CloudAddress;
use packstone::{Error, ErrorKind};

use crate::context::variable;
use crate::exit::{Failure, Result};

/// Where a repository is.
pub enum Place {
    /// In a folder.
    Local(PathBuf),
    /// On an object store.
    #[cfg(feature = "cloud")]
    Cloud(CloudAddress),
}

impl Place {
    /// From what a user wrote, and options written `key=value`.
    pub fn parse(text: &str, options: &[String]) -> Result<Self> {
        let mut pairs = Vec::new();
        for option in options {
            match option.split_once('=') {
                Some((key, value)) if !key.is_empty() => pairs.push((key.to_owned(), value.to_owned())),
                _ => return Err(Failure::usage("-o", "an option is written key=value")),
            }
        }
        #[cfg(feature = "cloud")]
        if CloudAddress::looks_like_one(text) {
            let lookup = |name: &str| variable(name).ok().flatten();
            return Ok(Self::Cloud(CloudAddress::parse(text, &pairs, &lookup)?));
        }
        let path = local_path(text)?;
        match pairs.first() {
            Some((key, _)) => Err(Failure::usage("-o", format!("a repository in a local path has no option `{key}`"))),
            None => Ok(Self::Local(path)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            #[cfg(feature = "cloud")]
            Self::Cloud(address) => address.fmt(f),
        }
    }
}

/// What was written of a place: an option, a file that says it, or one of two variables, of which the second names such a
/// file.
pub fn named(option: Option<&String>, file: Option<&PathBuf>, names: [&str; 2]) -> Result<Option<String>> {
    match (option, file) {
        (Some(text), _) => return Ok(Some(text.clone())),
        (None, Some(file)) => return first_line(file).map(Some),
        (None, None) => {}
    }
    match (variable(names[0])?, variable(names[1])?) {
        (Some(_), Some(_)) => Err(Failure::usage(names[0], format!("{} is set as well", names[1]))),
        (None, Some(file)) => first_line(Path::new(&file)).map(Some),
        (text, None) => Ok(text),
    }
}

fn first_line(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::io(file.display(), e))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::usage(file.display(), "holds no repository")),
    }
}

fn local_path(text: &str) -> Result<PathBuf> {
    let path = text.strip_prefix("local:").unwrap_or(text);
    if let Some((scheme, _)) = path.split_once("://") {
        return Err(Error::new(ErrorKind::Usage, text, format!("this program was built without `{scheme}://`")).into());
    }
    if path.is_empty() {
        return Err(Failure::usage(text, "no path to a repository"));
    }
    Ok(path.into())
}
