//! Network namespaces as the "hosts" of a test, and the links between them.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{process::run, requirement::find_command};

/// Where `ip netns` keeps the named namespaces.
const FOLDER: &str = "/run/netns";
/// What the names of all our namespaces begin with; the id of the process that made it follows.
const PREFIX: &str = "ng-";

/// Duplicate address detection keeps an IPv6 address unusable for a second, and router
/// solicitations are traffic that no test asked for.
const QUIET_IPV6: &str = "
    for key in accept_dad dad_transmits router_solicitations accept_ra; do
        for scope in all default; do
            file=/proc/sys/net/ipv6/conf/$scope/$key
            if [ -e $file ]; then echo 0 > $file; fi
        done
    done";

/// A network namespace with a name of its own. When it is dropped, the processes still in it are
/// killed and it is deleted.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    devices: AtomicU32,
}

impl Namespace {
    /// Makes a namespace whose loopback device is up. `label` is the readable end of its name.
    #[must_use]
    pub fn new(label: &str) -> Self {
        Self::try_new(label).unwrap_or_else(|reason| panic!("no namespace for {label}: {reason}"))
    }

    pub(crate) fn try_new(label: &str) -> Result<Self, String> {
        static FIRST_USE: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        FIRST_USE.call_once(remove_stale);

        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}-{label}", std::process::id());
        let added = ip().args(["netns", "add", &name]).output();
        let added = added.map_err(|error| format!("ip netns add: {error}"))?;
        if !added.status.success() {
            return Err(String::from_utf8_lossy(&added.stderr).trim().to_owned());
        }
        let namespace = Self { name, devices: AtomicU32::new(0) };
        namespace.ip("link set lo up");
        run(namespace.command("sh").args(["-c", QUIET_IPV6]));
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// Its inode number in nsfs, which is the kernel's identity of a namespace.
    #[must_use]
    pub fn inode(&self) -> u64 {
        fs::metadata(self.path()).expect("the namespace exists").ino()
    }

    /// A command that runs `program` inside.
    ///
    /// Only the network is another one: `ip netns exec` would also hide what is mounted below
    /// `/sys` (control groups, tracefs), which eBPF needs.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let program = program.as_ref();
        let found = program.to_str().and_then(find_command);
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--");
        command.arg(found.map_or_else(|| program.to_owned(), PathBuf::into_os_string));
        command
    }

    /// Does `work` on a thread inside: sockets that it opens stay there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = fs::File::open(self.path()).expect("the namespace exists");
        let enter_and_work = || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter it");
            work()
        };
        thread::scope(|scope| match scope.spawn(enter_and_work).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Runs one or more lines of `ip` commands inside, in one go.
    pub fn ip(&self, lines: &str) {
        let mut command = self.command("ip");
        command.args(["-batch", "-"]);
        run_with_input(command, lines);
    }

    /// Adds rules of nft(8) inside, such as those that translate addresses.
    pub fn nft(&self, rules: &str) {
        let mut command = self.command("nft");
        command.args(["--file", "-"]);
        run_with_input(command, rules);
    }

    /// Adds an address with its prefix length, e.g. `10.0.0.1/24` or `fd00::1/64`, to a device.
    pub fn add_address(&self, device: &str, address: &str) {
        self.add_addresses(device, [address]);
    }

    /// Adds many addresses to a device.
    pub fn add_addresses<A: AsRef<str>>(
        &self,
        device: &str,
        addresses: impl IntoIterator<Item = A>,
    ) {
        let line = |address: A| {
            let address = address.as_ref();
            let nodad = if address.contains(':') { " nodad" } else { "" };
            format!("address add {address} dev {device}{nodad}\n")
        };
        self.ip(&addresses.into_iter().map(line).collect::<String>());
    }

    /// Sends what is for `destination` (`default`, or a prefix) to the neighbour `gateway`.
    pub fn add_route(&self, destination: &str, gateway: &str) {
        self.ip(&format!("route add {destination} via {gateway}"));
    }

    /// Makes it a router between its links.
    pub fn forward(&self) {
        self.sysctl("net.ipv4.ip_forward", "1");
        self.sysctl("net.ipv6.conf.all.forwarding", "1");
    }

    /// Adds a device with `address` (with its prefix length); every other address of the prefix
    /// swallows what is sent to it without an answer.
    pub fn add_black_hole(&self, address: &str) {
        let (device, peer) = (self.next_device("hole"), self.next_device("hole"));
        // Without ARP, packets leave at once, for a station that the other end is not.
        self.ip(&format!(
            "link add {device} type veth peer name {peer}
             link set {device} arp off up
             link set {peer} up"
        ));
        self.add_address(&device, address);
    }

    /// Sets a kernel parameter of the namespace, e.g. `net.ipv4.ip_forward`.
    pub fn sysctl(&self, key: &str, value: &str) {
        let file = format!("/proc/sys/{}", key.replace('.', "/"));
        let write = r#"printf %s "$1" > "$2""#;
        run(self.command("sh").args(["-c", write, "sh", value, &file]));
    }

    fn next_device(&self, kind: &str) -> String {
        format!("{kind}{}", self.devices.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// The names of the two devices of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The device in the first namespace.
    pub first: String,
    /// The device in the second namespace.
    pub second: String,
}

/// Connects two namespaces with a pair of virtual Ethernet devices, which are up and have the given
/// addresses (with their prefix length).
pub fn link(a: &Namespace, address_of_a: &str, b: &Namespace, address_of_b: &str) -> Link {
    let link = Link { first: a.next_device("veth"), second: b.next_device("veth") };
    let Link { first, second } = &link;
    run(ip()
        .args(["link", "add", first, "netns", &a.name, "type", "veth"])
        .args(["peer", "name", second, "netns", &b.name]));
    for (namespace, device, address) in [(a, first, address_of_a), (b, second, address_of_b)] {
        namespace.ip(&format!("link set {device} up"));
        namespace.add_address(device, address);
    }
    link
}

fn ip() -> Command {
    Command::new(find_command("ip").unwrap_or_else(|| "ip".into()))
}

fn run_with_input(mut command: Command, input: &str) {
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A command that gives up early closes the pipe; its status tells why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the child is ours");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} with input {input:?}: {message}");
}

/// Removes what processes left behind that were killed before they could clean up. A name with our
/// own process id is from an earlier process: this runs before we make any.
fn remove_stale() {
    let Ok(entries) = fs::read_dir(FOLDER) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(maker) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else {
            continue;
        };
        let Ok(maker) = maker.parse::<u32>() else { continue };
        if maker == std::process::id() || !Path::new(&format!("/proc/{maker}")).exists() {
            remove(&name);
        }
    }
}

/// Kills the processes of a namespace and deletes it. Errors are of no use: another test may be
/// removing the same stale one.
fn remove(name: &str) {
    if let Ok(metadata) = fs::metadata(Path::new(FOLDER).join(name)) {
        kill_inhabitants(metadata.ino());
    }
    let _ = ip().args(["netns", "delete", name]).stderr(Stdio::null()).status();
}

fn kill_inhabitants(namespace: u64) {
    let Ok(entries) = fs::read_dir("/proc") else { return };
    for entry in entries.flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(id) = id.filter(|id| u32::try_from(*id) != Ok(std::process::id())) else {
            continue;
        };
        let inode = fs::metadata(entry.path().join("ns/net")).map(|metadata| metadata.ino());
        if inode.is_ok_and(|inode| inode == namespace)
            && let Some(id) = Pid::from_raw(id)
        {
            let _ = kill_process(id, Signal::KILL);
        }
    }
}
