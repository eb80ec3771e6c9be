//! The web server and reverse proxy nginx.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{Namespace, Running};

/// What nginx keeps on disk while it serves: none of it may be the system's own.
const TEMPORARY: [&str; 5] = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    // Before the folder, so that the server is gone when its files go.
    running: Running,
    folder: TempDir,
}

/// How nginx is to run.
#[derive(Debug, Clone)]
pub struct NginxOptions {
    workers: u32,
    addresses: Vec<String>,
    files: Vec<(String, usize)>,
    proxies: Vec<(String, String)>,
    directives: Vec<String>,
}

impl Nginx {
    /// An nginx with one worker, which listens nowhere yet.
    #[must_use]
    #[expect(clippy::new_ret_no_self, reason = "it is made by starting it")]
    pub fn new() -> NginxOptions {
        NginxOptions {
            workers: 1,
            addresses: Vec::new(),
            files: Vec::new(),
            proxies: Vec::new(),
            directives: Vec::new(),
        }
    }

    /// The process id of the master process, which is the process group's too.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// The folder whose files it serves.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The running process.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.running
    }
}

impl NginxOptions {
    /// The number of worker processes.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// Listens on `ADDRESS:PORT`, an IPv6 address in brackets; may be called several times.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.addresses.push(address.to_owned());
        self
    }

    /// Serves a file of `size` bytes at `path`.
    #[must_use]
    pub fn file(mut self, path: &str, size: usize) -> Self {
        self.files.push((path.to_owned(), size));
        self
    }

    /// Passes requests for `path` and below on to the server at `upstream`, an address and port.
    #[must_use]
    pub fn proxy(mut self, path: &str, upstream: &str) -> Self {
        self.proxies.push((path.to_owned(), upstream.to_owned()));
        self
    }

    /// Adds any other directive of the `http` block, without its semicolon.
    #[must_use]
    pub fn directive(mut self, directive: &str) -> Self {
        self.directives.push(directive.to_owned());
        self
    }

    /// Starts it; returns when it listens.
    ///
    /// # Panics
    ///
    /// When it does not, with what it says about that.
    #[must_use]
    pub fn start(&self, namespace: &Namespace) -> Nginx {
        let folder = tempfile::Builder::new().prefix("netglass-nginx-").tempdir();
        let folder = folder.expect("a temporary folder");
        self.write(folder.path()).expect("the temporary folder can be written");
        let mut command = namespace.command("nginx");
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        let nginx = Nginx { running: Running::spawn(command), folder };
        for address in &self.addresses {
            nginx.running.wait_for_tcp(namespace, port(address));
        }
        nginx
    }

    fn write(&self, folder: &Path) -> std::io::Result<()> {
        let root = folder.join("root");
        fs::create_dir(&root)?;
        for (path, size) in &self.files {
            let file = root.join(path.trim_start_matches('/'));
            fs::create_dir_all(file.parent().unwrap_or(&root))?;
            fs::write(file, "netglass\n".bytes().cycle().take(*size).collect::<Vec<_>>())?;
        }
        fs::write(folder.join("nginx.conf"), self.configuration(folder))
    }

    fn configuration(&self, folder: &Path) -> String {
        let folder = folder.display();
        let mut http = String::new();
        for kind in TEMPORARY {
            let _ = writeln!(http, "{kind}_temp_path {folder}/{kind};");
        }
        for directive in &self.directives {
            let _ = writeln!(http, "{directive};");
        }
        http.push_str("server {\n");
        for address in &self.addresses {
            let _ = writeln!(http, "listen {address};");
        }
        for (path, upstream) in &self.proxies {
            let _ = writeln!(http, "location {path} {{ proxy_pass http://{upstream}; }}");
        }
        // The folder is readable for its owner only: the workers stay the same user.
        format!(
            "daemon off;
             user root;
             worker_processes {workers};
             pid {folder}/nginx.pid;
             events {{ worker_connections 4096; }}
             http {{
                 access_log off;
                 root {folder}/root;
                 {http}
                 }}
             }}\n",
            workers = self.workers,
        )
    }
}

fn port(address: &str) -> u16 {
    let port = address.rsplit_once(':').map_or(address, |(_, port)| port);
    port.parse().unwrap_or_else(|_| panic!("{address} is no ADDRESS:PORT"))
}
