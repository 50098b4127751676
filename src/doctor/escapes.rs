//! Ways out of the sandbox, attempted by a process within it: each is a call that would do harm, against targets that
//! were prepared for it. None of them does lasting harm if it succeeds.
use super::stage::Stage;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, chmodat, linkat, mkfifoat,
    mknodat, openat, setxattr, utimensat,
};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RawProtocol, SendFlags, SocketAddrUnix, SocketType, connect, sendto, socket,
    socketpair,
};
use rustix::process::{
    PidfdFlags, PidfdGetfdFlags, Resource, Signal, kill_process, pidfd_getfd, pidfd_open, pidfd_send_signal,
    prlimit, setpriority_process, setpriority_user,
};
use rustix::thread::{UnshareFlags, sched_setaffinity};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// An escape. Success means that it got through.
pub(super) type Escape = fn(&Stage) -> io::Result<()>;

/// The escape that is only prevented by a private view of the files, where that is available.
pub(super) const FILE_VIEW_ESCAPE: &str = "change the mode of a file outside";

/// All escapes, with their descriptions.
pub(super) const ESCAPES: &[(&str, Escape)] = &[
    ("read a file outside", |stage| fs::read(stage.secret()).map(drop)),
    ("list a folder outside", |stage| fs::read_dir(&stage.outside).map(drop)),
    ("write to a file outside", |stage| fs::write(stage.secret(), "x")),
    ("append to a file outside", |stage| OpenOptions::new().append(true).open(stage.secret()).map(drop)),
    ("empty a file outside by its path", |stage| {
        Ok(rustix::fs::open(stage.secret(), OFlags::WRONLY | OFlags::TRUNC, Mode::empty()).map(drop)?)
    }),
    ("empty a file that may be read", |_| {
        Ok(rustix::fs::open("/etc/hosts", OFlags::RDONLY | OFlags::TRUNC, Mode::empty()).map(drop)?)
    }),
    ("make a file outside", |stage| fs::write(stage.outside.join("new"), "x")),
    ("remove a file outside", |stage| fs::remove_file(stage.secret())),
    ("make a folder outside", |stage| fs::create_dir(stage.outside.join("folder"))),
    ("make a link outside", |stage| symlink("/", stage.outside.join("link"))),
    ("make a FIFO outside", |stage| Ok(mkfifoat(CWD, stage.outside.join("fifo"), Mode::RUSR)?)),
    ("make a socket outside", |stage| UnixListener::bind(stage.outside.join("s")).map(drop)),
    ("make a device", |stage| {
        Ok(mknodat(
            CWD,
            stage.inside.join("device"),
            FileType::CharacterDevice,
            Mode::RUSR,
            rustix::fs::makedev(1, 1),
        )?)
    }),
    (FILE_VIEW_ESCAPE, |stage| {
        Ok(chmodat(CWD, stage.secret(), Mode::from_raw_mode(0o666), AtFlags::empty())?)
    }),
    ("change the mode of a folder outside", |stage| {
        Ok(chmodat(CWD, &stage.outside, Mode::from_raw_mode(0o777), AtFlags::empty())?)
    }),
    ("change the owner of a file outside", |stage| {
        Ok(rustix::fs::chown(
            stage.secret(),
            Some(rustix::process::getuid()),
            Some(rustix::process::getgid()),
        )?)
    }),
    ("change the times of a file outside", |stage| {
        let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        Ok(utimensat(CWD, stage.secret(), &times, AtFlags::empty())?)
    }),
    ("set an attribute of a file outside", |stage| {
        Ok(setxattr(stage.secret(), "user.bgagent", b"x", XattrFlags::empty())?)
    }),
    ("leave a program that runs as its owner", |stage| {
        let program = stage.inside.join("owned");
        fs::write(&program, "x")?;
        Ok(chmodat(CWD, &program, Mode::from_raw_mode(0o4755), AtFlags::empty())?)
    }),
    ("move a file in", |stage| fs::rename(stage.secret(), stage.inside.join("stolen"))),
    ("move a file out", |stage| {
        fs::write(stage.inside.join("mine"), "x")?;
        fs::rename(stage.inside.join("mine"), stage.outside.join("mine"))
    }),
    ("reach a file by a hard link", |stage| {
        let link = stage.inside.join("hard");
        linkat(CWD, stage.secret(), CWD, &link, AtFlags::empty())?;
        fs::read(link).map(drop)
    }),
    ("reach a file by a symbolic link", |stage| {
        let link = stage.inside.join("soft");
        symlink(stage.secret(), &link)?;
        fs::read(link).map(drop)
    }),
    ("reach a file by `..`", |stage| {
        let up = stage.inside.join("../").join(stage.outside.file_name().unwrap_or_default()).join("secret");
        fs::read(up).map(drop)
    }),
    ("reach a file by /proc/self/root", |stage| fs::read(beneath("/proc/self/root", stage)).map(drop)),
    ("reach a file by another process's root", |stage| {
        fs::read(beneath(&format!("/proc/{}/root", stage.victim), stage)).map(drop)
    }),
    ("reach a file by another process's folder", |stage| {
        fs::read(format!("/proc/{}/cwd/secret", stage.victim)).map(drop)
    }),
    ("open a file that was opened as a path", |stage| {
        let held = openat(CWD, stage.secret(), OFlags::PATH, Mode::empty())?;
        let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
        fs::read(link).map(drop)
    }),
    ("read the passwords of the system", |_| fs::read("/etc/shadow").map(drop)),
    ("list the private keys of the system", |_| {
        fs::read_dir("/etc/ssl/private").or_else(|_| fs::read_dir("/etc/pki/tls/private")).map(drop)
    }),
    ("list the owner's home folder", |stage| fs::read_dir(&stage.home).map(drop)),
    ("execute what it wrote itself", |stage| {
        let program = stage.inside.join("program");
        fs::copy("/bin/true", &program)?;
        Command::new(program).status().map(drop)
    }),
    ("signal another process", |stage| Ok(kill_process(stage.victim()?, Signal::CONT)?)),
    ("signal another process by its handle", |stage| {
        let handle = pidfd_open(stage.victim()?, PidfdFlags::empty())?;
        Ok(pidfd_send_signal(handle, Signal::CONT)?)
    }),
    ("signal whoever started it", |_| {
        let parent = rustix::process::getppid().ok_or(Errno::SRCH)?;
        Ok(kill_process(parent, Signal::CONT)?)
    }),
    ("read another process's environment", |stage| read_some(format!("/proc/{}/environ", stage.victim))),
    ("read another process's memory", |stage| File::open(format!("/proc/{}/mem", stage.victim)).map(drop)),
    ("see another process's memory map", |stage| read_some(format!("/proc/{}/maps", stage.victim))),
    ("take another process's file", |stage| {
        let handle = pidfd_open(stage.victim()?, PidfdFlags::empty())?;
        Ok(pidfd_getfd(handle, 0, PidfdGetfdFlags::empty()).map(drop)?)
    }),
    ("set another process's limits", |stage| {
        let limit = rustix::process::getrlimit(Resource::Core);
        Ok(prlimit(Some(stage.victim()?), Resource::Core, limit).map(drop)?)
    }),
    ("set another process's priority", |stage| Ok(setpriority_process(Some(stage.victim()?), 1)?)),
    ("set the priority of all its owner's processes", |_| {
        Ok(setpriority_user(rustix::process::getuid(), 0)?)
    }),
    ("set another process's processors", |stage| {
        let mut one = rustix::thread::CpuSet::new();
        one.set(0);
        Ok(sched_setaffinity(Some(stage.victim()?), &one)?)
    }),
    ("make another process the next to be killed", |stage| {
        OpenOptions::new().write(true).open(format!("/proc/{}/oom_score_adj", stage.victim)).map(drop)
    }),
    ("connect to a port of this machine", |stage| TcpStream::connect(("127.0.0.1", stage.port)).map(drop)),
    ("connect to the internet", |_| Ok(socket(AddressFamily::INET6, SocketType::STREAM, None).map(drop)?)),
    ("listen on a port", |_| TcpListener::bind(("127.0.0.1", 0)).map(drop)),
    ("send a datagram", |stage| {
        UdpSocket::bind(("127.0.0.1", 0))?.send_to(b"x", ("127.0.0.1", stage.port)).map(drop)
    }),
    ("connect to a socket of its owner", |stage| UnixStream::connect(stage.outside.join("socket")).map(drop)),
    ("connect to an abstract socket", |stage| {
        let address = SocketAddrUnix::new_abstract_name(stage.abstract_name().as_bytes())?;
        let ours = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        Ok(connect(&ours, &address)?)
    }),
    ("send to a socket by one of a pair", |stage| {
        let (ours, _theirs) =
            socketpair(AddressFamily::UNIX, SocketType::DGRAM, rustix::net::SocketFlags::empty(), None)?;
        let address = SocketAddrUnix::new(stage.outside.join("datagrams"))?;
        Ok(sendto(&ours, b"x", SendFlags::empty(), &address).map(drop)?)
    }),
    ("talk to the kernel by netlink", |_| {
        Ok(socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop)?)
    }),
    ("see all packets", |_| Ok(socket(AddressFamily::PACKET, SocketType::RAW, None).map(drop)?)),
    (
        "talk to the machine beneath",
        |_| Ok(socket(AddressFamily::VSOCK, SocketType::STREAM, None).map(drop)?),
    ),
    ("make a namespace of users", |_| unshare(UnshareFlags::NEWUSER)),
    ("make a namespace of the network", |_| unshare(UnshareFlags::NEWNET)),
    ("make a namespace of mounts", |_| unshare(UnshareFlags::NEWNS)),
    ("enter the namespaces of another process", |stage| {
        let space = File::open(format!("/proc/{}/ns/user", stage.victim))?;
        Ok(rustix::thread::move_into_link_name_space(space.as_fd(), None)?)
    }),
    ("change the root folder", |stage| Ok(rustix::process::chroot(&stage.inside)?)),
    ("name the machine", |_| {
        let name = rustix::system::uname().nodename().to_owned();
        Ok(rustix::system::sethostname(name.to_bytes())?)
    }),
    ("gain privileges by a program that has some", |_| match rustix::thread::no_new_privs()? {
        true => Err(Errno::PERM.into()),
        false => Ok(()),
    }),
    ("use what root can", |_| {
        let sets = rustix::thread::capabilities(None)?;
        match sets.effective.is_empty() && sets.permitted.is_empty() {
            true => Err(Errno::PERM.into()),
            false => Ok(()),
        }
    }),
    ("leave a core", |_| match rustix::process::getrlimit(Resource::Core).maximum {
        Some(0) => Err(Errno::PERM.into()),
        _ => Ok(()),
    }),
    ("inherit a file of whoever started it", |_| inherited()),
];

/// Escapes by a program with a network of its own: past the proxy, or through it to destinations that it does not allow.
pub(super) const NETWORK_ESCAPES: &[(&str, Escape)] = &[
    ("within a network: connect to a port of this machine", |stage| {
        TcpStream::connect(("127.0.0.1", stage.port)).map(drop)
    }),
    ("within a network: connect to it by its IPv4-mapped IPv6 address", |stage| {
        TcpStream::connect(("::ffff:127.0.0.1", stage.port)).map(drop)
    }),
    ("within a network: connect to the internet", |_| TcpStream::connect(("192.0.2.1", 443)).map(drop)),
    ("within a network: connect by TCP Fast Open", |stage| {
        const FASTOPEN: u32 = 0x2000_0000; // MSG_FASTOPEN
        let ours = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        let address = SocketAddr::from(([127, 0, 0, 1], stage.port));
        Ok(sendto(&ours, b"x", SendFlags::from_bits_retain(FASTOPEN), &address).map(drop)?)
    }),
    ("within a network: make a socket of Multipath TCP", |_| {
        let multipath = RawProtocol::new(262).map(Protocol::from_raw); // IPPROTO_MPTCP
        Ok(socket(AddressFamily::INET, SocketType::STREAM, multipath).map(drop)?)
    }),
    ("within a network: send a datagram", |stage| {
        let ours = UdpSocket::bind(("127.0.0.1", 0))?;
        ours.connect(("127.0.0.1", stage.port))?;
        ours.send(b"x")?;
        ours.set_read_timeout(Some(Duration::from_secs(1)))?;
        // if nobody listens, the kernel reports an error
        ours.recv(&mut [0]).map(drop)
    }),
    ("within a network: send raw packets", |_| {
        Ok(socket(AddressFamily::INET, SocketType::RAW, Some(rustix::net::ipproto::ICMP)).map(drop)?)
    }),
    ("within a network: add an interface or a route", |_| {
        Ok(socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop)?)
    }),
    ("within a network: connect to a socket of its owner", |stage| {
        UnixStream::connect(stage.outside.join("socket")).map(drop)
    }),
    ("within a network: connect to an abstract socket", |stage| {
        let address = SocketAddrUnix::new_abstract_name(stage.abstract_name().as_bytes())?;
        let ours = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        Ok(connect(&ours, &address)?)
    }),
    ("within a network: leave it for another", |_| unshare(UnshareFlags::NEWNET)),
    ("within a network: enter that of another process", |stage| {
        let space = File::open(format!("/proc/{}/ns/net", stage.victim))?;
        Ok(rustix::thread::move_into_link_name_space(space.as_fd(), None)?)
    }),
    ("within a network: use what root can there", |_| {
        let sets = rustix::thread::capabilities(None)?;
        match sets.effective.is_empty() && sets.permitted.is_empty() {
            true => Err(Errno::PERM.into()),
            false => Ok(()),
        }
    }),
    ("within a network: inherit the way out itself", |_| inherited()),
    ("by its proxy: reach a port of this machine", |stage| {
        tunnel_by_proxy(&format!("127.0.0.1:{}", stage.port), true)
    }),
    ("by its proxy: reach it by name", |stage| tunnel_by_proxy(&format!("localhost:{}", stage.port), true)),
    ("by its proxy: reach it by another form of its address", |stage| {
        tunnel_by_proxy(&format!("[::ffff:127.0.0.1]:{}", stage.port), true)
    }),
    ("by its proxy: reach the cloud's metadata service", |_| tunnel_by_proxy("169.254.169.254:80", true)),
    ("by its proxy: reach another port of a host that is allowed", |_| {
        tunnel_by_proxy("bgagent.invalid:81", true)
    }),
    ("by its proxy: reach what is allowed and is not there", |_| allowed_destination()),
    ("by its proxy: do without the key", |_| tunnel_by_proxy("bgagent.invalid:80", false)),
];

/// The destination that a program with a network may connect to. It does not exist (RFC 6761, 6.4).
pub(super) const ALLOWED: &str = "bgagent.invalid:80";

/// Asks the proxy for a tunnel. Only a refusal counts as prevented, not the absence of the proxy.
fn tunnel_by_proxy(place: &str, with_key: bool) -> io::Result<()> {
    match proxy_answer(place, with_key).as_deref() {
        Ok(code @ ("403" | "407")) => Err(io::Error::other(format!("the proxy answered {code}"))),
        _ => Ok(()),
    }
}

/// Verifies that an allowed destination reaches the look-up; otherwise refusals by the proxy would prove nothing.
fn allowed_destination() -> io::Result<()> {
    match proxy_answer(ALLOWED, true).as_deref() {
        Ok("502" | "504") => Err(io::Error::other("it was looked up, and is nobody's")),
        _ => Ok(()),
    }
}

fn proxy_answer(place: &str, with_key: bool) -> io::Result<String> {
    let proxy = std::env::var("HTTP_PROXY").map_err(io::Error::other)?;
    let (login, address) =
        proxy.strip_prefix("http://").and_then(|rest| rest.split_once('@')).ok_or(Errno::INVAL)?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(40)))?;
    let key = format!("Proxy-Authorization: Basic {}\r\n", BASE64.encode(login));
    let key = if with_key { key.as_str() } else { "" };
    stream.write_all(format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{key}\r\n").as_bytes())?;
    let mut answer = [0; 512];
    let count = stream.read(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer[..count]);
    answer.split_whitespace().nth(1).map(str::to_owned).ok_or_else(|| Errno::PROTO.into())
}

/// Shell commands that start a process to outlive the program; the number identifies it by its arguments.
pub(super) const OUTLIVING_COMMANDS: &[(&str, &str)] = &[
    ("outlive it in the background", "sleep N & true"),
    ("outlive it in a session of its own", "setsid sleep N & true"),
    ("outlive it without environment", "(setsid env -i sleep N &) ; true"),
    ("outlive it by forking twice", "setsid sh -c '(env -i sleep N &) ; true'"),
    ("outlive it by not hearing", "(trap '' TERM HUP INT; setsid env -i sleep N &) ; true"),
];

fn beneath(root: &str, stage: &Stage) -> PathBuf {
    PathBuf::from(format!("{root}{}", stage.secret().display()))
}

fn read_some(path: String) -> io::Result<()> {
    let mut some = [0; 16];
    File::open(path)?.read(&mut some).map(drop)
}

/// Succeeds if a file, pipe or socket was inherited besides standard input, output and error. Files that the process
/// opened itself are marked close-on-exec; inherited ones are not.
fn inherited() -> io::Result<()> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000; // O_CLOEXEC, as in proc_pid_fdinfo(5)
    let came_along = |number: u32| {
        let about = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
        flags
            .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
            .is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
    };
    if (3..4096).any(came_along) { Ok(()) } else { Err(Errno::NOENT.into()) }
}

fn unshare(what: UnshareFlags) -> io::Result<()> {
    #[expect(deprecated, reason = "its replacement is unsafe; this process has one thread and ends soon")]
    Ok(rustix::thread::unshare(what)?)
}

/// Attempts all escapes that apply to the sandbox, and prints a line for each: its index, and the error, or nothing if
/// it succeeded.
pub(super) fn try_all(stage: &Stage) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let escapes = if stage.has_network { NETWORK_ESCAPES } else { ESCAPES };
    for (at, (_, escape)) in escapes.iter().enumerate() {
        let said = escape(stage).err().map(|error| error.to_string()).unwrap_or_default();
        writeln!(out, "{at}\t{}", said.replace('\n', " "))?;
    }
    out.flush()?;
    if stage.has_network {
        return Ok(());
    }
    for (at, (_, script)) in OUTLIVING_COMMANDS.iter().enumerate() {
        let script = script.replace('N', &stage.lasting(at).to_string());
        let _ = Command::new("/bin/sh").args(["-c", &script]).status();
    }
    Ok(())
}
