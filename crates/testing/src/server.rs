//! Real servers of Debian's packages, each with a configuration and a folder of its own.

mod bigquery;
mod dnsmasq;
mod nginx;
mod postgresql;

pub use bigquery::{BigQuery, BigQueryCall, BigQueryFault};
pub use dnsmasq::{Dnsmasq, DnsmasqOptions};
pub use nginx::{Nginx, NginxOptions};
pub(crate) use postgresql::program_folder;
pub use postgresql::{Paused, PostgreSql, PostgreSqlOptions};
