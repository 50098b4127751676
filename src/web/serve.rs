//! Serves the page: the listener on loopback, the links, and the shutdown.
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

/// The server ends after this time without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(12 * 3600);
/// Maximum number of concurrent connections.
const MAX_CONNECTIONS: usize = 256;
/// Timeout for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of the server.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// The address to listen on; port 0: any free port.
    pub listen: SocketAddr,
    /// Changes are enabled: agents can be started and paused, calls approved.
    pub control: bool,
    /// Open it in the browser.
    pub open: bool,
    /// The folder for the file that leads the browser to the page.
    pub state_dir: PathBuf,
}

/// Serves the page until the process is ended, or for twelve hours without a request. `say` receives the links when it
/// is ready, and again for each line on standard input.
///
/// # Errors
/// The address is not on loopback, or is not available.
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
        // signals are handled from now on, so that ending early leaves no file behind
        let signals = EndSignals::register();
        // removed at the end, whatever the opener does
        let _launch_file = options.open.then(|| open_in_browser(&first, &options.state_dir));
        print_link_on_enter(links);
        tokio::select! {
            () = accept(listener, second, router(web.clone())) => {}
            () = web.is_idle_for(IDLE_TIMEOUT) => {}
            () = ended(signals) => {}
        }
        Ok(())
    });
    // a daemon that hangs must not prevent the shutdown
    runtime.shutdown_background();
    served
}

/// Binds the port on both loopback addresses: a browser that resolves `*.localhost` may try `::1` first, and a process
/// that listens there would receive the link.
async fn bind(wanted: SocketAddr) -> io::Result<(TcpListener, Option<TcpListener>)> {
    const MAX_ATTEMPTS: usize = 20;
    for _ in 0..MAX_ATTEMPTS {
        let listener = TcpListener::bind(wanted).await?;
        let port = listener.local_addr()?.port();
        match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(second) => return Ok((listener, Some(second))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && wanted.port() == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            // IPv6 is not available
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
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let me = rustix::process::geteuid().as_raw();
    loop {
        let Ok((stream, peer)) = next(&listener, second.as_ref()).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // at the limit, connections are closed at once instead of queued
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let router = router.clone();
        tokio::spawn(async move {
            let Ok(own) = stream.local_addr() else { return };
            let owner = tokio::task::spawn_blocking(move || owner_of(peer, own)).await;
            // root can read everything anyway
            let is_let_in = match owner {
                Ok(PeerOwner::User(user)) => user == me || user == 0,
                Ok(PeerOwner::Unknown) => true,
                Ok(PeerOwner::Nobody) | Err(_) => false,
            };
            if is_let_in {
                serve_connection(stream, router).await;
            }
            drop(place);
        });
    }
}

async fn serve_connection(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The signals that end the server.
struct EndSignals([tokio::signal::unix::Signal; 3]);

impl EndSignals {
    /// Registers the handlers, which replace the default action. `None`: they can't be registered.
    fn register() -> Option<Self> {
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

/// Prints another link when the user presses Enter. Runs on a thread of its own, since reading can't be interrupted.
fn print_link_on_enter(links: impl Fn() -> String + Send + 'static) {
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

/// Passes the browser a file that leads to the page, instead of the link, since arguments of programs are visible to
/// others. The file is removed after a minute, or when the returned value is dropped, whichever comes first.
fn open_in_browser(url: &str, state_dir: &std::path::Path) -> Option<LaunchFile> {
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
    let launch_file = LaunchFile(Arc::new(Mutex::new(Some(file))));
    let file = launch_file.0.clone();
    let _ = std::thread::Builder::new().name("opener".into()).spawn(move || {
        let _ = child.wait();
        // the browser may read it long after its launcher has exited
        std::thread::sleep(Duration::from_secs(60));
        drop(file.lock().expect("no holder panics").take());
    });
    Some(launch_file)
}

/// The file that leads a browser to the page; removed on drop.
struct LaunchFile(Arc<Mutex<Option<tempfile::NamedTempFile>>>);

impl Drop for LaunchFile {
    fn drop(&mut self) {
        drop(self.0.lock().expect("no holder panics").take());
    }
}
