//! Hypervisor.framework as the hypervisor: `mmap`, then `hv_vm_map`.

use super::hypervisor::{Access, Hypervisor, HypervisorBackend};
use super::{Backend, Claim};
use crate::addr::GuestAddress;
use crate::open_error::OpenError;
use crate::refusal::Refusal;
use crate::sys::{Errno, Framework, HostSlice};
use crate::window::Window;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// Where macOS keeps the framework (in the dynamic linker's cache, not as a file).
pub const FRAMEWORK: &str = "/System/Library/Frameworks/Hypervisor.framework/Hypervisor";

/// The VM of this process under Hypervisor.framework, for the window of one mapper. A process has at most one VM.
///
/// # Examples
/// ```no_run
/// use daxmap_core::{FRAMEWORK, GuestAddress, HvfBackend, Mapper, Options};
/// use std::path::Path;
///
/// let vm = HvfBackend::load(Path::new(FRAMEWORK))?; // after hv_vm_create
/// let mapper = Mapper::new(GuestAddress(4 << 30), 1 << 30, Options::default(), |window| vm.attach(window, false))?;
/// mapper.drain_all()?; // before hv_vm_destroy
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HvfBackend {
    claim: Claim,
    hypervisor: Hvf,
}

/// The framework as a hypervisor.
#[derive(Clone, Copy, Debug)]
struct Hvf {
    framework: Framework,
}

impl HvfBackend {
    /// Loads the framework, or another library of the same ABI.
    ///
    /// # Errors
    /// [`OpenError::Refused`] with ENOTSUP where it can't be loaded.
    pub fn load(path: &Path) -> Result<Self, OpenError> {
        let framework = Framework::load(path).map_err(|error| OpenError::Refused {
            what: format!("Hypervisor.framework can't be loaded ({error})"),
            errno: Errno(libc::ENOTSUP),
            remedy: (!cfg!(target_os = "macos")).then(|| "it is part of macOS; on Linux take KvmBackend".to_owned()),
        })?;
        Ok(Self { claim: Claim::default(), hypervisor: Hvf { framework } })
    }

    /// A backend for `window`; `readonly` is that of the mapper.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] for the second mapper.
    pub fn attach(&self, window: &Window, readonly: bool) -> Result<Box<dyn Backend>, OpenError> {
        self.claim.attach(|| Ok(Box::new(HypervisorBackend::over(self.hypervisor, window, readonly)) as _))
    }
}

impl Hypervisor for Hvf {
    fn map(&mut self, memory: HostSlice<'_>, guest: GuestAddress, access: Access) -> Result<(), Refusal> {
        let mapped = self.framework.map(memory, guest.0, access.bits().into());
        mapped.map_err(|code| refused("hv_vm_map", code))
    }

    fn unmap(&mut self, guest: GuestAddress, length: u64) -> Result<(), Refusal> {
        self.framework.unmap(guest.0, size(length)?).map_err(|code| refused("hv_vm_unmap", code))
    }

    fn protect(&mut self, guest: GuestAddress, length: u64, access: Access) -> Option<Result<(), Refusal>> {
        let call = |size| self.framework.protect(guest.0, size, access.bits().into());
        Some(size(length).and_then(|size| call(size).map_err(|code| refused("hv_vm_protect", code))))
    }
}

fn size(length: u64) -> Result<usize, Refusal> {
    usize::try_from(length).map_err(|_| Refusal::from(Errno(libc::EINVAL)))
}

fn refused(call: &'static str, code: i32) -> Refusal {
    Refusal::io(HvError { call, code })
}

/// What a call of the framework returned: `hv_return_t` of `Hypervisor/hv_error.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HvError {
    call: &'static str,
    code: i32,
}

impl HvError {
    /// The code's name, and what to do about it.
    fn meaning(self) -> (&'static str, Cow<'static, str>) {
        let (name, meaning) = match self.code.cast_unsigned() {
            0xfae9_4001 => ("HV_ERROR", "the framework gives no reason"),
            0xfae9_4002 => ("HV_BUSY", "the range is in use by the framework"),
            0xfae9_4003 => ("HV_BAD_ARGUMENT", "not aligned to the host's page, or not a range that was mapped"),
            0xfae9_4004 => ("HV_ILLEGAL_GUEST_STATE", "the guest's state does not allow it"),
            0xfae9_4005 => ("HV_NO_RESOURCES", "the framework has no memory left for it"),
            0xfae9_4006 => ("HV_NO_DEVICE", "no VM exists: call hv_vm_create first, and drain before hv_vm_destroy"),
            0xfae9_4007 => return ("HV_DENIED", denied().into()),
            0xfae9_4008 => ("HV_FAULT", "an address the framework cannot reach"),
            0xfae9_400f => ("HV_UNSUPPORTED", "this Mac or this macOS cannot do it"),
            _ => ("unknown", "a code that is not in hv_error.h"),
        };
        (name, meaning.into())
    }
}

/// An entitlement is the running program's: that of the Python binary, and of no library that it loads. A virtual
/// environment's `python` is a link to it, and a framework build's starts another program.
fn denied() -> String {
    let program = std::env::current_exe().and_then(std::fs::canonicalize);
    let program = program.map_or_else(|_| "PYTHON".to_owned(), |path| path.display().to_string());
    format!(
        "the program lacks the entitlement com.apple.security.hypervisor: put it into a property list and run \
         codesign --sign - --force --entitlements hypervisor.plist '{program}'"
    )
}

impl fmt::Display for HvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, meaning) = self.meaning();
        write!(f, "{} returned {name} ({:#010x}): {meaning}", self.call, self.code)
    }
}

impl std::error::Error for HvError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{calls, stand_in};
    use std::os::fd::AsRawFd;

    #[test]
    fn errors_say_what_to_do() {
        let denied = HvError { call: "hv_vm_map", code: 0xfae9_4007_u32.cast_signed() }.to_string();
        assert!(denied.starts_with("hv_vm_map returned HV_DENIED (0xfae94007)"), "{denied}");
        assert!(denied.contains("com.apple.security.hypervisor"), "{denied}");
        let program = std::env::current_exe().and_then(std::fs::canonicalize).unwrap();
        let command = format!("codesign --sign - --force --entitlements hypervisor.plist '{}'", program.display());
        assert!(denied.ends_with(&command), "{denied}");
        assert!(HvError { call: "hv_vm_map", code: 1 }.to_string().contains("unknown"));
    }

    #[test]
    fn every_code_has_its_name() {
        for (code, name) in [
            (0xfae9_4001_u32, "HV_ERROR"),
            (0xfae9_4002, "HV_BUSY"),
            (0xfae9_4003, "HV_BAD_ARGUMENT"),
            (0xfae9_4004, "HV_ILLEGAL_GUEST_STATE"),
            (0xfae9_4005, "HV_NO_RESOURCES"),
            (0xfae9_4006, "HV_NO_DEVICE"),
            (0xfae9_4007, "HV_DENIED"),
            (0xfae9_4008, "HV_FAULT"),
            (0xfae9_400f, "HV_UNSUPPORTED"),
        ] {
            assert_eq!(HvError { call: "", code: code.cast_signed() }.meaning().0, name);
        }
    }

    #[test]
    fn the_framework_is_asked_for_what_the_mapper_asks() {
        let guest = GuestAddress(4 << 30);
        let page = crate::sys::page_size();
        let size = usize::try_from(page).unwrap();
        let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let memory = crate::sys::FileRange { fd: file.as_raw_fd(), offset: 0, length: size }.map(false).unwrap();
        for (code, errno) in [(0, None), (0xfae9_4003_u32.cast_signed(), Some(Errno(libc::EIO)))] {
            let mut hvf = Hvf { framework: stand_in(code) };
            let told = |answer: Result<(), Refusal>| answer.err().map(|refusal| refusal.errno());
            let mapped = hvf.map(memory.slice(0, size).unwrap(), guest, Access::ReadExecute);
            let protected = hvf.protect(guest, page, Access::ReadWriteExecute).unwrap();
            assert_eq!([told(mapped), told(protected), told(hvf.unmap(guest, page))], [errno; 3]);
            let asked =
                [("map", guest.0, size, 1 | 4), ("protect", guest.0, size, 1 | 2 | 4), ("unmap", guest.0, size, 0)];
            assert_eq!(calls(), asked);
        }
        memory.release().unwrap();
    }

    #[test]
    fn a_missing_framework_is_a_clear_error() {
        let error = HvfBackend::load(Path::new("/nonexistent/Hypervisor")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/Hypervisor"), "{error}");
        assert_eq!(error.contains("on Linux take KvmBackend"), cfg!(target_os = "linux"));
    }
}
