//! SOCKS5 (RFC 1928), with user and password (RFC 1929). The proxy looks names up.

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Proxy;
use crate::{
    connector::attempt,
    record::{Failure, FailureKind, Layer},
};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Asks a proxy for a connection to a host and port. The reply code; zero is yes.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<u8, Failure> {
    let name = proxy.shown(false);
    let broken = |error: std::io::Error| {
        let message = format!("cannot ask the proxy {name} for {host}:{port}: {error}");
        Failure::new(Layer::Proxy, attempt::kind(&error), message)
    };
    let refused = |why: &str| {
        let message = format!("cannot ask the proxy {name} for {host}:{port}: {why}");
        Failure::new(Layer::Proxy, FailureKind::ProxyRefused, message)
    };
    let nonsense = || {
        let message = format!("the proxy {name} does not speak SOCKS5");
        Failure::new(Layer::Proxy, FailureKind::Protocol, message)
    };
    let credentials = proxy.credentials();
    let greeting: &[u8] = if credentials.is_some() {
        &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD]
    } else {
        &[VERSION, 1, NO_AUTHENTICATION]
    };
    stream.write_all(greeting).await.map_err(broken)?;
    let mut method = [0; 2];
    stream.read_exact(&mut method).await.map_err(broken)?;
    match (method, credentials) {
        ([VERSION, NO_AUTHENTICATION], _) => {}
        ([VERSION, USER_AND_PASSWORD], Some((user, password))) => {
            let (Ok(user_length), Ok(password_length)) =
                (u8::try_from(user.len()), u8::try_from(password.len()))
            else {
                return Err(refused("its user or password is longer than 255 bytes"));
            };
            let mut message = vec![1, user_length];
            message.extend(user.as_bytes());
            message.push(password_length);
            message.extend(password.as_bytes());
            stream.write_all(&message).await.map_err(broken)?;
            let mut status = [0; 2];
            stream.read_exact(&mut status).await.map_err(broken)?;
            if status[1] != 0 {
                return Err(refused("it does not accept the user and password"));
            }
        }
        ([VERSION, NONE_ACCEPTABLE], _) => {
            return Err(refused("it wants another way to authenticate"));
        }
        _ => return Err(nonsense()),
    }
    let mut request = vec![VERSION, CONNECT, 0];
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            let Ok(length) = u8::try_from(host.len()) else {
                return Err(refused("the name is longer than 255 bytes"));
            };
            request.extend([NAME, length]);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await.map_err(broken)?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await.map_err(broken)?;
    let [version, code, _, kind] = reply;
    if version != VERSION {
        return Err(nonsense());
    }
    let rest = match kind {
        IPV4 => 6,
        IPV6 => 18,
        NAME => {
            let mut length = [0];
            stream.read_exact(&mut length).await.map_err(broken)?;
            usize::from(length[0]) + 2
        }
        // Some say nothing of it where they refuse.
        _ if code != 0 => return Ok(code),
        _ => return Err(nonsense()),
    };
    let mut address = vec![0; rest];
    stream.read_exact(&mut address).await.map_err(broken)?;
    Ok(code)
}

/// What a reply code says (section 6).
pub(crate) fn meaning(code: u8) -> &'static str {
    match code {
        0 => "succeeded",
        1 => "general failure",
        2 => "not allowed",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "too many hops",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown reply",
    }
}
