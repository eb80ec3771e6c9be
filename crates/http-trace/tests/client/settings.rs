//! Settings that cannot be are refused before anything is done with them.

use std::time::Duration;

use http_trace::{Error, ProxyChoice, nettrace, settings::Settings};

use crate::servers::{HELLO, answering, builder, client, fetch};

fn refused(change: impl FnOnce(&mut Settings)) -> &'static str {
    match builder(change).build() {
        Err(Error::InvalidSetting { field, reason }) => {
            assert!(!reason.is_empty());
            field
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_error_names_the_field() {
    assert_eq!(
        refused(|settings| settings.timeouts.connect = Some(Duration::ZERO)),
        "timeouts.connect"
    );
    assert_eq!(
        refused(|settings| settings.source_ip = Some("0.0.0.0".parse().unwrap())),
        "source_ip"
    );
    assert_eq!(
        refused(|settings| settings.dns.nameservers = vec!["10.0.0.1:0".parse().unwrap()]),
        "dns.nameservers"
    );
    assert_eq!(
        refused(|settings| {
            settings.proxy = ProxyChoice::Url("ftp://user:word@proxy.test".parse().unwrap());
        }),
        "proxy"
    );
    assert_eq!(
        refused(|settings| settings.tls.certificate_authorities = Some(b"no PEM".to_vec())),
        "tls.certificate_authorities"
    );
    assert_eq!(
        refused(|settings| settings.recording.capture =
            Some(http_trace::settings::CaptureSettings::default())),
        "recording.capture.interfaces"
    );
}

#[tokio::test]
async fn an_unused_client_has_nothing_but_null_lists_in_the_json_of_nettrace() {
    let json = nettrace::to_json(
        &client(|settings| settings.session = Some("s".to_owned())).trace("<none>"),
    );
    assert!(json.starts_with(r#"{"description":"\u003cnone\u003e","traceBeginAt":""#), "{json}");
    let end = r#""uuid":"s","dials":null,"tcpConns":null,"udpConns":null,"dnsQueries":null,"tlsTunnels":null,"httpRequests":null}"#;
    assert!(json.ends_with(end), "{json}");
}

#[tokio::test]
async fn passwords_are_sent_and_not_recorded() {
    let server = answering(HELLO).await;
    let url = format!("http://user:secret-word@{server}/");
    for secrets in [false, true] {
        let client = client(|settings| settings.recording.secrets = secrets);
        fetch(&client, &url).await.unwrap();
        let json = serde_json::to_string(&client.trace("secret")).unwrap();
        assert_eq!(json.contains("secret-word"), secrets, "{json}");
    }
}

#[tokio::test]
async fn a_trace_is_read_back_as_it_was_written() {
    let server = answering(HELLO).await;
    let client = client(|_| {});
    fetch(&client, &format!("http://{server}/")).await.unwrap();
    let trace = client.trace("written");
    let json = serde_json::to_string(&trace).unwrap();
    assert_eq!(serde_json::from_str::<http_trace::HttpTrace>(&json).unwrap(), trace);
}
