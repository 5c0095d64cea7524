//! A backend that shows nothing, and answers what it is told to.

use crate::fixture::BASE;
use daxmap_core::{Backend, Change, Errno, Failure, GuestAddress, Mapper, Options, Refusal, WindowOffset, page_size};
use std::sync::{Arc, Mutex};

/// What the backend is to answer.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// What a copy comes to; 0 for a success.
    pub(crate) copy: i32,
    /// What the next change notes.
    pub(crate) notes: Vec<String>,
    /// Whether the guest may see memory of others from the next change on.
    pub(crate) out_of_control: bool,
    /// Whether it makes no change.
    pub(crate) refuses: bool,
    /// Whether each change so far was to bring pages in.
    pub(crate) prefaulted: Vec<bool>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Told(pub(crate) Arc<Mutex<Answers>>);

impl Told {
    fn copy(&self) -> Result<(), Errno> {
        match self.0.lock().unwrap().copy {
            0 => Ok(()),
            errno => Err(Errno(errno)),
        }
    }
}

impl Backend for Told {
    fn change(&mut self, change: &Change<'_>, notes: &mut Vec<String>) -> Result<(), Failure> {
        let mut answers = self.0.lock().unwrap();
        notes.append(&mut answers.notes);
        answers.prefaulted.extend(change.new.map(|new| new.prefault));
        match (answers.out_of_control, answers.refuses) {
            (true, _) => Err(Failure::OutOfControl(Refusal::io("others map there"))),
            (false, true) => Err(Failure::Unchanged(Refusal::io("not now"))),
            (false, false) => Ok(()),
        }
    }

    fn is_out_of_control(&self) -> bool {
        self.0.lock().unwrap().out_of_control
    }

    fn read(&self, _: WindowOffset, _: &mut [u8]) -> Result<(), Errno> {
        self.copy()
    }

    fn write(&self, _: WindowOffset, _: &[u8]) -> Result<(), Errno> {
        self.copy()
    }
}

/// A mapper of 16 pages over such a backend, and what it answers.
pub(crate) fn mapper(name: &str, options: Options) -> (Mapper, Told) {
    let told = Told::default();
    let backend = Box::new(told.clone());
    let mapper = Mapper::new(GuestAddress(BASE), 16 * page_size(), options, |_| Ok(backend));
    (mapper.unwrap().named(name.to_owned()), told)
}
