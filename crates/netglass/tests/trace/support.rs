//! The program in a place of its own, and servers for it to ask.

#[cfg(feature = "http3")]
use std::net::UdpSocket;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread::{self, JoinHandle},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
pub(crate) use netglass_testing::Ended;
use netglass_testing::{Dnsmasq, Namespace, Nginx, Running, link};
#[cfg(feature = "http3")]
use netglass_testing::{Http3, Http3Answer, Http3Options, Http3Request};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

netglass_testing::own_place! {
    /// Where `netglass trace` runs.
    pub(crate) struct Place;
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(netglass_testing::Place::new())
    }

    fn set_up(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.arg("trace");
        self.prepare(command, arguments)
    }

    /// `netglass trace …` here.
    pub(crate) fn netglass(&self, arguments: &[&str]) -> Command {
        self.set_up(Command::new(env!("CARGO_BIN_EXE_netglass")), arguments)
    }

    /// The same in a namespace.
    pub(crate) fn netglass_in(&self, namespace: &Namespace, arguments: &[&str]) -> Command {
        self.set_up(namespace.command(env!("CARGO_BIN_EXE_netglass")), arguments)
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn trace(&self, arguments: &[&str]) -> Ended {
        Ended::of(Running::spawn(self.netglass(arguments)).wait())
    }

    /// Runs it to its end in a namespace.
    #[track_caller]
    pub(crate) fn trace_in(&self, namespace: &Namespace, arguments: &[&str]) -> Ended {
        Ended::of(Running::spawn(self.netglass_in(namespace, arguments)).wait())
    }
}

/// Two namespaces: a client, and a server with a name server.
///
/// `web.example` is 10.7.0.2, `both.example` that and `2001:db8:7::dead`, where everything is lost.
pub(crate) struct Net {
    _name_server: Dnsmasq,
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
}

impl Net {
    pub(crate) fn new() -> Self {
        let (client, server) = (Namespace::new("client"), Namespace::new("server"));
        let devices = link(&client, "10.7.0.1/24", &server, "10.7.0.2/24");
        client.add_address(&devices.first, "2001:db8:7::1/64");
        server.add_addresses(&devices.second, ["2001:db8:7::2/64", "2001:db8:7::dead/64"]);
        server.nft(
            "table inet lost {
                 chain input {
                     type filter hook input priority 0
                     ip6 daddr 2001:db8:7::dead drop
                     tcp dport 81 drop
                 }
             }",
        );
        let name_server = Dnsmasq::new("10.7.0.2")
            .argument("--local=/example/")
            .host("web.example", "10.7.0.2")
            .host("both.example", "10.7.0.2,2001:db8:7::dead")
            .start(&server);
        Self { _name_server: name_server, client, server }
    }

    /// A certificate for `web.example` in `cert.pem`, and its key in `key.pem`. The authority that
    /// signed it is in `ca.pem`. A client has one of the same authority in `client.pem`, with its key
    /// in `client-key.pem`.
    fn certificate(place: &Place, is_expired: bool) {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "Test Authority");
        let signed = authority.self_signed(&authority_key).unwrap();
        place.file("ca.pem", pem("CERTIFICATE", signed.der()));
        let key = KeyPair::generate().unwrap();
        let names = ["web.example".to_owned(), "10.7.0.2".to_owned()];
        let mut server = CertificateParams::new(names).unwrap();
        server.distinguished_name.push(DnType::CommonName, "web.example");
        if is_expired {
            server.not_before = date_time_ymd(2020, 1, 1);
            server.not_after = date_time_ymd(2021, 1, 1);
        }
        let issuer = Issuer::new(authority, authority_key);
        let certificate = server.signed_by(&key, &issuer).unwrap();
        place.file("cert.pem", pem("CERTIFICATE", certificate.der()));
        place.file("key.pem", pem("PRIVATE KEY", &key.serialize_der()));
        let key = KeyPair::generate().unwrap();
        let mut client = CertificateParams::default();
        client.distinguished_name.push(DnType::CommonName, "client");
        let certificate = client.signed_by(&key, &issuer).unwrap();
        place.file("client.pem", pem("CERTIFICATE", certificate.der()));
        place.file("client-key.pem", pem("PRIVATE KEY", &key.serialize_der()));
    }

    /// A server of HTTP/3 on port 443, for `web.example`; who signed its certificate is in `ca.pem`.
    #[cfg(feature = "http3")]
    pub(crate) fn http3(
        &self,
        place: &Place,
        is_expired: bool,
        answer: impl Fn(&Http3Request) -> Http3Answer + Send + Sync + 'static,
    ) -> Http3 {
        Self::certificate(place, is_expired);
        let socket = self.server.inside(|| UdpSocket::bind("10.7.0.2:443").unwrap());
        let tls = Http3::tls(&place.path("cert.pem"), &place.path("key.pem"));
        Http3::start(socket, tls, &Http3Options::default(), answer)
    }

    /// An nginx on port 80 and, with TLS and HTTP/2, on port 443, for `web.example`. The authority that
    /// signed its certificate is in `ca.pem`. On port 444 it wants a certificate of the client's, as
    /// `client.pem` with `client-key.pem` is.
    pub(crate) fn nginx(&self, place: &Place, is_expired: bool) -> Nginx {
        Self::certificate(place, is_expired);
        let path = |name: &str| place.path(name).display().to_string();
        place.file(
            "tls.conf",
            format!(
                "server {{
                     listen 10.7.0.2:443 ssl http2;
                     ssl_protocols TLSv1.2 TLSv1.3;
                     ssl_certificate {certificate};
                     ssl_certificate_key {key};
                     gzip on;
                     gzip_min_length 1;
                     gzip_types *;
                     location /there {{ return 302 https://web.example/page; }}
                     location /loop {{ return 302 https://web.example/loop; }}
                     location /elsewhere {{ return 302 ftp://web.example/; }}
                     location /v1/traces {{ access_log {traces}; return 200 '{{}}'; }}
                 }}
                 server {{
                     listen 10.7.0.2:444 ssl;
                     ssl_certificate {certificate};
                     ssl_certificate_key {key};
                     ssl_verify_client on;
                     ssl_client_certificate {authority};
                 }}",
                certificate = path("cert.pem"),
                key = path("key.pem"),
                authority = path("ca.pem"),
                traces = path("traces.log"),
            ),
        );
        let nginx = Nginx::new()
            .listen("10.7.0.2:80")
            .file("/page", 1000)
            .directive(&format!("include {}", path("tls.conf")))
            .start(&self.server);
        nginx.running().wait_for_tcp(&self.server, 443);
        nginx
    }
}

/// As RFC 7468 has it.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text.push_str(str::from_utf8(line).unwrap());
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// A request as a server reads it.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The first line and the headers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// Reads one; nothing where the connection ends before it.
    pub(crate) fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut received = Self::default();
        while !received.head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut received.head).ok()? == 0 {
                return None;
            }
        }
        let length = received.header("content-length").map_or(0, |length| length.parse().unwrap());
        received.body = vec![0; length];
        reader.read_exact(&mut received.body).ok()?;
        Some(received)
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        Some(value.trim())
    }
}

/// A server on the loopback device that gives each of its connections an answer, and ends.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    thread: Option<JoinHandle<Vec<Received>>>,
}

impl Server {
    /// One connection for each of `answers`.
    pub(crate) fn new<const COUNT: usize>(answers: [&str; COUNT]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answers = answers.map(str::to_owned);
        let serve = move || {
            let mut all = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                all.extend(Received::read(&stream));
                // Who has gone does not want it.
                let _ = stream.write_all(answer.as_bytes());
            }
            all
        };
        Self { address, thread: Some(thread::spawn(serve)) }
    }

    /// A URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What it was asked, once it has given all its answers.
    pub(crate) fn received(mut self) -> Vec<Received> {
        self.thread.take().unwrap().join().unwrap()
    }
}

/// An answer with a body.
pub(crate) fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
