//! Amounts of bytes, as people write them.

const UNITS: [(&str, u32); 4] = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// Understands `256MiB`, `1GiB`, `64 KiB` and a number of bytes alone.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let (number, shift) = UNITS
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), shift)))
        .unwrap_or((text, 0));
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not an amount of bytes: give a whole number and a unit, like 64KiB, 256MiB \
                    or 1GiB"
            .to_owned());
    }
    let number = number.parse::<u64>().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "that is more than can be counted".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_has_a_number_and_a_unit() {
        let amounts = [("0", 0), ("17", 17), ("17B", 17), ("64 KiB", 65_536), (" 1GiB ", 1 << 30)];
        for (text, bytes) in amounts {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "MiB", "-1", "+1", "1.5MiB", "1MB", "1 0", "256MiB2", "17179869184GiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_understood_or_refused(text in ".*") {
            let _ = parse_bytes(&text);
        }
    }
}
