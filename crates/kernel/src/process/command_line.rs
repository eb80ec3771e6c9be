//! `/proc/PID/cmdline` (`proc_pid_cmdline(5)`): the arguments of a process, each ended by a NUL.
//!
//! A command line may hold secrets: no message and no `Debug` output shows one.

use netglass_model::text_from_bytes;

/// How many bytes of a command line are kept.
pub(crate) const MAXIMUM_LENGTH: usize = 1024;

/// The arguments, joined by single spaces; `None` where there are none, as of a kernel thread.
///
/// What is longer than [`MAXIMUM_LENGTH`], or was `cut` before it came here, ends with `…`.
pub(crate) fn text(bytes: &[u8], cut: bool) -> Option<String> {
    // A program that writes its title over its arguments fills the rest with NULs.
    let length = bytes.iter().rposition(|&byte| byte != 0)? + 1;
    let cut = cut || length > MAXIMUM_LENGTH;
    let mut kept = &bytes[..length.min(MAXIMUM_LENGTH)];
    if cut {
        kept = without_partial_character(kept);
    }
    let joined: Vec<u8> = kept.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect();
    let mut text = text_from_bytes(&joined);
    if cut {
        text.push('…');
    }
    Some(text)
}

/// The bytes without a character of UTF-8 at their end of which the rest is missing.
fn without_partial_character(bytes: &[u8]) -> &[u8] {
    // A character has four bytes at most.
    let is_partial = |length: &usize| {
        let tail = bytes.len().checked_sub(*length).and_then(|start| bytes.get(start..));
        tail.is_some_and(|tail| {
            std::str::from_utf8(tail)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
    };
    let partial = (1..4).find(is_partial).unwrap_or(0);
    &bytes[..bytes.len() - partial]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(bytes: &[u8]) -> Option<String> {
        text(bytes, false)
    }

    #[test]
    fn arguments_are_joined_by_single_spaces() {
        assert_eq!(
            whole(b"nginx\0-c\0/etc/nginx.conf\0").as_deref(),
            Some("nginx -c /etc/nginx.conf")
        );
        assert_eq!(whole(b"sh\0\0a b\0").as_deref(), Some("sh  a b"), "the second one is empty");
        assert_eq!(whole(b"not\xffutf8\0").as_deref(), Some("not\\xffutf8"));
    }

    #[test]
    fn a_title_is_one_argument_whatever_fills_the_rest() {
        assert_eq!(whole(b"nginx: worker process").as_deref(), Some("nginx: worker process"));
        let mut filled = b"postgres: checkpointer".to_vec();
        filled.resize(5000, 0);
        assert_eq!(whole(&filled).as_deref(), Some("postgres: checkpointer"));
    }

    #[test]
    fn without_arguments_there_is_none() {
        assert_eq!(whole(b""), None);
        assert_eq!(whole(b"\0\0"), None);
    }

    #[test]
    fn what_is_cut_says_so_and_ends_with_a_whole_character() {
        let long = "x".repeat(MAXIMUM_LENGTH);
        assert_eq!(whole(long.as_bytes()), Some(long.clone()));
        assert_eq!(whole(format!("{long}y").as_bytes()), Some(format!("{long}…")));
        assert_eq!(text(b"sh\0-c\0", true).as_deref(), Some("sh -c…"));
        for character in ["é", "€", "🦀"] {
            for missing in 1..character.len() {
                let bytes = format!("a{character}").into_bytes();
                let shown = text(&bytes[..bytes.len() - missing], true);
                assert_eq!(shown.as_deref(), Some("a…"), "{character} without {missing}");
            }
            assert_eq!(text(character.as_bytes(), true), Some(format!("{character}…")));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(
            bytes in proptest::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..1100),
            cut in any::<bool>(),
        ) {
            let shown = text(&bytes, cut);
            prop_assert_eq!(shown.is_none(), bytes.iter().all(|&byte| byte == 0));
            let shown = shown.unwrap_or_default();
            prop_assert!(!shown.contains('\0'));
            // One byte is four characters at most: \xNN.
            prop_assert!(shown.len() <= 4 * MAXIMUM_LENGTH + '…'.len_utf8());
        }
    }
}
