//! The name server dnsmasq.

use tempfile::TempDir;

use crate::{Namespace, Running};

/// A running dnsmasq.
#[derive(Debug)]
pub struct Dnsmasq {
    running: Running,
    _folder: TempDir,
}

/// How dnsmasq is to run.
#[derive(Debug, Clone)]
pub struct DnsmasqOptions {
    address: String,
    arguments: Vec<String>,
}

impl Dnsmasq {
    /// A name server on port 53 of `address` that knows no names and asks nobody.
    #[must_use]
    #[expect(clippy::new_ret_no_self, reason = "it is made by starting it")]
    pub fn new(address: &str) -> DnsmasqOptions {
        DnsmasqOptions { address: address.to_owned(), arguments: Vec::new() }
    }

    /// The running process.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.running
    }
}

impl DnsmasqOptions {
    /// Answers `name` with `address`, IPv4 or IPv6.
    #[must_use]
    pub fn host(self, name: &str, address: &str) -> Self {
        self.argument(&format!("--host-record={name},{address}"))
    }

    /// Adds any other option of dnsmasq.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it; returns when it listens.
    ///
    /// # Panics
    ///
    /// When it does not, with what it says about that.
    #[must_use]
    pub fn start(&self, namespace: &Namespace) -> Dnsmasq {
        let folder = tempfile::Builder::new().prefix("netglass-dnsmasq-").tempdir();
        let folder = folder.expect("a temporary folder");
        let mut command = namespace.command("dnsmasq");
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--log-facility=-", "--bind-interfaces", "--user=root", "--group=root"])
            .arg(format!("--pid-file={}", folder.path().join("pid").display()))
            .arg(format!("--listen-address={}", self.address))
            .args(&self.arguments);
        let running = Running::spawn(command);
        running.wait_for_udp(namespace, 53);
        Dnsmasq { running, _folder: folder }
    }
}
