//! A private network namespace (network_namespaces(7)): only has a loopback interface, which reaches nothing but itself. The
//! only way out is a listener there, which is handed to the process that serves it.
use super::walls::NotConfined;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket};
use rustix::process::{getgid, getuid};
use rustix::thread::UnshareFlags;
use std::net::{Ipv4Addr, TcpListener};

/// Enters such a namespace, and listens there on `port` of 127.0.0.1. The process must have one thread.
///
/// # Errors
/// Why that is not possible, and what to do about it.
pub fn open(port: u16) -> Result<TcpListener, NotConfined> {
    let failed = |what: &'static str| move |error: std::io::Error| NotConfined(format!("{what}: {error}"));
    leave()?;
    raise_loopback().map_err(failed("the loopback interface of its network can't be brought up"))?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(failed("the proxy's port can't be listened on in its network"))
}

/// Unshares the network. Root can do so without a user namespace; everybody else is mapped to themselves in one
/// (user_namespaces(7)).
fn leave() -> Result<(), NotConfined> {
    let own = own_ids();
    match unshare(UnshareFlags::NEWNET) {
        Ok(()) => return Ok(()),
        Err(Errno::PERM) => {}
        Err(error) => return Err(not_made("the network namespace", error)),
    }
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)
        .map_err(|error| not_made("the user and network namespaces", error))?;
    map_itself(own).map_err(|(file, error)| {
        NotConfined(format!(
            "the user namespace of its network can't be set up (/proc/self/{file}: {error}); leave out `net` of the sandbox"
        ))
    })
}

/// Returns user and group of this process. In a new user namespace, it has none until they are mapped.
pub(super) fn own_ids() -> (u32, u32) {
    (getuid().as_raw(), getgid().as_raw())
}

/// Maps this user and group, and nobody else, to themselves in a new user namespace.
///
/// # Errors
/// Which file of /proc/self could not be written, and why.
pub(super) fn map_itself((user, group): (u32, u32)) -> Result<(), (&'static str, std::io::Error)> {
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{user} {user} 1")),
        ("gid_map", format!("{group} {group} 1")),
    ] {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(|error| (file, error))?;
    }
    Ok(())
}

fn not_made(what: &str, error: Errno) -> NotConfined {
    let hint = match error {
        Errno::NOSPC => "raise `sysctl user.max_user_namespaces` and `user.max_net_namespaces`",
        Errno::PERM | Errno::ACCESS => {
            "the system must let users make them: see `sysctl kernel.unprivileged_userns_clone` and \
             `kernel.apparmor_restrict_unprivileged_userns`; within a container, its rules"
        }
        _ => "the kernel must have them (CONFIG_USER_NS, CONFIG_NET_NS)",
    };
    NotConfined(format!("{what} for `net` can't be made: {error}; {hint}; or leave out `net` of the sandbox"))
}

#[expect(
    deprecated,
    reason = "unsafe is what takes the table of open files apart, and that is not asked for"
)]
pub(super) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}

/// Brings `lo` up: RTM_NEWLINK with IFF_UP for the first interface, which it always is (rtnetlink(7)).
fn raise_loopback() -> std::io::Result<()> {
    const NEWLINK: u16 = 16;
    const REQUEST_WITH_ANSWER: u16 = 1 | 4; // NLM_F_REQUEST | NLM_F_ACK
    const UP: u32 = 1; // IFF_UP
    const LOOPBACK: i32 = 1;
    let mut message = Vec::with_capacity(32);
    message.extend(32u32.to_ne_bytes());
    message.extend(NEWLINK.to_ne_bytes());
    message.extend(REQUEST_WITH_ANSWER.to_ne_bytes());
    message.extend(1u32.to_ne_bytes()); // number of the request
    message.extend(0u32.to_ne_bytes()); // whoever sends
    message.extend([0u8; 4]); // any family, any type
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes()); // which flags are meant
    let netlink = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    sendto(&netlink, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0u8; 256];
    let (count, _) = recv(&netlink, &mut answer, RecvFlags::empty())?;
    // an error message with code zero means success
    let code = answer[..count].get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(std::io::Error::from_raw_os_error(-code)),
        None => Err(std::io::Error::other("the kernel did not answer")),
    }
}
