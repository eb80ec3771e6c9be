//! Connections whose addresses are translated on the way.

use netglass_testing::require;

use crate::support::{Net, Place};

#[test]
fn a_connection_is_told_as_the_kernel_tracks_it() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    net.client.nft(
        "table ip nat {
             chain output {
                 type nat hook output priority -100;
                 ip daddr 10.7.0.99 tcp dport 8080 dnat to 10.7.0.2:80;
             }
         }",
    );
    let url = "http://10.7.0.99:8080/page";
    let traced = place.trace_in(&net.client, &["--format", "json", url]).object();
    let entry = &traced["tcp"][0]["conntrack"];
    assert_eq!(entry["original"]["destination"], "10.7.0.99:8080", "{traced}");
    assert_eq!(entry["reply"]["source"], "10.7.0.2:80");
    assert_eq!(entry["reply"]["destination"], traced["tcp"][0]["addresses"]["source"]);
    let events = entry["events"].as_array().unwrap();
    assert_eq!(events[0]["kind"], "new");
    assert!(events[1..].iter().all(|event| event["kind"] == "updated"), "{events:?}");
    // SYN_SENT, SYN_RECV and ESTABLISHED of `enum tcp_conntrack`.
    for (event, state) in events.iter().zip(1..=3) {
        assert_eq!(event["tcp_state"], state);
    }
    let times: Vec<u64> = events.iter().map(|event| event["at"].as_u64().unwrap()).collect();
    assert!(times.is_sorted() && times[0] >= traced["tcp"][0]["began_at"].as_u64().unwrap());
    let text = place.trace_in(&net.client, &["-v", url]);
    text.assert_says(0, &["conntrack   to 10.7.0.99:8080", "tracked (syn-sent) after "]);
}

#[test]
fn a_connection_that_nobody_translates_is_asked_for_alone() {
    require!(root, command("nginx"), command("dnsmasq"), command("nft"));
    let (net, place) = (Net::new(), Place::new());
    let _nginx = net.nginx(&place, false);
    net.client.nft(
        "table ip tracking {
             chain output {
                 type filter hook output priority 0;
                 ct state new accept;
             }
         }",
    );
    net.client.sysctl("net.netfilter.nf_conntrack_events", "0");
    let url = "http://10.7.0.2/page";
    let traced = place.trace_in(&net.client, &["--format", "json", url]).object();
    let entry = &traced["tcp"][0]["conntrack"];
    assert_eq!(entry["original"]["destination"], "10.7.0.2:80", "{traced}");
    assert_eq!(entry["events"].as_array().map(Vec::len), Some(0));
}
