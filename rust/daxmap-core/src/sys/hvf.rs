//! Apple's Hypervisor.framework, loaded when it is asked for.
//!
//! Nothing of it is linked: the module loads where the framework is missing, and any library of the same ABI can stand
//! in for it. The declarations are those of `Hypervisor/hv_vm.h` and `hv_types.h` for Apple silicon, macOS 11 and later.

use super::HostSlice;
use std::ffi::{CStr, CString, c_int, c_void};
use std::mem::transmute;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `hv_return_t` of success.
const HV_SUCCESS: c_int = 0;

type MapFn = unsafe extern "C" fn(address: *mut c_void, ipa: u64, size: usize, flags: u64) -> c_int;
type UnmapFn = unsafe extern "C" fn(ipa: u64, size: usize) -> c_int;
type ProtectFn = unsafe extern "C" fn(ipa: u64, size: usize, flags: u64) -> c_int;

/// The three calls that change what the process's one VM sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framework {
    map: MapFn,
    unmap: UnmapFn,
    protect: ProtectFn,
}

impl Framework {
    /// Loads the library at `path`, for good. The error is what the dynamic linker said.
    pub(crate) fn load(path: &Path) -> Result<Self, String> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        // SAFETY: the name is NUL-terminated. The library's initializers run: which library that is, is the caller's
        // choice, as with every import of a Python program.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return Err(last_error());
        }
        let map = symbol(library, c"hv_vm_map")?;
        let unmap = symbol(library, c"hv_vm_unmap")?;
        let protect = symbol(library, c"hv_vm_protect")?;
        Ok(Self {
            // SAFETY: the symbol is a function of this type by the framework's headers; the library is never unloaded.
            map: unsafe { transmute::<*mut c_void, MapFn>(map) },
            // SAFETY: as above.
            unmap: unsafe { transmute::<*mut c_void, UnmapFn>(unmap) },
            // SAFETY: as above.
            protect: unsafe { transmute::<*mut c_void, ProtectFn>(protect) },
        })
    }

    /// Shows `memory` at `ipa`. An error is the framework's return code.
    pub(crate) fn map(&self, memory: HostSlice<'_>, ipa: u64, flags: u64) -> Result<(), c_int> {
        // SAFETY: the guest is given a part of a `HostRange`, where Rust has no object. It stays mapped
        // until it is released, which the backend does only when the guest surely lost it.
        checked(unsafe { (self.map)(memory.start() as *mut c_void, ipa, memory.length(), flags) })
    }

    pub(crate) fn unmap(&self, ipa: u64, size: usize) -> Result<(), c_int> {
        // SAFETY: the framework checks its arguments, and takes memory from the guest alone.
        checked(unsafe { (self.unmap)(ipa, size) })
    }

    pub(crate) fn protect(&self, ipa: u64, size: usize, flags: u64) -> Result<(), c_int> {
        // SAFETY: the framework checks its arguments. What it makes writable for the guest is a `HostRange` of a file
        // that may be written, see the backend.
        checked(unsafe { (self.protect)(ipa, size, flags) })
    }
}

fn checked(code: c_int) -> Result<(), c_int> {
    if code == HV_SUCCESS { Ok(()) } else { Err(code) }
}

fn symbol(library: *mut c_void, name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: the library is loaded, and the name is NUL-terminated.
    let symbol = unsafe { libc::dlsym(library, name.as_ptr()) };
    if symbol.is_null() { Err(last_error()) } else { Ok(symbol) }
}

fn last_error() -> String {
    // SAFETY: dlerror has no precondition.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return "the dynamic linker gave no reason".to_owned();
    }
    // SAFETY: dlerror gave a NUL-terminated string, valid until this thread's next call of the dynamic linker.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    thread_local! {
        static CALLS: RefCell<Vec<(&'static str, u64, usize, u64)>> = const { RefCell::new(Vec::new()) };
        static CODE: Cell<c_int> = const { Cell::new(HV_SUCCESS) };
    }

    fn called(name: &'static str, ipa: u64, size: usize, flags: u64) -> c_int {
        CALLS.with_borrow_mut(|calls| calls.push((name, ipa, size, flags)));
        CODE.get()
    }

    extern "C" fn map(_: *mut c_void, ipa: u64, size: usize, flags: u64) -> c_int {
        called("map", ipa, size, flags)
    }

    extern "C" fn unmap(ipa: u64, size: usize) -> c_int {
        called("unmap", ipa, size, 0)
    }

    extern "C" fn protect(ipa: u64, size: usize, flags: u64) -> c_int {
        called("protect", ipa, size, flags)
    }

    /// A framework whose calls in this thread return `code` from now on, and are told by [`calls`].
    pub(crate) fn stand_in(code: c_int) -> Framework {
        CODE.set(code);
        Framework { map, unmap, protect }
    }

    /// The calls since it was last asked: their name, guest address, size and flags.
    pub(crate) fn calls() -> Vec<(&'static str, u64, usize, u64)> {
        CALLS.take()
    }

    #[test]
    #[cfg(target_os = "linux")] // elsewhere no name is no program
    fn a_library_that_is_another_is_refused() {
        let this_program = Framework::load(Path::new("")).unwrap_err();
        assert!(this_program.contains("hv_vm_map"), "{this_program}");
        assert!(Framework::load(Path::new("/nonexistent")).unwrap_err().contains("/nonexistent"));
        assert!(Framework::load(Path::new("a\0b")).unwrap_err().contains("nul byte"));
    }
}
