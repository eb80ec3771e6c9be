//! What does not work as well as it could, each told once.

use std::collections::HashSet;

use netglass_model::Degradation;

/// What does not work as well as it could, each told once.
#[derive(Debug, Default)]
pub(crate) struct Degradations {
    told: HashSet<Degradation>,
    news: Vec<Degradation>,
}

impl Degradations {
    /// Reasons can name things that come and go, so there is a bound to what is remembered.
    const CAPACITY: usize = 256;

    pub(crate) fn add(&mut self, degradation: Degradation) {
        if self.told.len() < Self::CAPACITY && self.told.insert(degradation.clone()) {
            self.news.push(degradation);
        }
    }

    /// Those that were not taken before.
    pub(crate) fn take(&mut self) -> Vec<Degradation> {
        std::mem::take(&mut self.news)
    }
}
