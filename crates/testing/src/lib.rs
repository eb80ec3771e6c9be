//! What the tests and benchmarks of Netglass stand on.
//!
//! A test that is about networks makes its own network namespaces, starts real servers and clients
//! of Debian's packages in them, and leaves nothing behind, also when it fails. What it needs of
//! the machine it states in its first line, and says in one line when that is not there:
//!
//! ```no_run
//! use netglass_testing::{Namespace, Nginx, link, require, run};
//!
//! // In a test, behind #[test]:
//! fn a_page_is_served() {
//!     require!(root, command("nginx"), command("curl"));
//!     let (client, server) = (Namespace::new("client"), Namespace::new("server"));
//!     link(&client, "10.0.0.1/24", &server, "10.0.0.2/24");
//!     let _nginx = Nginx::new().listen("10.0.0.2:80").file("/page", 1000).start(&server);
//!     let page = run(client.command("curl").args(["--silent", "http://10.0.0.2/page"]));
//!     assert_eq!(page.len(), 1000);
//! }
//! ```
//!
//! Guards are dropped in the reverse order of their making: make namespaces before what runs in
//! them.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "test code: what cannot be set up panics, and many calls are made for waiting alone"
)]

mod csv;
mod directory;
mod flush;
mod har;
mod load;
mod namespace;
mod place;
mod process;
mod refusing;
pub mod requirement;
mod server;
mod wait;

pub use csv::csv_records;
pub use directory::{BpfFileSystem, directory_in_memory};
pub use flush::flush;
pub use har::har_entries;
pub use load::{load_command, without_netlink};
pub use namespace::{Link, Namespace, link};
pub use place::{Ended, Place};
pub use process::{Finished, Running, copy_program, run};
pub use refusing::Refusing;
pub use requirement::shared_folder;
pub use rustix::process::Signal;
pub use server::{
    BigQuery, BigQueryCall, BigQueryFault, Dnsmasq, DnsmasqOptions, Http3, Http3Answer, Http3End,
    Http3Options, Http3Request, Nginx, NginxOptions, Paused, PostgreSql, PostgreSqlOptions,
    Proxied, Proxy, ProxyOptions,
};
pub use wait::wait_for;
