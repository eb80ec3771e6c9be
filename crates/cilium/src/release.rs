//! Releases of Cilium, by which layouts and tables differ.

use std::{fmt, str::FromStr};

/// A release of Cilium: its major and minor number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// The first number.
    pub major: u8,
    /// The second number.
    pub minor: u8,
}

impl Release {
    /// The oldest one whose notifications are known.
    pub const OLDEST: Self = Self::one(5);
    /// The newest one whose notifications are known.
    pub const NEWEST: Self = Self::one(20);

    pub(crate) const fn one(minor: u8) -> Self {
        Self { major: 1, minor }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Release {
    type Err = String;

    /// `1.14`, also with `v` before it and a patch level behind it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("not a release of Cilium: give its numbers, like {}", Self::NEWEST);
        let mut numbers = text.strip_prefix('v').unwrap_or(text).splitn(3, '.');
        let mut next = || numbers.next()?.parse().ok();
        let release =
            next().zip(next()).map(|(major, minor)| Self { major, minor }).ok_or_else(wrong)?;
        if release < Self::OLDEST || release > Self::NEWEST {
            let (oldest, newest) = (Self::OLDEST, Self::NEWEST);
            return Err(format!("the notifications of Cilium {oldest} to {newest} are known"));
        }
        Ok(release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_by_their_numbers() {
        assert_eq!("1.14".parse(), Ok(Release::one(14)));
        assert_eq!("v1.5.3".parse(), Ok(Release::one(5)));
        assert!("1".parse::<Release>().unwrap_err().contains("like 1.20"));
        assert!("1.4".parse::<Release>().unwrap_err().contains("1.5 to 1.20"));
        assert!("2.0".parse::<Release>().is_err() && "1.x".parse::<Release>().is_err());
        assert!(Release::one(9) < Release::one(10));
    }
}
