//! URLs of `PostgreSQL` databases, as libpq writes them (section "Connection URIs" of its manual).

use std::{
    fmt::{self, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_APPLICATION: &str = "netglass";

/// A password: shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// This text as a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself, for those who have to send it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// How far a connection is protected, and its server checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// Encrypted where the server can do it.
    #[default]
    Prefer,
    /// Encrypted; who answers is not checked, unless a root certificate is named.
    Require,
    /// Encrypted, with a certificate that a trusted authority signed.
    VerifyCa,
    /// The same, and the certificate is for the host in the URL.
    VerifyFull,
}

impl TlsMode {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Disable, "disable"),
        (Self::Prefer, "prefer"),
        (Self::Require, "require"),
        (Self::VerifyCa, "verify-ca"),
        (Self::VerifyFull, "verify-full"),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(mode, _)| *mode == self).map_or("", |(_, name)| name)
    }
}

/// A server: a host name, an address, or the directory of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Where a `PostgreSQL` database is, and how to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    pub(crate) user: String,
    pub(crate) password: Option<Password>,
    pub(crate) password_file: Option<PathBuf>,
    /// In the order in which they are tried.
    pub(crate) servers: Vec<Server>,
    pub(crate) database: String,
    pub(crate) tls: TlsMode,
    pub(crate) root_certificate: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
    pub(crate) application: String,
}

impl PostgresUrl {
    /// The password that stands in it.
    #[must_use]
    pub fn password(&self) -> Option<&Password> {
        self.password.as_ref()
    }

    /// The same without its password, and with the file that holds one.
    #[must_use]
    pub fn with_password_file(mut self, file: impl AsRef<Path>) -> Self {
        self.password_file = Some(file.as_ref().to_owned());
        self
    }
}

impl FromStr for PostgresUrl {
    type Err = &'static str;

    /// What follows `postgres://`.
    fn from_str(rest: &str) -> Result<Self, Self::Err> {
        if rest.contains('#') {
            return Err("a '#' in it has to be written %23");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        if after.contains('@') {
            return Err(
                "an '@' behind the host, or a '/' or '?' before it, has to be written %40, \
                        %2f or %3f",
            );
        }
        let (user, servers) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(Password(decoded(password)?))),
            None => (user, None),
        };
        let (path, query) = after.split_once('?').unwrap_or((after, ""));
        let database = decoded(path.strip_prefix('/').unwrap_or_default())?;
        let user = decoded(user)?;
        if user.is_empty() {
            return Err("it names no user; write postgres://USER@HOST/DATABASE");
        }
        if database.contains('/') {
            return Err("the name of a database holds no '/'");
        }
        let mut url = Self {
            database: if database.is_empty() { user.clone() } else { database },
            user,
            password,
            password_file: None,
            servers: servers_of(servers)?,
            tls: TlsMode::default(),
            root_certificate: None,
            connect_timeout: DEFAULT_TIMEOUT,
            application: DEFAULT_APPLICATION.to_owned(),
        };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            url.set(name, decoded(value)?)?;
        }
        if url.servers.is_empty() {
            return Err("it names no host; write postgres://USER@HOST/DATABASE");
        }
        let texts = [&url.user, &url.database, &url.application];
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err("it holds a NUL character");
        }
        Ok(url)
    }
}

impl PostgresUrl {
    fn set(&mut self, name: &str, value: String) -> Result<(), &'static str> {
        match name {
            "sslmode" => {
                let mode = TlsMode::ALL.iter().find(|(_, name)| *name == value);
                let (mode, _) = mode.ok_or(
                    "its sslmode is none of disable, prefer, require, verify-ca and verify-full",
                )?;
                self.tls = *mode;
            }
            "sslrootcert" if !value.is_empty() => self.root_certificate = Some(value.into()),
            "connect_timeout" => {
                let seconds = value.parse::<u16>().ok().filter(|seconds| *seconds > 0);
                let seconds = seconds.ok_or("its connect_timeout is no number of seconds")?;
                self.connect_timeout = Duration::from_secs(seconds.into());
            }
            "application_name" => self.application = value,
            "host" if self.servers.is_empty() => self.servers = servers_of(&value)?,
            // What it is called may be a part of a password.
            _ => {
                return Err("of its parameters one is none of sslmode, sslrootcert, \
                            connect_timeout, application_name and host (where none stands before \
                            the database)");
            }
        }
        Ok(())
    }
}

fn servers_of(text: &str) -> Result<Vec<Server>, &'static str> {
    text.split(',').filter(|server| !server.is_empty()).map(server_of).collect()
}

fn server_of(text: &str) -> Result<Server, &'static str> {
    const INVALID: &str = "its host is no name, address or directory of a socket; write \
                           postgres://USER@HOST:PORT/DATABASE, an IPv6 address in brackets, and \
                           what is special in a password as %XX";
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(INVALID)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| INVALID)?;
        (host.to_owned(), port.strip_prefix(':').or(port.is_empty().then_some("")))
    } else {
        let (host, port) = text.split_once(':').unwrap_or((text, ""));
        (decoded(host)?, Some(port))
    };
    let is_name = |host: &str| {
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "._-:".contains(c))
    };
    if !(is_name(&host) || host.starts_with('/')) || host.contains('\0') {
        return Err(INVALID);
    }
    let port = match port.ok_or(INVALID)? {
        "" => DEFAULT_PORT,
        port => port.parse().ok().filter(|port| *port > 0).ok_or(INVALID)?,
    };
    Ok(Server { host, port })
}

/// Text with its `%XX` resolved (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<String, &'static str> {
    const INVALID: &str = "a '%' in it is not followed by two hexadecimal digits of UTF-8 text; \
                           write %25 for the character itself";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (high, low) = (digit().ok_or(INVALID)?, digit().ok_or(INVALID)?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| INVALID)?);
    }
    String::from_utf8(bytes).map_err(|_| INVALID)
}

/// Text as it may stand anywhere in a URL.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Without the password.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", encoded(&self.user))?;
        for (index, Server { host, port }) in self.servers.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if host.contains(':') && !host.starts_with('/') {
                write!(f, "{comma}[{host}]")?;
            } else {
                write!(f, "{comma}{}", encoded(host))?;
            }
            if *port != DEFAULT_PORT {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", encoded(&self.database))?;
        let mut parameters = Vec::new();
        if self.tls != TlsMode::default() {
            parameters.push(format!("sslmode={}", self.tls.name()));
        }
        if let Some(file) = self.root_certificate.as_ref().and_then(|file| file.to_str()) {
            parameters.push(format!("sslrootcert={}", encoded(file)));
        }
        if self.connect_timeout != DEFAULT_TIMEOUT {
            parameters.push(format!("connect_timeout={}", self.connect_timeout.as_secs()));
        }
        if self.application != DEFAULT_APPLICATION {
            parameters.push(format!("application_name={}", encoded(&self.application)));
        }
        for (index, parameter) in parameters.iter().enumerate() {
            write!(f, "{}{parameter}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}
