//! What users and groups are called.

use std::{collections::HashMap, fs};

use netglass_model::text_from_bytes;

/// The list of users (passwd(5)).
pub(crate) const USERS: &str = "/etc/passwd";
/// The list of groups (group(5)).
const GROUPS: &str = "/etc/group";

/// The names of users and groups, by number.
#[derive(Debug, Default)]
pub(crate) struct UserNames {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl UserNames {
    /// Reads them from this host's files. Who is in none of them goes by number.
    pub(crate) fn read() -> Self {
        let read = |path| numbered(&text_from_bytes(&fs::read(path).unwrap_or_default()));
        Self { users: read(USERS), groups: read(GROUPS) }
    }

    pub(crate) fn user(&self, uid: u32) -> Option<&str> {
        self.users.get(&uid).map(String::as_str)
    }

    pub(crate) fn group(&self, gid: u32) -> Option<&str> {
        self.groups.get(&gid).map(String::as_str)
    }
}

/// Of both files the first field is the name and the third the number.
fn numbered(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(number))) = (fields.next(), fields.nth(1).map(str::parse)) {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_before_their_numbers() {
        let names = numbered("root:x:0:0:root:/root:/bin/sh\n# none\nwww-data:x:33:\nother:x:0:\n");
        assert_eq!(names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(names.get(&33).map(String::as_str), Some("www-data"));
        assert_eq!(names.len(), 2);
    }
}
