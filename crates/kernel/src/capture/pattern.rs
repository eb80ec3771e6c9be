//! Which interfaces are meant.

/// Which interfaces are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// This one.
    Name(String),
    /// Those whose names match, whenever they appear: `*` stands for any characters, `?` for one.
    Glob(String),
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        if text.contains(['*', '?']) {
            Self::Glob(text.to_owned())
        } else {
            Self::Name(text.to_owned())
        }
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Glob(glob) => glob_matches(glob.as_bytes(), name.as_bytes()),
        }
    }
}

/// Each `*` first stands for nothing, and for one more byte whenever what follows it does not match.
fn glob_matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut in_glob, mut in_name) = (0, 0);
    let mut star = None;
    loop {
        match (glob.get(in_glob), name.get(in_name)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((in_glob + 1, in_name));
                in_glob += 1;
            }
            (Some(wanted), Some(byte)) if *wanted == b'?' || wanted == byte => {
                in_glob += 1;
                in_name += 1;
            }
            (_, None) => return false,
            (_, Some(_)) => {
                let Some((behind, swallowed)) = star else { return false };
                star = Some((behind, swallowed + 1));
                (in_glob, in_name) = (behind, swallowed + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_glob_stands_for_names() {
        let matches = |glob, name| Pattern::new(glob).matches(name);
        assert!(matches("eth*", "eth0") && matches("eth*", "eth"));
        assert!(matches("*", "lo") && matches("?o", "lo") && matches("v*h*1", "veth0h11"));
        assert!(!matches("eth*", "veth0") && !matches("?", "lo") && !matches("*1", "veth10"));
        assert!(matches("eth0", "eth0") && !matches("eth", "eth0"));
        assert!(matches("a**b", "ab") && !matches("a**b", "a"));
    }

    proptest! {
        #[test]
        fn a_name_matches_its_own_beginning_and_end(name in "[a-z*?]{0,8}", at in 0_usize..9) {
            let at = at.min(name.len());
            let glob = format!("{}*{}", &name[..at], &name[at..]);
            prop_assert!(glob_matches(glob.as_bytes(), name.as_bytes()));
        }
    }
}
