//! What of two traces has to be the same: how many records of a kind there are, which of their
//! fields are set, and to what, where that is not of one run alone. Times, ports, names of records,
//! the words of errors, sizes of reads and the order of records are.

use std::collections::BTreeMap;

use serde_json::Value;

const LISTS: [&str; 6] =
    ["dials", "tcpConns", "udpConns", "dnsQueries", "tlsTunnels", "httpRequests"];

/// Whether they are set is compared.
const TIMES: [&str; 16] = [
    "dialBeginAt",
    "dialEndAt",
    "ctxCloseAt",
    "handshakeBeginAt",
    "handshakeEndAt",
    "connCloseAt",
    "socketCreateAt",
    "sentAt",
    "recvAt",
    "reqSentAt",
    "respRecvAt",
    "callAt",
    "returnAt",
    "capturedAt",
    // Those of certificates that the stage was made with.
    "notBefore",
    "notAfter",
];
const PRESENCE: [&str; 15] = [
    "traceID",
    "fromDial",
    "connection",
    "tcpConn",
    "establishedConn",
    "tlsTunnel",
    "proxyTLSTunnel",
    "dialErr",
    "reqError",
    "handshakeErr",
    "srcPort",
    "id",
    "size",
    "totalSentBytes",
    "totalRecvBytes",
];
/// Counters of the kernel, which grow with the size of headers. Nor is our port compared, of which
/// the reply direction of a tracked connection tells.
const LEFT_OUT: [&str; 4] = ["packetsSent", "packetsRecv", "bytesSent", "bytesRecv"];

type Fields = BTreeMap<String, String>;

pub(crate) fn differences(theirs: &Value, ours: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    for list in LISTS {
        let records = |trace: &Value| -> Vec<Fields> {
            let records = trace[list].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut records: Vec<Fields> = records.iter().map(fields).collect();
            records.sort();
            records
        };
        let (their_records, our_records) = (records(theirs), records(ours));
        if theirs[list].is_null() != ours[list].is_null()
            || their_records.len() != our_records.len()
        {
            let counts = (their_records.len(), our_records.len());
            differences.push(format!("{list}: {} records, not {}", counts.1, counts.0));
            continue;
        }
        for (their_record, our_record) in their_records.iter().zip(&our_records) {
            let keys = their_record.keys().chain(our_record.keys());
            let keys: std::collections::BTreeSet<&String> = keys.collect();
            for key in keys {
                let (their_value, our_value) = (their_record.get(key), our_record.get(key));
                if their_value != our_value {
                    differences.push(format!("{list} {key}: {our_value:?}, not {their_value:?}"));
                }
            }
        }
    }
    differences
}

fn fields(record: &Value) -> Fields {
    let mut fields = Fields::new();
    collect(record, "", &mut fields);
    fields
}

fn collect(value: &Value, path: &str, fields: &mut Fields) {
    let name = path.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(member, &path, fields);
            }
        }
        // How often a socket is read and written is of the implementation.
        Value::Array(_) if name == "socketOps" => {
            fields.insert(path.to_owned(), "set".to_owned());
        }
        Value::Array(items) => {
            fields.insert(path.to_owned(), format!("{} items", items.len()));
            let mut items: Vec<&Value> = items.iter().collect();
            if name == "resolverDials" {
                // Both families are asked for at once, and overtake each other.
                let key =
                    |item: &&Value| (item["nameserver"].to_string(), !item["dialErr"].is_null());
                items.sort_by_key(key);
            }
            for (number, item) in items.into_iter().enumerate() {
                // Headers have no order.
                let index =
                    item["fieldName"].as_str().map_or(number.to_string(), ToOwned::to_owned);
                if index == "Date" {
                    continue;
                }
                collect(item, &format!("{path}[{index}]"), fields);
            }
        }
        value => {
            let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            let known = if LEFT_OUT.contains(&name) || path.ends_with("addrReply.dstPort") {
                return;
            } else if TIMES.contains(&name) {
                (if text == "undefined" { "undefined" } else { "a time" }).to_owned()
            } else if PRESENCE.contains(&name) {
                (if text.is_empty() || text == "0" { "" } else { "set" }).to_owned()
            } else if name == "status" {
                let mut flags: Vec<&str> = text.split('|').collect();
                flags.sort_unstable();
                flags.join("|")
            } else {
                text
            };
            fields.insert(path.to_owned(), known);
        }
    }
}
