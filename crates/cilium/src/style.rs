//! Whose lines are written.

use crate::{
    decode::Layouts,
    release::Release,
    tables::{drop_reasons, ports::Registry},
};

/// Whose lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// What `cilium monitor` of 1.5 prints for the same bytes.
    V1_5,
    /// What `cilium-dbg monitor` of 1.20 prints for the same bytes.
    V1_20,
    /// Our own: those of 1.20 without their faults. `None` tells the release from the data.
    Netglass(Option<Release>),
}

impl Style {
    /// How notifications are taken.
    #[must_use]
    pub const fn layouts(self) -> Layouts {
        match self {
            Self::V1_5 => Layouts::V1_5,
            Self::V1_20 => Layouts::V1_20,
            Self::Netglass(Some(release)) => Layouts::Of(release),
            Self::Netglass(None) => Layouts::Told,
        }
    }

    /// Whether the lines are our own.
    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Netglass(_))
    }

    pub(crate) fn is_1_5(self) -> bool {
        self == Self::V1_5
    }

    pub(crate) fn is_1_20(self) -> bool {
        self == Self::V1_20
    }

    pub(crate) const fn registry(self) -> Registry {
        match self {
            Self::V1_5 => Registry::V1_5,
            Self::V1_20 | Self::Netglass(_) => Registry::V1_20,
        }
    }

    /// The words for a drop reason in a notification whose layout has this version.
    pub(crate) fn drop_reason(self, reason: u8, version: Option<u16>) -> Option<&'static str> {
        let is_old = match self {
            Self::V1_5 => true,
            Self::V1_20 => false,
            Self::Netglass(Some(release)) => release < Release::one(7),
            Self::Netglass(None) => version == Some(0),
        };
        if is_old { drop_reasons::until_1_6(reason) } else { drop_reasons::since_1_7(reason) }
    }
}

/// The numbers of the drop reasons that some release words so, whatever the case.
#[must_use]
pub fn drop_reasons(words: &str) -> Vec<u8> {
    let is_it = |text: Option<&str>| text.is_some_and(|text| text.eq_ignore_ascii_case(words));
    (0..=u8::MAX)
        .filter(|number| {
            is_it(drop_reasons::until_1_6(*number)) || is_it(drop_reasons::since_1_7(*number))
        })
        .collect()
}
