//! The stage of the reference, in namespaces of our own name.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Stage {
    directory: TempDir,
    client: String,
    replay: PathBuf,
}

impl Stage {
    /// Builds the servers and sets them up.
    pub(crate) fn set(testbed: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let number = std::process::id();
        let (client, servers) = (format!("ng{number}c"), format!("ng{number}s"));
        let scripts = directory.path().join("testbed");
        fs::create_dir(&scripts).unwrap();
        for entry in fs::read_dir(testbed).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.replace("ntgc", &client).replace("ntgs", &servers);
            fs::write(scripts.join(path.file_name().unwrap()), text).unwrap();
        }
        let stage = Self { client, replay: example("replay"), directory };
        let build = Command::new("go")
            .args(["build", "-o", "../servers", "."])
            .current_dir(&scripts)
            .output();
        done("building the servers", &build.unwrap());
        let pki =
            Command::new("bash").arg("pki.sh").arg(stage.pki()).current_dir(&scripts).output();
        done("making certificates", &pki.unwrap());
        let up = Command::new("bash")
            .args(["net.sh", "up"])
            .args([stage.path("servers"), stage.pki(), stage.path("run")])
            .current_dir(&scripts)
            .stdout(fs::File::create(stage.path("up.log")).unwrap())
            .status();
        assert!(up.unwrap().success(), "the stage cannot be set");
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn pki(&self) -> PathBuf {
        self.path("pki")
    }

    /// The traces of a scenario.
    pub(crate) fn replay(&self, scenario: &Path) -> Vec<Value> {
        let text = fs::read_to_string(scenario).unwrap();
        let settings: Value = serde_json::from_str(&text).unwrap();
        let environment = &settings["env"];
        let write = |name: &str, text: &Value| {
            let path = self.path(name);
            fs::write(&path, text.as_str().unwrap_or_default()).unwrap();
            path
        };
        let resolv_conf = write("resolv.conf", &environment["resolvConf"]);
        let hosts = write("hosts", &environment["hosts"]);
        if !environment["neighFlush"].is_null() {
            let flush =
                Command::new("ip").args(["-n", &self.client, "neigh", "flush", "all"]).output();
            done("flushing neighbours", &flush.unwrap());
        }
        let output = Command::new("bash")
            .arg(self.path("testbed/inclient.sh"))
            .args([&resolv_conf, &hosts, &self.replay, &scenario.to_path_buf()])
            .arg("--pki")
            .arg(self.pki())
            .output()
            .unwrap();
        done(&format!("replaying {}", scenario.display()), &output);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be taken down ends with its namespaces.
        let _ = Command::new("bash")
            .arg(self.path("testbed/net.sh"))
            .arg("down")
            .arg(self.path("run"))
            .output();
    }
}

fn done(what: &str, output: &Output) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Where cargo put an example, which it builds with the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    folder.join("examples").join(name)
}
