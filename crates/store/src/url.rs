//! Where a database is.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::Error;

/// Where a database is: `sqlite:PATH`, or a path alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseUrl {
    /// A file of `SQLite`.
    Sqlite(PathBuf),
}

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(_url: &str) -> Result<Self, Error> {
        Err(Error::Skeleton)
    }
}

/// The URL as it may be shown to anyone: without a password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}
