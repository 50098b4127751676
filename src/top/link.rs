//! The daemon's side of the screen: one thread follows events, one asks, and each act has its own, since it may take as long
//! as a run does. What they learn goes into one queue.
use super::asks::{Act, TopAsk, TopHeard, TopReply};
use super::update::TopInput;
use crate::client::{Address, Backoff, ClientError, Connection, Follow, Followed, Note, Timeouts};
use crate::protocol::StreamParams;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Events of before that the log begins with.
const LAST: u64 = 200;
/// An act waits for its runs to end.
const PATIENCE: Duration = Duration::from_secs(600);

/// The way to the daemon.
pub(super) struct TopLink {
    address: Address,
    asks: Sender<TopAsk>,
    outlet: Outlet,
    /// What is heard and answered.
    pub(super) inputs: Receiver<TopInput>,
}

/// Puts inputs into the queue, and wakes whoever waits for them.
#[derive(Clone)]
struct Outlet {
    queue: Sender<TopInput>,
    wake: Option<Arc<std::fs::File>>,
}

impl Outlet {
    /// False: nobody takes them any more.
    fn send(&self, input: TopInput) -> bool {
        let sent = self.queue.send(input).is_ok();
        if let Some(wake) = &self.wake {
            // a full pipe wakes as well
            let _ = (&**wake).write(&[0]);
        }
        sent
    }
}

impl TopLink {
    /// Follows and asks from now on. A byte is written to `wake` for each input.
    ///
    /// # Errors
    /// The daemon can't be reached now; later that is an input.
    pub(super) fn start(address: &Address, wake: Option<OwnedFd>) -> Result<Self, ClientError> {
        let backoff = Backoff { first: Duration::from_millis(250), max: Duration::from_secs(2) };
        let params = StreamParams {
            agents: Vec::new(),
            types: Vec::new(),
            run_id: None,
            from: None,
            since: None,
            last: Some(LAST),
            resume: false,
            until: None,
            follow: true,
        };
        let follow = Follow::start(address.clone(), Timeouts::default(), backoff, params, None)?;
        let (queue, inputs) = channel();
        let outlet = Outlet { queue, wake: wake.map(|fd| Arc::new(std::fs::File::from(fd))) };
        let (asks, wanted) = channel();
        let (to, at) = (outlet.clone(), address.clone());
        std::thread::spawn(move || hear(follow, &to));
        let to = outlet.clone();
        std::thread::spawn(move || answer(&at, &wanted, &to));
        Ok(Self { address: address.clone(), asks, outlet, inputs })
    }

    /// Asks; the answer is an input.
    pub(super) fn ask(&self, ask: TopAsk) {
        // the thread ends with the program
        let _ = self.asks.send(ask);
    }

    /// Does it; what came of it is an input.
    pub(super) fn act(&self, act: Act) {
        let (address, to) = (self.address.clone(), self.outlet.clone());
        std::thread::spawn(move || {
            let done = Connection::open(&address, Timeouts::default()).and_then(|mut connection| {
                connection.set_answer_timeout(PATIENCE);
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

fn hear(mut follow: Follow, to: &Outlet) {
    loop {
        let heard = match follow.next(None) {
            Ok(Followed::Event(stored)) => match stored.decode() {
                Ok(event) => TopHeard::Event(Box::new(event)),
                // of a newer daemon
                Err(_) => continue,
            },
            Ok(Followed::Gap { from, to }) => TopHeard::Gap(from, to),
            Ok(Followed::Note(Note::Gone { .. })) => TopHeard::Gone,
            Ok(Followed::Note(Note::Back)) => TopHeard::Back,
            Ok(Followed::Note(Note::OtherDatabase | Note::WentBack { .. } | Note::Ahead { .. })) => {
                TopHeard::OtherDatabase
            }
            Ok(Followed::Live | Followed::End | Followed::Deadline) => continue,
            Err(error) => {
                to.send(TopInput::Heard(TopHeard::Lost(error.to_string())));
                return;
            }
        };
        if !to.send(TopInput::Heard(heard)) {
            return;
        }
    }
}

fn answer(address: &Address, wanted: &Receiver<TopAsk>, to: &Outlet) {
    let mut connection = None;
    for ask in wanted {
        let said = match &mut connection {
            Some(open) => ask.ask(open),
            None => Connection::open(address, Timeouts::default())
                .and_then(|open| ask.ask(connection.insert(open))),
        };
        let said = said.map_err(|error| match error {
            ClientError::Refused(_) if !error.is_passing() => Some(error.to_string()),
            // on a new connection the answer would be known to be of this question
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
