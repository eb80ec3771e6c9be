//! Real servers of Debian's packages, each with a configuration and a folder of its own.

mod bigquery;
mod dnsmasq;
mod http3;
mod nginx;
mod postgresql;
mod proxy;
mod tls;

pub use bigquery::{BigQuery, BigQueryCall, BigQueryFault};
pub use dnsmasq::{Dnsmasq, DnsmasqOptions};
pub use http3::{Http3, Http3Answer, Http3End, Http3Options, Http3Request};
pub use nginx::{Nginx, NginxOptions};
pub(crate) use postgresql::program_folder;
pub use postgresql::{Paused, PostgreSql, PostgreSqlOptions};
pub use proxy::{Proxied, Proxy, ProxyOptions};
