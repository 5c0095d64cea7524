//! The server's thread that makes files: its calls are handed over, too. These functions take the place of libc's.
#![allow(unsafe_code)]

use crate::sys::{hand_over_this_thread, instead_of, wait_until_resumed};
use std::ffi::{c_int, c_void};

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, Start, *mut c_void) -> c_int;

/// `pthread_create(3)`: it blocks all signals for a while.
#[unsafe(no_mangle)]
extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    instead_of(libc::SYS_clone3, || {
        // SAFETY: the name is a C string.
        let libcs = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) };
        // SAFETY: it is libc's function of that name, which has this signature; or none, and then it is never called.
        let libcs = unsafe { std::mem::transmute::<*mut c_void, Option<Create>>(libcs) };
        // SAFETY: the caller's arguments, as they are, to the call that they are for.
        libcs.map_or(libc::EAGAIN, |create| unsafe { create(thread, attributes, start, argument) })
    })
}

/// `unshare(2)`: what that thread calls first.
#[unsafe(no_mangle)]
extern "C" fn unshare(flags: c_int) -> c_int {
    wait_until_resumed();
    let _ = hand_over_this_thread(); // the test has found out before whether it can be done
    // SAFETY: no memory is involved.
    let answer = unsafe { libc::syscall(libc::SYS_unshare, flags) };
    if answer == 0 { 0 } else { -1 }
}
