//! The connection to the daemon: one thread follows events, one sends requests, and each change has its own thread,
//! since it may take as long as a run. All of them write to one queue.
use super::asks::{Act, TopNotice, TopReply, TopRequest};
use super::update::TopInput;
use crate::client::{Address, Backoff, ClientError, Connection, Follow, FollowItem, Note, Timeouts};
use crate::protocol::StreamParams;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Number of past events that the log begins with.
const INITIAL_EVENT_COUNT: u64 = 200;
/// Timeout of a change, which may wait for runs to end.
const ACT_TIMEOUT: Duration = Duration::from_secs(600);

/// The connection to the daemon.
pub(super) struct TopLink {
    address: Address,
    asks: Sender<TopRequest>,
    outlet: Outlet,
    /// Events and answers.
    pub(super) inputs: Receiver<TopInput>,
}

/// Puts inputs into the queue, and wakes the loop.
#[derive(Clone)]
struct Outlet {
    queue: Sender<TopInput>,
    wake: Option<Arc<std::fs::File>>,
}

impl Outlet {
    /// Sends an input. Returns false if the receiver is gone.
    fn send(&self, input: TopInput) -> bool {
        let sent = self.queue.send(input).is_ok();
        if let Some(wake) = &self.wake {
            // a full pipe wakes the loop as well
            let _ = (&**wake).write(&[0]);
        }
        sent
    }
}

impl TopLink {
    /// Starts following and asking. A byte is written to `wake` for each input.
    ///
    /// # Errors
    /// The daemon can't be reached now; later failures arrive as inputs.
    pub(super) fn start(address: &Address, wake: Option<OwnedFd>) -> Result<Self, ClientError> {
        let backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(2) };
        let params = StreamParams {
            agents: Vec::new(),
            types: Vec::new(),
            run_id: None,
            from: None,
            since: None,
            last: Some(INITIAL_EVENT_COUNT),
            resume: false,
            until: None,
            follow: true,
        };
        let follow = Follow::start(address.clone(), Timeouts::default(), backoff, params, None)?;
        let (queue, inputs) = channel();
        let outlet = Outlet { queue, wake: wake.map(|fd| Arc::new(std::fs::File::from(fd))) };
        let (asks, wanted) = channel();
        let (to, at) = (outlet.clone(), address.clone());
        std::thread::spawn(move || follow_events(follow, &to));
        let to = outlet.clone();
        std::thread::spawn(move || answer_requests(&at, &wanted, &to));
        Ok(Self { address: address.clone(), asks, outlet, inputs })
    }

    /// Sends a request; its answer arrives as an input.
    pub(super) fn ask(&self, ask: TopRequest) {
        // the thread lives as long as the program
        let _ = self.asks.send(ask);
    }

    /// Carries out a change; its outcome arrives as an input.
    pub(super) fn act(&self, act: Act) {
        let (address, to) = (self.address.clone(), self.outlet.clone());
        std::thread::spawn(move || {
            let done = Connection::open(&address, Timeouts::default()).and_then(|mut connection| {
                connection.set_answer_timeout(ACT_TIMEOUT);
                act.perform(&mut connection)
            });
            to.send(TopInput::Acted(done.map_err(|error| in_words(&error))));
        });
    }
}

fn in_words(error: &ClientError) -> String {
    let hint = match error {
        ClientError::Refused(error) => error.data.as_ref().and_then(|data| data.hint.clone()),
        _ => None,
    };
    hint.map_or_else(|| error.to_string(), |hint| format!("{error} ({hint})"))
}

fn follow_events(mut follow: Follow, to: &Outlet) {
    loop {
        let heard = match follow.next(None) {
            Ok(FollowItem::Event(stored)) => match stored.decode() {
                Ok(event) => TopNotice::Event(Box::new(event)),
                // an event type of a newer daemon
                Err(_) => continue,
            },
            Ok(FollowItem::Gap { from, to }) => TopNotice::Gap(from, to),
            Ok(FollowItem::Note(Note::Gone { .. })) => TopNotice::Gone,
            Ok(FollowItem::Note(Note::Back)) => TopNotice::Back,
            Ok(FollowItem::Note(Note::OtherDatabase | Note::WentBack { .. } | Note::Ahead { .. })) => {
                TopNotice::OtherDatabase
            }
            Ok(FollowItem::Live | FollowItem::End | FollowItem::Deadline) => continue,
            Err(error) => {
                to.send(TopInput::Heard(TopNotice::Lost(error.to_string())));
                return;
            }
        };
        if !to.send(TopInput::Heard(heard)) {
            return;
        }
    }
}

fn answer_requests(address: &Address, wanted: &Receiver<TopRequest>, to: &Outlet) {
    let mut connection = None;
    for ask in wanted {
        let said = match &mut connection {
            Some(open) => ask.ask(open),
            None => Connection::open(address, Timeouts::default())
                .and_then(|open| ask.ask(connection.insert(open))),
        };
        let said = said.map_err(|error| match error {
            ClientError::Refused(_) if !error.is_passing() => Some(error.to_string()),
            // reconnect, so that a late answer is not taken for that of another request
            _ => {
                connection = None;
                None
            }
        });
        if !to.send(TopInput::Replied(Box::new(TopReply { ask, said }))) {
            return;
        }
    }
}
