//! What the system's files say of names, as of not long ago: they are not read with each lookup.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::configuration::{Configuration, Source, hosts_of, order_of, read_file};
use crate::settings::DnsSettings;

/// For how long what was read is good. Whoever changes a file has it heeded after that.
const HOLDS: Duration = Duration::from_secs(1);

/// The system's files.
#[derive(Debug)]
pub(super) struct System {
    configuration_file: PathBuf,
    hosts_file: PathBuf,
    order_file: PathBuf,
    /// Instead of those of the system, where there are some.
    nameservers: Vec<SocketAddr>,
    last: Mutex<Option<(Instant, Arc<Contents>)>>,
}

/// What they say.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) order: Vec<Source>,
    pub(super) configuration: Configuration,
    hosts: String,
}

impl System {
    pub(super) fn new(settings: &DnsSettings) -> Self {
        Self {
            configuration_file: settings.configuration_file.clone(),
            hosts_file: settings.hosts_file.clone(),
            order_file: settings.order_file.clone(),
            nameservers: settings.nameservers.clone(),
            last: Mutex::new(None),
        }
    }

    pub(super) fn contents(&self) -> Arc<Contents> {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((read_at, contents)) if now.duration_since(*read_at) < HOLDS => {
                Arc::clone(contents)
            }
            _ => {
                let contents = Arc::new(self.read());
                *last = Some((now, Arc::clone(&contents)));
                contents
            }
        }
    }

    fn read(&self) -> Contents {
        let mut configuration = Configuration::read(&self.configuration_file);
        if !self.nameservers.is_empty() {
            configuration.nameservers.clone_from(&self.nameservers);
        }
        Contents {
            order: order_of(&read_file(&self.order_file).unwrap_or_default()),
            configuration,
            hosts: read_file(&self.hosts_file).unwrap_or_default(),
        }
    }
}

impl Contents {
    /// The addresses that `hosts(5)` has for a name, and the first name of them.
    pub(super) fn hosts(&self, name: &str) -> Option<(Vec<IpAddr>, String)> {
        hosts_of(&self.hosts, name)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn address_of(system: &System, name: &str) -> Option<IpAddr> {
        Some(*system.contents().hosts(name)?.0.first()?)
    }

    #[test]
    fn files_that_change_are_read_again_once_what_was_read_is_old() {
        let directory = tempfile::tempdir().unwrap();
        let hosts_file = directory.path().join("hosts");
        fs::write(&hosts_file, "10.0.0.1 one.test\n").unwrap();
        let settings = DnsSettings { hosts_file: hosts_file.clone(), ..DnsSettings::default() };
        let system = System::new(&settings);
        assert_eq!(address_of(&system, "one.test"), Some([10, 0, 0, 1].into()));
        fs::write(&hosts_file, "10.0.0.2 one.test\n").unwrap();
        assert_eq!(address_of(&system, "one.test"), Some([10, 0, 0, 1].into()));
        if let Some((read_at, _)) = &mut *system.last.lock().unwrap() {
            *read_at = read_at.checked_sub(HOLDS).unwrap();
        }
        assert_eq!(address_of(&system, "one.test"), Some([10, 0, 0, 2].into()));
    }

    #[test]
    fn name_servers_that_are_given_are_asked_and_no_others() {
        let server = SocketAddr::from(([10, 0, 0, 1], 53));
        let settings = DnsSettings { nameservers: vec![server], ..DnsSettings::default() };
        assert_eq!(System::new(&settings).contents().configuration.nameservers, [server]);
    }
}
