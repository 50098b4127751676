//! System call filtering by seccomp: what Landlock does not cover, and what a sandboxed program does not need.
//!
//! The filter is a BPF program (seccomp(2), bpf(4)): it checks the number of the call and its arguments, never memory that they
//! point to. It is assembled here (`machine.rs`), since the architecture, numbers of a foreign ABI (x32) and several results
//! must be in one filter.
use super::machine::{Field, FilterTable, Test, and, answer, jump, load};
use super::support::TRUNCATE;
use super::walls::NotConfined;
use seccompiler::BpfProgram;

/// The parameters of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterRules {
    /// Unix sockets may be created. Landlock decides which may be connected to.
    pub sockets: bool,
    /// It has its own network namespace: TCP and UDP sockets may be created there.
    pub network: bool,
    /// The kernel's Landlock ABI version.
    pub landlock: u32,
}

/// Applies the filter to this process.
pub(super) fn close(rules: FilterRules) -> Result<(), NotConfined> {
    let filter = filter(rules)?;
    seccompiler::apply_filter(&filter).map_err(|error| {
        NotConfined(format!(
            "the filter of system calls is not available ({error}); the system calls `seccomp` and `prctl` \
                             must be allowed"
        ))
    })
}

/// Results of a filtered call.
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const fn refuse(error: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | error as u32
}

/// AUDIT_ARCH of linux/audit.h.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Option<u32> = Some(0xC000_003E);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Option<u32> = Some(0xC000_00B7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: Option<u32> = None;

/// Numbers from here on belong to x32, another ABI of the same architecture.
const X32: u32 = 0x4000_0000;

/// Calls that are too new for libc. Their numbers are the same on all architectures.
const FCHMODAT2: i64 = 452;
const STATMOUNT: i64 = 457;
const LISTMOUNT: i64 = 458;
const OPEN_TREE_ATTR: i64 = 467;

/// Mode bits that make a program run as its owner or group.
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;

/// Calls that inspect or control other processes, create namespaces and mounts, load code into the kernel, or leave something
/// that outlives the process. None of them is needed in a sandbox.
const REFUSED: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    // mounts of the whole machine
    STATMOUNT,
    LISTMOUNT,
    OPEN_TREE_ATTR,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_personality,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// Calls that return ENOSYS: programs fall back to calls whose arguments can be checked.
const UNKNOWN: &[i64] =
    &[libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register, libc::SYS_clone3];

/// The flags of clone(2) that create a namespace.
const NAMESPACE_FLAGS: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32
    | 0x80; // CLONE_NEWTIME

/// Returns the system call filter.
///
/// # Errors
/// The call numbers of this architecture are unknown.
pub fn filter(rules: FilterRules) -> Result<BpfProgram, NotConfined> {
    let architecture = ARCHITECTURE.ok_or_else(|| {
        NotConfined(format!(
            "there is no filter of system calls for {}; write `sandbox = false`",
            std::env::consts::ARCH
        ))
    })?;
    let mut answers = FilterTable::default();
    for (calls, error) in [(REFUSED, libc::EPERM), (UNKNOWN, libc::ENOSYS)] {
        for call in calls {
            answers.always(*call, refuse(error));
        }
    }
    judged(&mut answers, rules);
    let mut program = vec![
        load(Field::Architecture),
        jump(Test::Equal, architecture, 1, 0),
        answer(KILL),
        load(Field::Number),
    ];
    program.extend(answers.tree(ALLOW, (X32, refuse(libc::ENOSYS))));
    Ok(program)
}

/// Adds the calls that are judged by their arguments.
fn judged(answers: &mut FilterTable, rules: FilterRules) {
    answers.judged(libc::SYS_clone, unless_set(0, NAMESPACE_FLAGS, libc::EPERM));
    answers.judged(
        libc::SYS_ioctl,
        unless_one_of(1, &[libc::TIOCSTI as u32, libc::TIOCLINUX as u32], libc::EPERM),
    );
    answers.judged(libc::SYS_socket, family_of_socket(rules));
    // a datagram socket of a pair can send to any other by its path (unix(7))
    let pairs = [libc::SOCK_STREAM as u32, libc::SOCK_SEQPACKET as u32];
    let mut pair = only(0, &[libc::AF_UNIX as u32], libc::EAFNOSUPPORT);
    pair.extend([load(Field::Argument(1)), and(0xf)]);
    pair.extend(equal_to_one_of(&pairs, libc::EPROTONOSUPPORT));
    answers.judged(libc::SYS_socketpair, pair);
    // other processes of the same user must not be affected
    answers.judged(libc::SYS_prlimit64, only_then_allow(0, &[0], libc::EPERM));
    for call in [
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ] {
        answers.judged(call, only_then_allow(0, &[0], libc::EPERM));
    }
    let mut itself = only(0, &[libc::PRIO_PROCESS], libc::EPERM);
    itself.extend(only_then_allow(1, &[0], libc::EPERM));
    answers.judged(libc::SYS_setpriority, itself);
    let mut itself = only(0, &[1], libc::EPERM); // IOPRIO_WHO_PROCESS
    itself.extend(only_then_allow(1, &[0], libc::EPERM));
    answers.judged(libc::SYS_ioprio_set, itself);
    set_id(answers);
    opening(answers, rules.landlock < TRUNCATE);
}

/// Refuses set-ID modes, which Landlock does not cover: a program that runs as its owner could be left for others to run,
/// outside of the sandbox.
fn set_id(answers: &mut FilterTable) {
    for (call, mode) in [
        (libc::SYS_fchmod, 1),
        (libc::SYS_fchmodat, 2),
        (FCHMODAT2, 2),
        (libc::SYS_mkdirat, 2),
        (libc::SYS_mknodat, 2),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_chmod, 1),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mkdir, 1),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mknod, 1),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_creat, 1),
    ] {
        answers.judged(call, unless_set(mode, SET_ID, libc::EPERM));
    }
}

/// Restricts socket families: network sockets are refused without a network namespace, all others except Unix sockets always.
fn family_of_socket(rules: FilterRules) -> BpfProgram {
    let mut body = vec![load(Field::Argument(0))];
    if rules.sockets {
        // no datagrams: Landlock only checks connecting
        body.extend([
            jump(Test::Equal, libc::AF_UNIX as u32, 0, 5),
            load(Field::Argument(1)),
            and(0xf),
            jump(Test::Equal, libc::SOCK_STREAM as u32, 1, 0),
            jump(Test::Equal, libc::SOCK_SEQPACKET as u32, 0, 1),
            answer(ALLOW),
        ]);
        // the value of the family is needed again
        body.push(load(Field::Argument(0)));
    }
    if rules.network {
        // other protocols of these families are not needed, and their kernel code stays unreachable
        let mut known = vec![
            load(Field::Argument(1)),
            and(0xf),
            jump(Test::Equal, libc::SOCK_STREAM as u32, 2, 0),
            jump(Test::Equal, libc::SOCK_DGRAM as u32, 1, 0),
            answer(refuse(libc::EPROTONOSUPPORT)),
        ];
        let protocols = [0, libc::IPPROTO_TCP as u32, libc::IPPROTO_UDP as u32];
        known.extend(only_then_allow(2, &protocols, libc::EPROTONOSUPPORT));
        let past = u8::try_from(known.len()).expect("it is short");
        body.push(jump(Test::Equal, libc::AF_INET as u32, 1, 0));
        body.push(jump(Test::Equal, libc::AF_INET6 as u32, 0, past));
        body.extend(known);
    }
    for family in [libc::AF_INET as u32, libc::AF_INET6 as u32] {
        body.extend([jump(Test::Equal, family, 0, 1), answer(refuse(libc::EACCES))]);
    }
    body.push(answer(refuse(libc::EAFNOSUPPORT)));
    body
}

/// Restricts calls that can create files, because of the mode. `empties`: read-only files could be truncated before Landlock
/// covered that. The mode in openat2(2) is in memory: the call returns ENOSYS, and programs fall back.
fn opening(answers: &mut FilterTable, empties: bool) {
    answers.always(libc::SYS_openat2, refuse(libc::ENOSYS));
    if empties {
        answers.always(libc::SYS_truncate, refuse(libc::EACCES));
    }
    let judged = |flags: u8| {
        let mut body = vec![
            // without these flags, the mode is ignored
            load(Field::Argument(flags)),
            jump(Test::AnySet, (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32, 0, 3),
            load(Field::Argument(flags + 1)),
            jump(Test::AnySet, SET_ID, 0, 1),
            answer(refuse(libc::EPERM)),
        ];
        if empties {
            body.extend([
                load(Field::Argument(flags)),
                and((libc::O_TRUNC | libc::O_ACCMODE) as u32),
                jump(Test::Equal, libc::O_TRUNC as u32, 1, 0),
                // neither reading nor writing (open(2)), but truncates all the same
                jump(Test::Equal, (libc::O_TRUNC | libc::O_ACCMODE) as u32, 0, 1),
                answer(refuse(libc::EACCES)),
            ]);
        }
        body.push(answer(ALLOW));
        body
    };
    answers.judged(libc::SYS_openat, judged(2));
    #[cfg(target_arch = "x86_64")]
    answers.judged(libc::SYS_open, judged(1));
}

/// Refuses if one of these bits is set in an argument, else allows.
fn unless_set(argument: u8, bits: u32, error: i32) -> BpfProgram {
    vec![
        load(Field::Argument(argument)),
        jump(Test::AnySet, bits, 0, 1),
        answer(refuse(error)),
        answer(ALLOW),
    ]
}

/// Refuses if an argument is one of these, else allows.
fn unless_one_of(argument: u8, values: &[u32], error: i32) -> BpfProgram {
    let mut body = vec![load(Field::Argument(argument))];
    for value in values {
        body.extend([jump(Test::Equal, *value, 0, 1), answer(refuse(error))]);
    }
    body.push(answer(ALLOW));
    body
}

/// Refuses unless an argument is one of these; else continues.
fn only(argument: u8, values: &[u32], error: i32) -> BpfProgram {
    let mut body = vec![load(Field::Argument(argument))];
    for (at, value) in values.iter().enumerate() {
        body.push(jump(Test::Equal, *value, u8::try_from(values.len() - at).expect("few"), 0));
    }
    body.push(answer(refuse(error)));
    body
}

fn only_then_allow(argument: u8, values: &[u32], error: i32) -> BpfProgram {
    let mut body = only(argument, values, error);
    body.push(answer(ALLOW));
    body
}

/// The same for a value that is already loaded.
fn equal_to_one_of(values: &[u32], error: i32) -> BpfProgram {
    let mut body: BpfProgram = Vec::new();
    for value in values {
        body.extend([jump(Test::Equal, *value, 0, 1), answer(ALLOW)]);
    }
    body.push(answer(refuse(error)));
    body
}
