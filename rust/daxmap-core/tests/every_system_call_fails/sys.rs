//! System calls that fail when they are told to: those of libc, and those of rustix, which go straight to the kernel, past any
//! function that could take the place of libc's. The kernel itself hands each call over, as a SIGSYS ("syscall user
//! dispatch", Documentation/admin-guide/syscall-user-dispatch.rst), and the handler makes the call, or gives an errno in its
//! place.
#![allow(unsafe_code)]
#![allow(dead_code)] // the tests of the file server use more of it

use std::arch::global_asm;
use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicUsize, Ordering::SeqCst};

/// The most calls that one operation makes: more is a loop.
const MOST: usize = 200;
/// Of include/uapi/linux/prctl.h.
const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
const PR_SYS_DISPATCH_ON: usize = 1;
const PR_SYS_DISPATCH_OFF: usize = 0;
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;

/// Which calls fail: the first, and perhaps another after it. By number, from 0; those that can't fail don't count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) first: Option<(usize, i32)>,
    pub(crate) second: Option<(usize, i32)>,
    /// Whether all from the first on fail.
    pub(crate) goes_on: bool,
    /// Whether an `mmap` with `MAP_FIXED` fails when what was there is gone already, as the kernel may.
    pub(crate) leaves_gaps: bool,
}

static SELECTOR: AtomicU8 = AtomicU8::new(ALLOW);
/// Whether a thread makes a call that no signal may come into.
static IS_PAUSED: AtomicBool = AtomicBool::new(false);
/// The calls that were made, by number.
static MADE: [AtomicI64; MOST] = [const { AtomicI64::new(0) }; MOST];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static LEAVES_GAPS: AtomicBool = AtomicBool::new(false);
/// What comes of each call: an errno, or 0 for what the kernel says.
static ERRNOS: [AtomicI64; MOST] = [const { AtomicI64::new(0) }; MOST];

// The kernel lets calls from here pass, or the handler could not make one, nor return (rt_sigreturn(2) is 15).
// `every_call_fails_make` takes a call's number, and a pointer to its six arguments. After a call its registers rcx and r11
// are lost, as those of any function.
global_asm!(
    ".globl every_call_fails_make, every_call_fails_return, every_call_fails_end",
    "every_call_fails_make:",
    "mov rax, rdi",
    "mov r11, rsi",
    "mov rdi, [r11]",
    "mov rsi, [r11 + 8]",
    "mov rdx, [r11 + 16]",
    "mov r10, [r11 + 24]",
    "mov r8, [r11 + 32]",
    "mov r9, [r11 + 40]",
    "syscall",
    "ret",
    "every_call_fails_return:",
    "mov eax, 15",
    "syscall",
    "ud2",
    "every_call_fails_end:",
);

unsafe extern "C" {
    fn every_call_fails_make(number: c_long, arguments: *const [i64; 6]) -> c_long;
    fn every_call_fails_return();
    fn every_call_fails_end();
}

/// `struct sigaction` of the kernel (`include/linux/signal_types.h`). libc's would have the handler return by a call that is
/// handed over as well.
#[repr(C)]
struct KernelSigaction {
    handler: extern "C" fn(c_int, *mut c_void, *mut libc::ucontext_t),
    flags: u64,
    restorer: unsafe extern "C" fn(),
    mask: u64,
}

/// Has the calls of this thread handed over, if that can be; else says that it can't.
pub(crate) fn can_be_had() -> bool {
    let had = hand_over_this_thread();
    if let Err(why) = &had {
        skip(&format!("no system call fails: the kernel has no syscall user dispatch: {why}"));
    }
    had.is_ok()
}

/// Says what is not tested, past the test harness, which would keep it for itself.
pub(crate) fn skip(what: &str) {
    let _ = writeln!(io::stderr(), "\nSKIP: {what}\n");
}

/// Has the calls of this thread handed over, from now on, whenever [`with`] says so.
pub(crate) fn hand_over_this_thread() -> io::Result<()> {
    const SA_RESTORER: u64 = 0x0400_0000;
    let flags = u64::from(libc::SA_SIGINFO.unsigned_abs()) | SA_RESTORER;
    let action = KernelSigaction { handler: on_call, flags, restorer: every_call_fails_return, mask: 0 };
    // SAFETY: the struct is the kernel's, with a mask of 8 bytes; the handler calls nothing that may not be called in one.
    let answer = unsafe { libc::syscall(libc::SYS_rt_sigaction, libc::SIGSYS, &raw const action, 0, 8) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    let start = every_call_fails_make as *const () as usize;
    let length = every_call_fails_end as *const () as usize - start;
    let selector = SELECTOR.as_ptr();
    // SAFETY: the kernel reads one byte, which lives as long as the process.
    let answer = unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, start, length, selector) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    IS_HANDED_OVER.set(true);
    END.with(|_| ()); // from now on it is dropped with the thread
    Ok(())
}

/// Ends the handing over before the thread ends: it blocks all signals then, and a SIGSYS that is blocked ends the process.
struct End;

thread_local! {
    static END: End = const { End };
    static IS_HANDED_OVER: Cell<bool> = const { Cell::new(false) };
}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: the arguments have to be 0; no memory is involved.
        unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0) };
    }
}

/// Does something whose calls fail as planned; and which calls that made, by number. One thread at a time.
pub(crate) fn with<T>(plan: Plan, work: impl FnOnce() -> T) -> (T, Vec<c_long>) {
    for (number, errno) in ERRNOS.iter().enumerate() {
        errno.store(plan.errno_of(number).into(), SeqCst);
    }
    LEAVES_GAPS.store(plan.leaves_gaps, SeqCst);
    COUNT.store(0, SeqCst);
    SELECTOR.store(BLOCK, SeqCst);
    let done = work();
    SELECTOR.store(ALLOW, SeqCst);
    let made = MADE.iter().take(COUNT.load(SeqCst)).map(|number| number.load(SeqCst));
    (done, made.collect())
}

impl Plan {
    fn errno_of(&self, number: usize) -> i32 {
        let of_first = self.first.filter(|(first, _)| *first == number || self.goes_on && *first < number);
        of_first.or(self.second.filter(|(second, _)| *second == number)).map_or(0, |(_, errno)| errno)
    }
}

/// Whether a call may be refused, and is no affair of the allocator's, of a lock or of a signal: those are not the server's
/// to answer for.
fn counts(call: c_long, arguments: &[i64; 6]) -> bool {
    match call {
        libc::SYS_mmap => {
            // What shows a file, or replaces what is shown.
            let of_window = libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE;
            arguments[3] & i64::from(libc::MAP_ANONYMOUS) == 0 || arguments[3] & i64::from(of_window) != 0
        }
        libc::SYS_brk
        | libc::SYS_mremap
        | libc::SYS_mprotect
        | libc::SYS_madvise
        | libc::SYS_futex
        | libc::SYS_sched_yield
        | libc::SYS_getrandom
        | libc::SYS_clock_gettime
        | libc::SYS_getpid
        | libc::SYS_gettid
        | libc::SYS_geteuid
        | libc::SYS_getegid
        | libc::SYS_umask
        | libc::SYS_rt_sigprocmask
        | libc::SYS_rt_sigaction
        | libc::SYS_sigaltstack
        | libc::SYS_prctl
        | libc::SYS_rt_sigreturn
        | libc::SYS_exit
        | libc::SYS_exit_group => false,
        libc::SYS_fcntl => arguments[1] != i64::from(libc::F_GETFD), // a check of std, in a debug build
        libc::SYS_write => arguments[0] > 2,                         // what a panic prints
        _ => true,
    }
}

/// The handler: async-signal-safe, since it only uses atomics and makes calls.
extern "C" fn on_call(_signal: c_int, _info: *mut c_void, context: *mut libc::ucontext_t) {
    // SAFETY: the kernel gives the handler the context of the thread that it has stopped, which is nobody else's meanwhile.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    let of = |register: c_int| registers[register.unsigned_abs() as usize];
    let call = of(libc::REG_RAX);
    let arguments = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9].map(of);
    let errno = if counts(call, &arguments) { next(call) } else { 0 };
    let is_fixed = call == libc::SYS_mmap && arguments[3] & i64::from(libc::MAP_FIXED) != 0;
    if errno != 0 && is_fixed && LEAVES_GAPS.load(SeqCst) {
        make(libc::SYS_munmap, &[arguments[0], arguments[1], 0, 0, 0, 0]);
    }
    // close(2) closes, whatever it says.
    let answer = if errno == 0 || call == libc::SYS_close { make(call, &arguments) } else { 0 };
    registers[libc::REG_RAX.unsigned_abs() as usize] = if errno == 0 { answer } else { -errno };
}

/// Counts a call; the errno that it fails with, or 0.
fn next(call: c_long) -> i64 {
    let number = COUNT.fetch_add(1, SeqCst);
    let (Some(made), Some(errno)) = (MADE.get(number), ERRNOS.get(number)) else {
        let text: [u8; 34] = *b"a request makes calls without end\n";
        make(libc::SYS_write, &[2, text.as_ptr() as i64, 34, 0, 0, 0]);
        make(libc::SYS_exit_group, &[1, 0, 0, 0, 0, 0]);
        return 0;
    };
    made.store(call, SeqCst);
    errno.load(SeqCst)
}

fn make(call: c_long, arguments: &[i64; 6]) -> c_long {
    // SAFETY: the caller's own call, with its own arguments, which it has answered for.
    unsafe { every_call_fails_make(call, arguments) }
}

/// Makes a call that no signal may come into, so that none of its system calls can be handed over: it is one of its own,
/// which may fail as others do.
pub(crate) fn instead_of(call: c_long, make: impl FnOnce() -> c_int) -> c_int {
    if !IS_HANDED_OVER.get() {
        return make();
    }
    IS_PAUSED.store(true, SeqCst);
    let before = SELECTOR.swap(ALLOW, SeqCst);
    let errno = if before == BLOCK { next(call) } else { 0 };
    let answer = if errno == 0 { make() } else { c_int::try_from(errno).unwrap_or(libc::EIO) };
    SELECTOR.store(before, SeqCst);
    IS_PAUSED.store(false, SeqCst);
    answer
}

/// Waits until calls are handed over again, if another thread makes such a call.
pub(crate) fn wait_until_resumed() {
    while IS_PAUSED.load(SeqCst) {
        std::thread::yield_now();
    }
}
