//! The thread that makes files. A file is made with the mode that the guest asks for, and as the guest's user; so this
//! thread has a umask of its own, and changes its user, and no other thread of the process notices.

use crate::options::Owner;
use crate::sys::unshare_fs;
use rustix::fs::Mode;
use rustix::process::umask;
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::any::Any;
use std::io;
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Work for the thread. Where the thread has to end after it, the work gives back its channel for the answer, still open: the
/// caller gets EIO when that is closed.
type Job = Box<dyn FnOnce() -> Result<(), Box<dyn Any + Send>> + Send>;

/// No process has this user, nor this group.
const NOBODY: u32 = 65_534;

/// A guest's user and group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

#[derive(Debug)]
pub(crate) struct Creator {
    jobs: Mutex<SyncSender<Job>>,
    owner: Owner,
    /// Why the process's umask applies to what is made, if it does.
    pub(crate) shares_umask: Option<io::Error>,
}

impl Creator {
    /// # Errors
    /// EPERM where files are to be the guest's users', and the process may not act as others; EAGAIN for no thread.
    pub(crate) fn start(owner: Owner) -> io::Result<Self> {
        let (jobs, shares_umask) = start_thread(owner)?;
        Ok(Self { jobs: Mutex::new(jobs), owner, shares_umask })
    }

    /// Does something that makes a file, as the user whose it is to be, and waits for it.
    ///
    /// # Errors
    /// What `work` says; EIO where it was done, perhaps, and the thread could not become its own user again.
    pub(crate) fn make<T: Send + 'static>(
        &self,
        user: User,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = sync_channel(1);
        let owner = self.owner;
        let job: Job = Box::new(move || {
            let made = if owner == Owner::Guest { as_user(user, work) } else { Ok(work()) };
            match made {
                Ok(made) => _ = done.send(made), // the thread that asked for it waits
                Err(Stuck) => return Err(Box::new(done)),
            }
            Ok(())
        });
        self.give(job)?;
        receive(&result)?
    }

    /// Gives the thread a job; or a new thread, where that one has ended.
    fn give(&self, job: Job) -> io::Result<()> {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(SendError(job)) = jobs.send(job) else { return Ok(()) };
        let (thread, shares_umask) = start_thread(self.owner).map_err(|_| io_error())?;
        if shares_umask.is_some() && self.shares_umask.is_none() {
            return Err(io_error()); // the files that it makes would have other modes
        }
        *jobs = thread;
        jobs.send(job).map_err(|_| io_error())
    }
}

/// Starts the thread. The way to give it jobs, and why it shares the process's umask, if it does.
fn start_thread(owner: Owner) -> io::Result<(SyncSender<Job>, Option<io::Error>)> {
    let (jobs, todo) = sync_channel::<Job>(16);
    let (ready, is_ready) = sync_channel(1);
    let work = move || {
        let own_umask = unshare_fs();
        if own_umask.is_ok() {
            umask(Mode::empty());
        }
        let may_act_as_others = match owner {
            Owner::Guest => drop_groups().and_then(|()| {
                let nobody = User { uid: NOBODY, gid: NOBODY };
                as_user(nobody, || Ok(())).unwrap_or_else(|Stuck| Err(io_error()))
            }),
            Owner::Host => Ok(()),
        };
        let goes_on = may_act_as_others.is_ok();
        if ready.send((own_umask.err(), may_act_as_others)).is_ok() && goes_on {
            work_on(todo);
        }
    };
    thread::Builder::new().name("daxmap-creator".to_owned()).spawn(work)?;
    let (shares_umask, may_act_as_others) = receive(&is_ready)?;
    may_act_as_others?;
    Ok((jobs, shares_umask))
}

fn work_on(todo: Receiver<Job>) {
    while let Ok(job) = todo.recv() {
        if let Err(waiting) = job() {
            drop(todo); // first: who waits may give the next job at once
            drop(waiting);
            return;
        }
    }
}

fn receive<T>(from: &Receiver<T>) -> io::Result<T> {
    from.recv().map_err(|_| io_error())
}

/// The process's own groups are not the guest's users'.
fn drop_groups() -> io::Result<()> {
    Ok(set_thread_groups(&[])?)
}

/// A thread can't become its own user again: what it makes would be that user's.
struct Stuck;

/// Does something as another user.
fn as_user<T>(user: User, work: impl FnOnce() -> io::Result<T>) -> Result<io::Result<T>, Stuck> {
    const UNCHANGED: (Option<Uid>, Option<Gid>) = (None, None);
    // -1 stands for "unchanged" in these calls.
    if user.uid == u32::MAX || user.gid == u32::MAX {
        return Ok(Err(io::Error::from_raw_os_error(libc::EINVAL)));
    }
    let own = (rustix::process::geteuid(), rustix::process::getegid());
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    if let Err(refused) = set_thread_res_gid(UNCHANGED.1, gid, UNCHANGED.1) {
        return Ok(Err(refused.into()));
    }
    let done = match set_thread_res_uid(UNCHANGED.0, uid, UNCHANGED.0) {
        Ok(()) => {
            let done = work();
            set_thread_res_uid(UNCHANGED.0, own.0, UNCHANGED.0).map(|()| done)
        }
        Err(refused) => Ok(Err(refused.into())),
    };
    let back = set_thread_res_gid(UNCHANGED.1, own.1, UNCHANGED.1);
    match (done, back) {
        (Ok(done), Ok(())) => Ok(done),
        _ => Err(Stuck),
    }
}

fn io_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}
