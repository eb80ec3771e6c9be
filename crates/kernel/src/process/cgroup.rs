//! `/proc/PID/cgroup` (cgroups(7)), and the container that a runtime wrote into the path.

use netglass_model::text_from_bytes;

/// The control group of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// The path in the v2 hierarchy, or in v1's `name=systemd` where v2 is not in use.
    pub path: Option<String>,
    /// The container's id or name, if a container runtime made one of the groups.
    pub container: Option<String>,
}

/// Reads `/proc/PID/cgroup`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Cgroup {
    let text = text_from_bytes(bytes);
    let mut cgroup = Cgroup::default();
    let mut v2 = None;
    let mut systemd = None;
    // Not lines(): a name may end with a carriage return.
    for line in text.split('\n') {
        let mut fields = line.splitn(3, ':');
        let (Some(hierarchy), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        match (hierarchy, controllers) {
            ("0", "") => v2 = Some(path),
            (_, "name=systemd") => systemd = Some(path),
            _ => {}
        }
        if cgroup.container.is_none() {
            cgroup.container = container(path).map(str::to_owned);
        }
    }
    // On a host that uses both, v2 has but its root.
    let path = match (v2, systemd) {
        (Some("/") | None, Some(systemd)) => Some(systemd),
        (v2, _) => v2,
    };
    cgroup.path = path.map(str::to_owned);
    cgroup
}

/// The container whose group the path names: 64 hexadecimal digits (Docker, containerd, CRI-O,
/// Podman: alone, or as `RUNTIME-ID.scope`), else the name of an LXC or systemd-nspawn container.
pub(crate) fn container(path: &str) -> Option<&str> {
    let groups = path.split('/').rev();
    groups.clone().find_map(runtime_id).or_else(|| {
        groups.clone().find_map(|group| {
            let name = group.strip_prefix("lxc.payload.").or_else(|| {
                group.strip_prefix("machine-").and_then(|name| name.strip_suffix(".scope"))
            })?;
            (!name.is_empty()).then_some(name)
        })
    })
}

fn runtime_id(group: &str) -> Option<&str> {
    let group = group.strip_suffix(".scope").unwrap_or(group);
    let id = group.rsplit(['-', ':']).next()?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_runtime_writes_its_container_into_the_path() {
        for path in [
            format!("/docker/{ID}"),
            format!("/system.slice/docker-{ID}.scope"),
            format!("/kubepods.slice/kubepods-burstable.slice/cri-containerd-{ID}.scope"),
            format!("/kubepods/besteffort/pod1b2c/{ID}"),
            format!("/machine.slice/libpod-{ID}.scope/container"),
            format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}"),
        ] {
            assert_eq!(container(&path), Some(ID), "{path}");
        }
        assert_eq!(container("/lxc.payload.web/system.slice"), Some("web"));
        assert_eq!(container("/machine.slice/machine-web.scope/payload"), Some("web"));
        assert_eq!(container("/system.slice/nginx.service"), None);
        assert_eq!(container("/"), None);
    }

    #[test]
    fn the_path_is_that_of_v2_where_v2_is_in_use() {
        let path = |text: &str| parse(text.as_bytes()).path;
        assert_eq!(path("0::/user.slice\n").as_deref(), Some("/user.slice"));
        assert_eq!(
            path("3:memory:/m\n1:name=systemd:/system.slice/a\n0::/\n").as_deref(),
            Some("/system.slice/a")
        );
        assert_eq!(path("0::/\n").as_deref(), Some("/"));
        assert_eq!(path("nonsense\n0"), None);
    }

    #[test]
    fn a_path_may_hold_colons() {
        assert_eq!(parse(b"0::/a:b:c\n").path.as_deref(), Some("/a:b:c"));
    }

    #[test]
    fn a_path_may_end_with_a_carriage_return() {
        assert_eq!(parse(b"0::/a\r\n").path.as_deref(), Some("/a\r"));
    }
}
