//! What the server gives up before it looks at a guest's first request.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

/// The newest Landlock that is asked for; an older kernel gives what it has.
const LANDLOCK: ABI = ABI::V6;

/// What was had of a confinement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// What is in force, each in a few words.
    pub has: Vec<String>,
    /// What could not be had, and why.
    pub lacks: Vec<String>,
}

/// Lets this process have as many descriptors as it may: its soft limit becomes its hard one.
pub fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }); // it may always be raised so far
}

/// Confines this thread, and those that it starts, for good: to `directory`, and to the removal of files in
/// `socket_directory`, which is how the socket goes away. Every file that is needed from elsewhere is open by now.
#[must_use]
pub fn confine(directory: BorrowedFd<'_>, socket_directory: BorrowedFd<'_>, readonly: bool) -> Confinement {
    let mut confinement = Confinement::default();
    let mut note = |what: &str, done: Result<(), String>| match done {
        Ok(()) => confinement.has.push(what.to_owned()),
        Err(why) => confinement.lacks.push(format!("{what}: {why}")),
    };
    note("no new privileges", rustix::thread::set_no_new_privs(true).map_err(|errno| errno.to_string()));
    note("Landlock", landlock(directory, socket_directory, readonly));
    note("seccomp", seccomp());
    confinement
}

fn landlock(directory: BorrowedFd<'_>, socket_directory: BorrowedFd<'_>, readonly: bool) -> Result<(), String> {
    let allowed = if readonly { AccessFs::from_read(LANDLOCK) } else { AccessFs::from_all(LANDLOCK) };
    let restrict = || -> Result<RulesetStatus, RulesetError> {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .handle_access(AccessNet::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?
            .add_rule(PathBeneath::new(directory, allowed))?
            .add_rule(PathBeneath::new(socket_directory, AccessFs::RemoveFile))?;
        Ok(ruleset.restrict_self()?.ruleset)
    };
    match restrict() {
        Ok(RulesetStatus::FullyEnforced) => Ok(()),
        Ok(RulesetStatus::PartiallyEnforced) => Err("this kernel knows a part of it, which is in force".to_owned()),
        Ok(RulesetStatus::NotEnforced) => Err("this kernel has none".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// System calls that no file server makes, and that who has taken one over would. They fail with EPERM.
const NEVER: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_connect,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_socket,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

fn seccomp() -> Result<(), String> {
    let install = || -> Result<(), seccompiler::Error> {
        let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = NEVER.iter().map(|call| (*call, Vec::new())).collect();
        // A thread may get a working directory and a umask of its own, and nothing else.
        let namespaces = SeccompCondition::new(
            0,
            SeccompCmpArgLen::Qword,
            SeccompCmpOp::Ne,
            u64::from(libc::CLONE_FS.unsigned_abs()),
        )?;
        rules.insert(libc::SYS_unshare, vec![SeccompRule::new(vec![namespaces])?]);
        let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture)?;
        let program: BpfProgram = filter.try_into()?;
        seccompiler::apply_filter(&program)
    };
    install().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::fs::{self, File};
    use std::io;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;
    use std::thread;

    /// What a confined thread has tried: its confinement, and what became of it.
    struct Tried {
        confinement: Confinement,
        has_no_new_privileges: bool,
        outside: Option<io::Error>,
        write: Option<io::Error>,
        socket: Option<io::Error>,
    }

    fn tried(readonly: bool) -> Tried {
        let folder = std::env::temp_dir().join(format!("daxmap-confine-{}-{readonly}", std::process::id()));
        let _ = fs::remove_dir_all(&folder); // of a test that failed
        fs::create_dir(&folder).unwrap();
        let attempt = || {
            let directory = File::open(&folder).unwrap();
            Tried {
                confinement: confine(directory.as_fd(), directory.as_fd(), readonly),
                has_no_new_privileges: rustix::thread::no_new_privs().unwrap(),
                outside: File::open("/proc/self/status").err(),
                write: File::create(folder.join("new")).err(),
                socket: UnixDatagram::unbound().err(),
            }
        };
        let tried = thread::scope(|scope| scope.spawn(attempt).join().unwrap());
        fs::remove_dir_all(&folder).unwrap();
        tried
    }

    /// An older kernel has less, and says so.
    #[test]
    fn what_is_said_to_be_in_force_is() {
        let is = |error: Option<io::Error>, errno: Errno| error.unwrap().raw_os_error() == Some(errno.raw_os_error());
        for readonly in [false, true] {
            let Tried { confinement: Confinement { has, lacks }, has_no_new_privileges, outside, write, socket } =
                tried(readonly);
            assert_eq!(has.len() + lacks.len(), 3, "{has:?} {lacks:?}");
            let has = |what: &str| has.iter().any(|has| has == what);
            assert!(has("no new privileges") && has_no_new_privileges);
            if has("Landlock") {
                assert!(is(outside, Errno::ACCESS));
                assert_eq!(write.is_some(), readonly, "{write:?}");
            }
            if has("seccomp") {
                assert!(is(socket, Errno::PERM));
            }
        }
    }

    #[test]
    fn all_descriptors_that_may_be_had_are_had() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: maximum.map(|maximum| maximum - 1), maximum }).unwrap();
        raise_descriptor_limit();
        assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: maximum, maximum });
    }
}
