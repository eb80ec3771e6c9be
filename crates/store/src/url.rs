//! Where a database is.

mod postgres;

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

pub(crate) use self::postgres::Server;
pub use self::postgres::{Password, PostgresUrl, TlsMode};
use crate::Error;

/// Where a database is: `sqlite:PATH`, `sqlite://PATH`, or a path alone; or
/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETER=VALUE&…`.
///
/// A path alone has no colon before its first slash; `./a:b` and `sqlite:a:b` both name the file
/// `a:b`. A path has no parameters: a `?` is part of the file's name. What is special in a part of a
/// `postgres` URL is written `%XX`; there may be several hosts, separated by commas. Parameters are
/// `sslmode`, `sslrootcert`, `connect_timeout`, `application_name`, and `host` where none stands at
/// its place (the directory of a Unix socket).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseUrl {
    /// A file of `SQLite`.
    Sqlite(PathBuf),
    /// A database of a `PostgreSQL` server.
    Postgres(Box<PostgresUrl>),
}

impl DatabaseUrl {
    /// The database file at `path`, which need not be UTF-8.
    #[must_use]
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        Self::Sqlite(path.as_ref().to_owned())
    }
}

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        let first_segment = url.split('/').next().unwrap_or_default();
        let Some((scheme, _)) = first_segment.split_once(':') else {
            return path(url, url);
        };
        let rest = &url[scheme.len() + 1..];
        if scheme.eq_ignore_ascii_case("sqlite") {
            return match rest.strip_prefix("//") {
                Some(authority) if holds_password(authority) => Err(Error::InvalidUrl {
                    url: "sqlite://…".to_owned(),
                    reason: "sqlite knows no user and no password; write sqlite:PATH",
                }),
                Some(after) => path(after, "sqlite://"),
                None => path(rest, "sqlite:"),
            };
        }
        let url = || redacted(scheme, rest);
        match scheme.to_ascii_lowercase().as_str() {
            "postgres" | "postgresql" => rest
                .strip_prefix("//")
                .ok_or("write postgres://USER@HOST/DATABASE")
                .and_then(str::parse)
                .map(|parsed| Self::Postgres(Box::new(parsed)))
                .map_err(|reason| Error::InvalidUrl { url: url(), reason }),
            _ => Err(Error::UnknownScheme { url: url() }),
        }
    }
}

/// The URL as it may be shown to anyone: without a password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Two slashes that are the path's own would be taken for those of `sqlite://`.
            Self::Sqlite(path) if path.as_os_str().as_encoded_bytes().starts_with(b"//") => {
                write!(f, "sqlite://{}", path.display())
            }
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

fn path(path: &str, prefix: &str) -> Result<DatabaseUrl, Error> {
    let invalid =
        |reason| Error::InvalidUrl { url: format!("'{}'", prefix.escape_debug()), reason };
    if path.is_empty() {
        return Err(invalid("it holds no path; write sqlite:PATH, or a path alone"));
    }
    if path.contains('\0') {
        return Err(invalid("a path cannot hold a NUL character; name another one"));
    }
    Ok(DatabaseUrl::Sqlite(PathBuf::from(path)))
}

/// Whether what follows `sqlite://` looks like `user:password@host…` and not like a path.
fn holds_password(authority: &str) -> bool {
    !authority.starts_with('/')
        && authority.split_once(':').is_some_and(|(_, after)| after.contains('@'))
}

/// `scheme://user@host/name`, reduced to `scheme://…` wherever it is not plain which part is which,
/// and so which part is the password.
fn redacted(scheme: &str, rest: &str) -> String {
    let valid_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let Some(rest) = rest.strip_prefix("//").filter(|_| valid_scheme) else {
        return if valid_scheme { format!("{scheme}:…") } else { "…".to_owned() };
    };
    let shown = match rest.split_once('@') {
        Some((user, host)) if !host.contains('@') => {
            let user = user.split(':').next().unwrap_or_default();
            let host = host.split(['?', '#']).next().unwrap_or_default();
            (plain(user) && host.split(['/', ':', '[', ']']).all(plain))
                .then(|| format!("{user}@{host}"))
        }
        _ => None,
    };
    format!("{scheme}://{}", shown.as_deref().unwrap_or("…"))
}

fn plain(part: &str) -> bool {
    part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(url: &str) -> Result<DatabaseUrl, Error> {
        url.parse()
    }

    fn error(url: &str) -> String {
        parse(url).unwrap_err().to_string()
    }

    #[test]
    fn a_path_comes_with_or_without_the_scheme() {
        for (url, path) in [
            ("sqlite:netglass.db", "netglass.db"),
            ("sqlite://netglass.db", "netglass.db"),
            ("sqlite:///var/lib/netglass.db", "/var/lib/netglass.db"),
            ("sqlite:/var/lib/netglass.db", "/var/lib/netglass.db"),
            ("SQLite:a:b", "a:b"),
            ("netglass.db", "netglass.db"),
            ("./a:b", "./a:b"),
            ("/var/lib/a:b@c", "/var/lib/a:b@c"),
            ("../x y?z=1", "../x y?z=1"),
        ] {
            assert_eq!(parse(url).unwrap(), DatabaseUrl::sqlite(path), "{url}");
        }
    }

    #[test]
    fn a_url_that_is_shown_can_be_parsed_again() {
        for path in ["netglass.db", "/var/lib/netglass.db", "a:b", "./x"] {
            let url = DatabaseUrl::sqlite(path);
            assert_eq!(parse(&url.to_string()).unwrap(), url);
        }
    }

    #[test]
    fn an_empty_path_is_refused() {
        for url in ["", "sqlite:", "sqlite://"] {
            assert!(error(url).contains("holds no path; write sqlite:PATH"), "{}", error(url));
        }
        assert!(error("a\0b").contains("NUL"));
    }

    #[test]
    fn an_unknown_scheme_is_refused_with_what_to_write() {
        for url in ["mysql://root:secret@db/x", "mysql:x", ":memory:", "my_sql://u:secret@h", "a:b"]
        {
            assert!(matches!(parse(url), Err(Error::UnknownScheme { .. })), "{url}");
            assert!(error(url).contains("sqlite:PATH"), "{}", error(url));
            assert!(!error(url).contains("secret"), "{}", error(url));
        }
    }

    #[test]
    fn a_server_is_shown_as_it_was_written_without_its_password() {
        for (url, shown) in [
            ("postgres://u:p@host/name", "postgres://u@host/name"),
            ("postgresql://u@host:5433", "postgres://u@host:5433/u"),
            ("POSTGRES://u%40x:%2f@[::1]:1,b/n", "postgres://u%40x@[::1]:1,b/n"),
            ("postgres://u@%2Frun%2Fpostgresql/n", "postgres://u@%2Frun%2Fpostgresql/n"),
            ("postgres://u@/n?host=/run", "postgres://u@%2Frun/n"),
            (
                "postgres://u:p@h/n?sslmode=verify-full&sslrootcert=/a b&connect_timeout=3\
                 &application_name=x%26y",
                "postgres://u@h/n?sslmode=verify-full&sslrootcert=%2Fa%20b&connect_timeout=3\
                 &application_name=x%26y",
            ),
        ] {
            let parsed = parse(url).unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(parse(shown).unwrap().to_string(), shown);
        }
        let DatabaseUrl::Postgres(url) = parse("postgres://u:a%3Ab:c@h/n").unwrap() else {
            panic!("it is one of PostgreSQL");
        };
        assert_eq!(url.password().unwrap().reveal(), "a:b:c");
    }

    #[test]
    fn what_is_wrong_with_the_url_of_a_server_is_said() {
        for (url, reason) in [
            ("postgres:name", "write postgres://USER@HOST/DATABASE"),
            ("postgres://host/name", "names no user"),
            ("postgres://u@/name", "names no host"),
            ("postgres://u@h:0/n", "its host is no name"),
            ("postgres://u@h:x/n", "its host is no name"),
            ("postgres://u@[::1/n", "its host is no name"),
            ("postgres://u:a%g@h/n", "two hexadecimal digits"),
            ("postgres://u:a/b@h/n", "%2f"),
            ("postgres://u:a#b@h/n", "%23"),
            ("postgres://u@h/n?sslmode=on", "none of disable, prefer"),
            ("postgres://u@h/n?connect_timeout=0", "no number of seconds"),
            ("postgres://u@h/n?password=secret", "one is none of sslmode"),
        ] {
            assert!(error(url).contains(reason), "{url}: {}", error(url));
        }
    }

    #[test]
    fn a_password_for_sqlite_is_refused_and_not_shown() {
        for url in ["sqlite://user:secret@host/x", "sqlite://user:sec/secret@host"] {
            assert!(!error(url).contains("secret"), "{}", error(url));
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(url in "\\PC*") {
            let _ = parse(&url);
        }

        #[test]
        fn parsing_what_looks_like_a_url_never_panics(url in "(sqlite|postgres)?:?/{0,3}[a-z@:?#/%\\[\\]]*") {
            let _ = parse(&url);
        }

        #[test]
        fn a_password_never_shows(
            scheme in "postgres|postgresql|mysql|sqlite|SQLITE|[a-z_+]{1,8}",
            user in "[a-z]{0,5}",
            before in "[ -~é]{0,6}",
            after in "[ -~é]{0,6}",
            tail in "host(:5432)?(/name)?([?]sslmode=require)?",
        ) {
            let url = format!("{scheme}://{user}:{before}PASSWORD{after}@{tail}");
            let shown = match parse(&url) {
                Ok(parsed) => format!("{parsed} {parsed:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("PASSWORD"), "{}", shown);
        }

        #[test]
        fn a_password_among_the_parameters_never_shows(host in "[a-z@:]{0,8}", more in "[a-z@&=:]{0,8}") {
            let shown = error(&format!("postgres://{host}/db?{more}password=PASSWORD"));
            prop_assert!(!shown.contains("PASSWORD"), "{}", shown);
        }
    }
}
