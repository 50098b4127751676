//! Starts the page: a listener on loopback, the links, and the end.
use super::admission::Admission;
use super::admit::admit;
use super::ask::DaemonPool;
use super::pages;
use super::peer::{PeerOwner, owner_of};
use super::state::{Web, WebState};
use super::{act, live};
use crate::client::Address;
use axum::Router;
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Without a request for so long, it ends.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// Connections at a time.
const CONNECTIONS: usize = 256;
/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// How the page is served.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// Where it listens; port 0: any that is free.
    pub listen: SocketAddr,
    /// Agents can be started, paused and approved from it.
    pub control: bool,
    /// Hand it to the browser.
    pub open: bool,
    /// Where the file is put that leads the browser to it.
    pub state_dir: PathBuf,
}

/// Serves the page until the process is ended, or nobody has looked for twelve hours. `say` is given the links when it can be
/// opened, and again for each line on standard input.
///
/// # Errors
/// The address is not one of loopback, or can't be had.
pub fn serve(
    address: Address,
    options: &WebOptions,
    say: impl Fn(&str, &str) + Send + Sync + 'static,
) -> io::Result<()> {
    if !options.listen.ip().is_loopback() || options.listen.is_ipv6() {
        let what = format!(
            "{} is not an address of loopback (127.0.0.1): anyone who reaches the page could read everything; from another machine, use `ssh -L {1}:127.0.0.1:{1} HOST`",
            options.listen.ip(),
            if options.listen.port() == 0 { 8080 } else { options.listen.port() },
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(async {
        let (listener, second) = bind(options.listen).await?;
        let own = listener.local_addr()?;
        let admission = Admission::new(own.port());
        let web: Web = Arc::new(WebState::new(admission, DaemonPool::new(address), options.control));
        live::follow(&web);
        let links = {
            let web = web.clone();
            move || {
                let (own, plain) = web.admission.new_link();
                say(&own, &plain);
                own
            }
        };
        let first = links();
        // heard from now on: whoever ends this early leaves no file behind
        let signals = EndSignals::heard();
        // it is taken away at the end, whatever the opener does
        let _led = options.open.then(|| open_in_browser(&first, &options.state_dir));
        another_link_for_each_line(links);
        tokio::select! {
            () = accept(listener, second, router(web.clone())) => {}
            () = web.is_idle_for(IDLE) => {}
            () = ended(signals) => {}
        }
        Ok(())
    });
    // a daemon that hangs keeps nobody from ending this
    runtime.shutdown_background();
    served
}

/// The port on both addresses of loopback: a browser that resolves `*.localhost` may try `::1` first, and whoever had the
/// port there would be sent the link.
async fn bind(wanted: SocketAddr) -> io::Result<(TcpListener, Option<TcpListener>)> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        let listener = TcpListener::bind(wanted).await?;
        let port = listener.local_addr()?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(second) => return Ok((listener, Some(second))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && wanted.port() == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // there is no IPv6 here
            Err(_) => return Ok((listener, None)),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

async fn next(listener: &TcpListener, second: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    let Some(second) = second else { return listener.accept().await };
    tokio::select! {
        came = listener.accept() => came,
        came = second.accept() => came,
    }
}

fn router(web: Web) -> Router {
    let mut router = pages::routes().route("/live", get(live::live));
    if web.control {
        router = router.route("/act", post(act::act));
    }
    let admitted = axum::middleware::from_fn_with_state(web.clone(), admit);
    router.fallback(super::frame::not_found).layer(admitted).with_state(web)
}

async fn accept(listener: TcpListener, second: Option<TcpListener>, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let me = rustix::process::geteuid().as_raw();
    loop {
        let Ok((stream, peer)) = next(&listener, second.as_ref()).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // who is not let in is not kept waiting either
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let router = router.clone();
        tokio::spawn(async move {
            let Ok(own) = stream.local_addr() else { return };
            let owner = tokio::task::spawn_blocking(move || owner_of(peer, own)).await;
            // root sees everything anyway
            let is_let_in = match owner {
                Ok(PeerOwner::User(user)) => user == me || user == 0,
                Ok(PeerOwner::Unknown) => true,
                Ok(PeerOwner::Nobody) | Err(_) => false,
            };
            if is_let_in {
                talk(stream, router).await;
            }
            drop(place);
        });
    }
}

async fn talk(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// What ends this.
struct EndSignals([tokio::signal::unix::Signal; 3]);

impl EndSignals {
    /// From now on they end nothing by themselves. `None`: they can't be heard.
    fn heard() -> Option<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let one = |kind: SignalKind| signal(kind).ok();
        Some(Self([one(SignalKind::interrupt())?, one(SignalKind::terminate())?, one(SignalKind::hangup())?]))
    }
}

async fn ended(signals: Option<EndSignals>) {
    let Some(EndSignals([mut interrupt, mut term, mut hup])) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
}

/// A person who presses Enter gets another link. A thread of its own: reading can't be broken off.
fn another_link_for_each_line(links: impl Fn() -> String + Send + 'static) {
    use std::io::IsTerminal;
    if !io::stdin().is_terminal() {
        return;
    }
    let _ = std::thread::Builder::new().name("links".into()).spawn(move || {
        for line in io::stdin().lines() {
            if line.is_err() {
                return;
            }
            links();
        }
    });
}

/// Hands over a file that leads to the page, and not the link: arguments of programs can be read by others.
/// The file is there for a minute, or for as long as what is returned, whichever is shorter.
fn open_in_browser(url: &str, state_dir: &std::path::Path) -> Option<Led> {
    let file = tempfile::Builder::new().prefix("ui-").suffix(".html").tempfile_in(state_dir);
    let mut file = file.ok()?;
    let page = format!(
        "<!doctype html><meta http-equiv=\"refresh\" content=\"0;url={url}\"><a href=\"{url}\">To the page</a>\n"
    );
    io::Write::write_all(&mut file, page.as_bytes()).ok()?;
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started = std::process::Command::new(opener)
        .arg(file.path())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut child = started.ok()?;
    let led = Led(Arc::new(Mutex::new(Some(file))));
    let file = led.0.clone();
    let _ = std::thread::Builder::new().name("opener".into()).spawn(move || {
        let _ = child.wait();
        // the browser reads it after its starter has ended, at its leisure
        std::thread::sleep(Duration::from_secs(60));
        drop(file.lock().expect("no holder panics").take());
    });
    Some(led)
}

/// The file that leads a browser to the page. It goes with this.
struct Led(Arc<Mutex<Option<tempfile::NamedTempFile>>>);

impl Drop for Led {
    fn drop(&mut self) {
        drop(self.0.lock().expect("no holder panics").take());
    }
}
