//! What became of what the mapper had its backend try.

use daxmap_core::Mapping;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    Upgrade,
    Unmap,
}

/// What came of it; with the errno that the backend gave as its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Refused(i32),
    Emptied(i32),
    GaveUp,
}

/// Tells the model what became of the attempts that it expects.
pub(crate) trait Fate {
    fn of(&mut self, kind: Kind, mapping: &Mapping) -> Verdict;

    /// Whether the backend lost control, whatever it was doing.
    fn gave_up(&self) -> bool {
        false
    }

    /// Nothing was tried that the model did not ask about.
    fn check_all_told(&self) {}
}

/// Those of one request, written down by the backend. Their order is not always that of the request.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    left: Vec<(Kind, Mapping, Verdict)>,
    gave_up: bool,
}

impl Attempts {
    pub(crate) fn push(&mut self, kind: Kind, mapping: Mapping, verdict: Verdict) {
        self.left.push((kind, mapping, verdict));
    }

    pub(crate) fn give_up(&mut self) {
        self.gave_up = true;
    }
}

impl Fate for Attempts {
    /// What came of the first attempt of this kind at a mapping; the model says that there has to be one.
    fn of(&mut self, kind: Kind, mapping: &Mapping) -> Verdict {
        let found = self.left.iter().position(|(k, m, _)| (*k, m) == (kind, mapping));
        let index = found.unwrap_or_else(|| panic!("no {kind:?} of {mapping:?} was tried, but {:?}", self.left));
        self.left.remove(index).2
    }

    fn gave_up(&self) -> bool {
        self.gave_up
    }

    fn check_all_told(&self) {
        assert!(self.left.is_empty(), "not asked for: {:?}", self.left);
    }
}
