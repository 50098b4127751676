//! Tests of the words that walls are sent as, and of the filter of calls. That the kernel holds them is tried with real
//! programs in `child::tests`.
#[cfg(target_os = "linux")]
use super::calls::{FilterRules, filter};
#[cfg(target_os = "linux")]
use super::machine::run;
use super::*;
use std::ffi::OsString;

#[test]
fn walls_come_back_from_their_words() {
    let walls = Walls {
        paths: vec![
            (Access::Execute, "/usr".into()),
            (Access::Read, "/with space and -- \n".into()),
            (Access::Write, "/tmp/x".into()),
            (Access::Device, "/dev/null".into()),
            (Access::Connect, "/run/s".into()),
        ],
        limits: vec![(Limit::OpenFiles, 256), (Limit::FileSize, 1), (Limit::Cpu, u64::MAX)],
        network: Some(3128),
    };
    let mut words = walls.to_words();
    words.extend(["--".into(), "/bin/true".into()]);
    assert_eq!(Walls::from_words(&words), Some((Some(walls), 18)));
    assert_eq!(Walls::from_words(&["--".into()]), Some((None, 0)));
    for odd in [
        &[][..],
        &["read"],
        &["read", "/x"],
        &["dance", "/x", "--"],
        &["cpu", "soon", "--"],
        &["network", "70000", "--"],
    ] {
        let odd: Vec<OsString> = odd.iter().map(OsString::from).collect();
        assert_eq!(Walls::from_words(&odd), None, "{odd:?}");
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn calls_are_judged_by_number_and_argument() {
    const HERE: u32 = 0xC000_003E;
    let allow = libc::SECCOMP_RET_ALLOW;
    let error = |number: i32| libc::SECCOMP_RET_ERRNO | number as u32;
    let new = FilterRules { sockets: false, network: false, landlock: 7 };
    let net = FilterRules { network: true, ..new };
    let old = FilterRules { landlock: 1, ..new };
    let unix = FilterRules { sockets: true, landlock: 9, ..new };
    let both = FilterRules { sockets: true, ..net };
    let (inet, stream, dgram) = (libc::AF_INET as u64, libc::SOCK_STREAM as u64, libc::SOCK_DGRAM as u64);
    let (file, cloexec) = (libc::AF_UNIX as u64, libc::SOCK_CLOEXEC as u64);
    for (rules, call, args, answer) in [
        (new, libc::SYS_read, vec![0], allow),
        (new, libc::SYS_ptrace, vec![16], error(libc::EPERM)),
        (new, libc::SYS_clone3, vec![], error(libc::ENOSYS)),
        (new, libc::SYS_io_uring_setup, vec![], error(libc::ENOSYS)),
        (new, libc::SYS_clone, vec![libc::SIGCHLD as u64], allow),
        (new, libc::SYS_clone, vec![libc::CLONE_NEWUSER as u64], error(libc::EPERM)),
        (new, libc::SYS_socket, vec![inet, stream, 0], error(libc::EACCES)),
        (new, libc::SYS_socket, vec![libc::AF_INET6 as u64, dgram, 0], error(libc::EACCES)),
        (new, libc::SYS_socket, vec![libc::AF_NETLINK as u64, dgram, 0], error(libc::EAFNOSUPPORT)),
        (new, libc::SYS_socket, vec![file, stream, 0], error(libc::EAFNOSUPPORT)),
        (unix, libc::SYS_socket, vec![file, stream | cloexec, 0], allow),
        (unix, libc::SYS_socket, vec![file, dgram | cloexec, 0], error(libc::EAFNOSUPPORT)),
        (unix, libc::SYS_socket, vec![file, libc::SOCK_RAW as u64, 0], error(libc::EAFNOSUPPORT)),
        (unix, libc::SYS_socket, vec![file, libc::SOCK_SEQPACKET as u64, 0], allow),
        (unix, libc::SYS_socket, vec![inet, stream, 0], error(libc::EACCES)),
        (net, libc::SYS_socket, vec![inet, stream | cloexec, 0], allow),
        (net, libc::SYS_socket, vec![libc::AF_INET6 as u64, dgram, 17], allow),
        (net, libc::SYS_socket, vec![inet, stream, 262], error(libc::EPROTONOSUPPORT)),
        (net, libc::SYS_socket, vec![inet, libc::SOCK_RAW as u64, 1], error(libc::EPROTONOSUPPORT)),
        (net, libc::SYS_socket, vec![libc::AF_NETLINK as u64, dgram, 0], error(libc::EAFNOSUPPORT)),
        (net, libc::SYS_socket, vec![libc::AF_PACKET as u64, dgram, 0], error(libc::EAFNOSUPPORT)),
        (net, libc::SYS_socket, vec![file, stream, 0], error(libc::EAFNOSUPPORT)),
        (both, libc::SYS_socket, vec![file, stream, 0], allow),
        (both, libc::SYS_socket, vec![file, dgram, 0], error(libc::EAFNOSUPPORT)),
        (both, libc::SYS_socket, vec![inet, dgram, 0], allow),
        (new, libc::SYS_socketpair, vec![file, stream | cloexec, 0], allow),
        (new, libc::SYS_socketpair, vec![file, dgram, 0], error(libc::EPROTONOSUPPORT)),
        (new, libc::SYS_socketpair, vec![libc::AF_TIPC as u64, stream, 0], error(libc::EAFNOSUPPORT)),
        (new, libc::SYS_ioctl, vec![0, libc::TIOCSTI], error(libc::EPERM)),
        (new, libc::SYS_ioctl, vec![0, 0x1_0000_0000 | libc::TIOCSTI], error(libc::EPERM)),
        (new, libc::SYS_ioctl, vec![0, libc::TCGETS], allow),
        (new, libc::SYS_prlimit64, vec![0, 7], allow),
        (new, libc::SYS_prlimit64, vec![1234, 7], error(libc::EPERM)),
        (new, libc::SYS_setpriority, vec![0, 0, 19], allow),
        (new, libc::SYS_setpriority, vec![0, 1234, 19], error(libc::EPERM)),
        (new, libc::SYS_setpriority, vec![libc::PRIO_USER as u64, 0, 19], error(libc::EPERM)),
        (new, libc::SYS_sched_setaffinity, vec![1234], error(libc::EPERM)),
        (new, libc::SYS_truncate, vec![], allow),
        // no program that runs as its owner is left behind
        (new, libc::SYS_chmod, vec![0, 0o755], allow),
        (new, libc::SYS_chmod, vec![0, 0o1777], allow),
        (new, libc::SYS_chmod, vec![0, 0o4755], error(libc::EPERM)),
        (new, libc::SYS_fchmod, vec![3, 0o2755], error(libc::EPERM)),
        (new, libc::SYS_fchmod, vec![3, 0o10_0644], allow),
        (new, libc::SYS_fchmodat, vec![0, 0, 0o6755], error(libc::EPERM)),
        (new, libc::SYS_fchmodat, vec![0, 0, 0o644], allow),
        (new, 452, vec![0, 0, 0o4755, 0], error(libc::EPERM)),
        (new, 452, vec![0, 0, 0o755, 0], allow),
        (new, libc::SYS_open, vec![0, (libc::O_CREAT | libc::O_WRONLY) as u64, 0o4755], error(libc::EPERM)),
        (new, libc::SYS_open, vec![0, (libc::O_CREAT | libc::O_WRONLY) as u64, 0o755], allow),
        (new, libc::SYS_open, vec![0, libc::O_RDONLY as u64, u64::MAX], allow),
        (new, libc::SYS_open, vec![0, libc::O_DIRECTORY as u64, u64::MAX], allow),
        (new, libc::SYS_openat, vec![0, 0, libc::O_CREAT as u64, 0o2755], error(libc::EPERM)),
        (
            new,
            libc::SYS_openat,
            vec![0, 0, (libc::O_TMPFILE | libc::O_RDWR) as u64, 0o4755],
            error(libc::EPERM),
        ),
        (new, libc::SYS_openat2, vec![], error(libc::ENOSYS)),
        (new, libc::SYS_creat, vec![0, 0o4755], error(libc::EPERM)),
        (new, libc::SYS_mkdirat, vec![0, 0, 0o2775], error(libc::EPERM)),
        (new, libc::SYS_mkdir, vec![0, 0o1777], allow),
        (new, libc::SYS_mknod, vec![0, 0o10_4755], error(libc::EPERM)),
        (new, libc::SYS_mknodat, vec![0, 0, 0o10_4755], error(libc::EPERM)),
        (
            old,
            libc::SYS_openat,
            vec![0, 0, (libc::O_CREAT | libc::O_WRONLY) as u64, 0o4755],
            error(libc::EPERM),
        ),
        (
            old,
            libc::SYS_openat,
            vec![0, 0, (libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY) as u64, 0o644],
            allow,
        ),
        (
            old,
            libc::SYS_openat,
            vec![0, 0, (libc::O_CREAT | libc::O_TRUNC) as u64, 0o644],
            error(libc::EACCES),
        ),
        // what is mounted
        (new, 457, vec![], error(libc::EPERM)),
        (new, 458, vec![], error(libc::EPERM)),
        (new, 467, vec![], error(libc::EPERM)),
        (old, libc::SYS_truncate, vec![], error(libc::EACCES)),
        (old, libc::SYS_openat2, vec![], error(libc::ENOSYS)),
        (old, libc::SYS_openat, vec![0, 0, libc::O_TRUNC as u64], error(libc::EACCES)),
        (old, libc::SYS_openat, vec![0, 0, (libc::O_TRUNC | libc::O_WRONLY) as u64], allow),
        (old, libc::SYS_open, vec![0, libc::O_TRUNC as u64], error(libc::EACCES)),
        (old, libc::SYS_open, vec![0, libc::O_TRUNC as u64 | 3], error(libc::EACCES)),
        (old, libc::SYS_open, vec![0, 3], allow),
        (old, libc::SYS_open, vec![0, 0], allow),
    ] {
        let program = filter(rules).unwrap();
        let answered = |architecture, call| run(&program, architecture, call, &args).0;
        assert_eq!(answered(HERE, call), answer, "{rules:?} {call} {args:x?}");
        assert!(program.len() < 4096, "BPF_MAXINSNS");
        // by another door: x32, and the calls of 32 bits
        assert_eq!(answered(HERE, call | 0x4000_0000), error(libc::ENOSYS));
        assert_eq!(answered(0x4000_0003, call), libc::SECCOMP_RET_KILL_PROCESS);
    }
    // what is allowed whatever its arguments is known after a few steps
    for call in 0..600 {
        let (_, steps) = run(&filter(both).unwrap(), HERE, call, &[]);
        assert!(steps <= 30, "{call}: {steps}");
    }
}
