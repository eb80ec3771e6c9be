//! The keys of nettrace's JSON, in their order.

// They are named as the keys are.
#![allow(clippy::struct_field_names)]

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpTrace {
    pub(super) description: String,
    pub(super) trace_begin_at: String,
    pub(super) trace_end_at: String,
    pub(super) uuid: String,
    pub(super) dials: Option<Vec<Dial>>,
    pub(super) tcp_conns: Option<Vec<TcpConn>>,
    pub(super) udp_conns: Option<Vec<UdpConn>>,
    pub(super) dns_queries: Option<Vec<DnsQuery>>,
    pub(super) tls_tunnels: Option<Vec<TlsTunnel>>,
    pub(super) http_requests: Option<Vec<HttpRequest>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dial {
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    pub(super) dial_begin_at: String,
    pub(super) dial_end_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) dial_err: String,
    pub(super) ctx_close_at: String,
    pub(super) dst_address: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resolver_dials: Vec<ResolverDial>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) skipped_nameservers: Vec<String>,
    #[serde(rename = "sourceIP", skip_serializing_if = "String::is_empty")]
    pub(super) source_ip: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) established_conn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResolverDial {
    pub(super) dial_begin_at: String,
    pub(super) dial_end_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) dial_err: String,
    pub(super) nameserver: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) established_conn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AddrTuple {
    #[serde(rename = "srcIP")]
    pub(super) src_ip: String,
    pub(super) src_port: u16,
    #[serde(rename = "dstIP")]
    pub(super) dst_ip: String,
    pub(super) dst_port: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TcpConn {
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    pub(super) from_dial: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) from_resolver: bool,
    pub(super) handshake_begin_at: String,
    pub(super) handshake_end_at: String,
    pub(super) connected: bool,
    pub(super) conn_close_at: String,
    pub(super) addr_tuple: AddrTuple,
    pub(super) reused: bool,
    pub(super) total_sent_bytes: u64,
    pub(super) total_recv_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) conntrack: Option<Conntrack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) socket_trace: Option<SocketTrace>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UdpConn {
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    pub(super) from_dial: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) from_resolver: bool,
    pub(super) socket_create_at: String,
    pub(super) conn_close_at: String,
    pub(super) addr_tuple: AddrTuple,
    pub(super) total_sent_bytes: u64,
    pub(super) total_recv_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) conntrack: Option<Conntrack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) socket_trace: Option<SocketTrace>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conntrack {
    pub(super) captured_at: String,
    pub(super) status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tcp_state: Option<&'static str>,
    pub(super) mark: u32,
    pub(super) addr_orig: AddrTuple,
    pub(super) addr_reply: AddrTuple,
    pub(super) packets_sent: u64,
    pub(super) packets_recv: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_recv: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocketTrace {
    pub(super) socket_ops: Option<Vec<SocketOp>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocketOp {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) call_at: String,
    pub(super) return_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) return_err: String,
    pub(super) data_len: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DnsQuery {
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    pub(super) from_dial: String,
    pub(super) connection: String,
    pub(super) dns_query_msgs: Option<Vec<DnsQueryMsg>>,
    pub(super) dns_reply_msgs: Option<Vec<DnsReplyMsg>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DnsQueryMsg {
    pub(super) sent_at: String,
    pub(super) id: u16,
    pub(super) recursion_desired: bool,
    pub(super) truncated: bool,
    pub(super) size: u32,
    pub(super) questions: Option<Vec<DnsQuestion>>,
    #[serde(rename = "optUDPPayloadSize", skip_serializing_if = "is_zero")]
    pub(super) opt_udp_payload_size: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DnsQuestion {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) class: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DnsReplyMsg {
    pub(super) recv_at: String,
    pub(super) id: u16,
    pub(super) authoritative: bool,
    pub(super) recursion_available: bool,
    pub(super) truncated: bool,
    pub(super) size: u32,
    pub(super) r_code: &'static str,
    pub(super) answers: Option<Vec<DnsAnswer>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DnsAnswer {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) class: u16,
    pub(super) ttl: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) resolved_val: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TlsTunnel {
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    pub(super) tcp_conn: String,
    pub(super) handshake_begin_at: String,
    pub(super) handshake_end_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) handshake_err: String,
    pub(super) did_resume: bool,
    pub(super) peer_certs: Option<Vec<PeerCert>>,
    pub(super) cipher_suite: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) negotiated_proto: String,
    pub(super) server_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PeerCert {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) not_before: String,
    pub(super) not_after: String,
    #[serde(rename = "isCA")]
    pub(super) is_ca: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpRequest {
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    pub(super) tcp_conn: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) tls_tunnel: String,
    #[serde(rename = "proxyTLSTunnel", skip_serializing_if = "String::is_empty")]
    pub(super) proxy_tls_tunnel: String,
    pub(super) proto_major: u8,
    pub(super) proto_minor: u8,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) network_proxy: String,
    pub(super) req_sent_at: String,
    pub(super) req_method: String,
    #[serde(rename = "reqURL")]
    pub(super) req_url: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) req_header: Vec<Header>,
    pub(super) req_content_len: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) req_error: String,
    pub(super) resp_recv_at: String,
    pub(super) resp_status_code: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resp_header: Vec<Header>,
    #[serde(rename = "RespContentLen")]
    pub(super) resp_content_len: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    pub(super) field_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) field_val: String,
    #[serde(skip_serializing_if = "is_zero_length")]
    pub(super) field_val_len: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero_length(number: &u32) -> bool {
    *number == 0
}
