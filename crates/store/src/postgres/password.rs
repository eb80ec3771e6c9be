//! Where the password comes from: the URL, a file that an option names, `PGPASSWORD`, or the
//! password file of libpq (section "The Password File" of its manual).

use std::{env, fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use super::fault::Fault;
use crate::{Password, PostgresUrl, url::Server};

/// The password for `server`, if there is any.
pub(super) fn find(url: &PostgresUrl, server: &Server) -> Result<Option<Password>, Fault> {
    if let Some(password) = &url.password {
        return Ok(Some(password.clone()));
    }
    if let Some(file) = &url.password_file {
        let text = fs::read_to_string(file).map_err(|error| {
            Fault::Setup(format!("the password file {} cannot be read: {error}", file.display()))
        })?;
        let line = text.lines().next().unwrap_or_default();
        return Ok(Some(Password::new(line)));
    }
    if let Ok(password) = env::var("PGPASSWORD") {
        return Ok(Some(Password::new(password)));
    }
    from_libpq(url, server)
}

fn from_libpq(url: &PostgresUrl, server: &Server) -> Result<Option<Password>, Fault> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".pgpass"));
    let Some(file) = env::var_os("PGPASSFILE").map(PathBuf::from).or_else(home) else {
        return Ok(None);
    };
    let Ok(metadata) = fs::metadata(&file) else { return Ok(None) };
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Fault::Setup(format!(
            "the password file {} may be read by others and is not used; run `chmod 600` on it",
            file.display()
        )));
    }
    let text = fs::read_to_string(&file).map_err(|error| {
        Fault::Setup(format!("the password file {} cannot be read: {error}", file.display()))
    })?;
    Ok(find_in(&text, url, server))
}

/// The password of the first line `host:port:database:user:password` that fits.
fn find_in(text: &str, url: &PostgresUrl, server: &Server) -> Option<Password> {
    let port = server.port.to_string();
    // libpq calls its own default directory by this name.
    let host = match server.host.as_str() {
        "/run/postgresql" | "/var/run/postgresql" | "/tmp" => "localhost",
        host => host,
    };
    let wanted = [host, &port, &url.database, &url.user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for wanted in wanted {
            let field = field(&mut rest)?;
            // An asterisk that is meant is written with a backslash.
            let fits = field.raw == "*" || field.text == wanted || {
                server.host.starts_with('/') && field.text == server.host && wanted == host
            };
            if !fits {
                return None;
            }
        }
        Some(Password::new(unescaped(rest)))
    })
}

struct Field<'l> {
    raw: &'l str,
    text: String,
}

/// Takes what comes before the next colon that no backslash precedes.
fn field<'l>(rest: &mut &'l str) -> Option<Field<'l>> {
    let mut escaped = false;
    let end = rest.char_indices().find_map(|(index, c)| {
        let ends = c == ':' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(index)
    })?;
    let (raw, after) = rest.split_at(end);
    *rest = after.strip_prefix(':').unwrap_or(after);
    Some(Field { raw, text: unescaped(raw) })
}

fn unescaped(text: &str) -> String {
    let mut unescaped = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        unescaped.push(if c == '\\' { characters.next().unwrap_or(c) } else { c });
    }
    unescaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str, url: &str) -> Option<String> {
        let url: PostgresUrl = url.parse().unwrap();
        find_in(text, &url, &url.servers[0]).map(|password| password.reveal().to_owned())
    }

    #[test]
    fn the_first_line_that_fits_holds_the_password() {
        let text = "# host:port:database:user:password\n\
            other:*:*:*:1\n\
            db:5433:fleet:u:2\n\
            db:*:fleet:u\\:x:3\\:\\\\3\n\
            db:*:\\*:u:4\n\
            db:*:*:u:5:5\n\
            \\\n\
            localhost:5432:*:s:6\n";
        for (url, password) in [
            ("u@other/x", Some("1")),
            ("u@db:5433/fleet", Some("2")),
            ("u%3Ax@db/fleet", Some("3:\\3")),
            ("u@db/*", Some("4")),
            ("u@db/fleet", Some("5:5")),
            ("s@%2Frun%2Fpostgresql/x", Some("6")),
            ("v@db/fleet", None),
        ] {
            assert_eq!(found(text, url).as_deref(), password, "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_password_file_can_be_read(text in "[a*:\\\\#\n]{0,40}") {
            let _ = found(&text, "a@a/a");
        }
    }
}
