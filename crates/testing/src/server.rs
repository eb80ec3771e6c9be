//! Real servers of Debian's packages, each with a configuration and a folder of its own.

mod dnsmasq;
mod nginx;

pub use dnsmasq::{Dnsmasq, DnsmasqOptions};
pub use nginx::{Nginx, NginxOptions};
