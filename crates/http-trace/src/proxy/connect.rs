//! `CONNECT` (RFC 9110, section 9.3.6).

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Proxy;
use crate::{
    connector::attempt,
    record::{Failure, FailureKind, Layer},
};

/// The longest answer of a proxy that is read.
const LONGEST_ANSWER: usize = 64 << 10;
/// How many headers it may have.
const MAXIMUM_HEADERS: usize = 128;

/// What a proxy answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: HeaderMap,
}

/// Asks a proxy for a connection to a host and port. Whatever it answers, as long as it is HTTP.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    target: &str,
    user_agent: &str,
) -> Result<Answer, Failure> {
    let name = proxy.shown(false);
    let broken = |error: std::io::Error| {
        let message = format!("cannot ask the proxy {name} for {target}: {error}");
        Failure::new(Layer::Proxy, attempt::kind(&error), message)
    };
    let nonsense = |why: String| {
        let message = format!("the proxy {name} gave no answer of HTTP for {target}: {why}");
        Failure::new(Layer::Proxy, FailureKind::Protocol, message)
    };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if !user_agent.is_empty() {
        request.extend(["User-Agent: ", user_agent, "\r\n"]);
    }
    if let Some(authorization) = proxy.authorization() {
        request.extend(["Proxy-Authorization: ", &authorization, "\r\n"]);
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.map_err(broken)?;
        if read == 0 {
            let message =
                format!("the proxy {name} closed the connection without an answer for {target}");
            return Err(Failure::new(Layer::Proxy, FailureKind::Closed, message));
        }
        bytes.extend_from_slice(chunk.get(..read).unwrap_or_default());
        match parse(&bytes).map_err(nonsense)? {
            // Nobody may speak before us in the tunnel: what follows is of an error's body.
            Some((answer, length)) if length == bytes.len() || answer.status != 200 => {
                return Ok(answer);
            }
            Some(_) => return Err(nonsense("it goes on after its end".to_owned())),
            None if bytes.len() > LONGEST_ANSWER => {
                return Err(nonsense(format!("it is longer than {LONGEST_ANSWER} bytes")));
            }
            None => {}
        }
    }
}

/// The answer and its length; nothing while it is not whole.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAXIMUM_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let mut map = HeaderMap::new();
    for header in response.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    let reason = response.reason.unwrap_or_default().to_owned();
    Ok(Some((Answer { status: response.code.unwrap_or(0), reason, headers: map }, length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_is_known_once_it_is_whole() {
        let text =
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\nbody";
        let (answer, length) = parse(text).unwrap().unwrap();
        assert_eq!((answer.status, length), (407, text.len() - 4));
        assert_eq!(answer.headers.len(), 1);
        assert!(parse(&text[..40]).unwrap().is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
