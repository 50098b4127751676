//! A collector of traces: takes what OTLP over HTTP sends, and decodes it by the messages of OpenTelemetry.
use crate::support::wait_for;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// One request.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

/// A collector on loopback, for as long as the test lasts.
pub(super) struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Sent>>>,
    /// What the next requests get instead of being taken.
    statuses: Arc<Mutex<VecDeque<u16>>>,
}

impl Collector {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (taken, statuses) = (Arc::<Mutex<Vec<Sent>>>::default(), Arc::<Mutex<VecDeque<u16>>>::default());
        let shared = (taken.clone(), statuses.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (taken, statuses) = shared.clone();
                std::thread::spawn(move || serve(stream, &taken, &statuses));
            }
        });
        Self { address, taken, statuses }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests are not taken.
    pub(super) fn refuses_with(&self, statuses: &[u16]) {
        self.statuses.lock().expect("no test panics here").extend(statuses);
    }

    pub(super) fn taken(&self) -> Vec<Sent> {
        self.taken.lock().expect("no test panics here").clone()
    }

    /// All requests so far, decoded.
    pub(super) fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let decode = |sent: &Sent| ExportTraceServiceRequest::decode(&*sent.body).expect("a request of OTLP");
        self.taken().iter().map(decode).collect()
    }

    /// The spans of a run, once the run itself is there.
    #[track_caller]
    pub(super) fn spans_of(&self, run: &serde_json::Value) -> Vec<Span> {
        let trace = run.as_str().expect("an id").replace('-', "");
        wait_for("the trace of a run", || {
            let all = self.requests();
            let of_requests = all.into_iter().flat_map(|request| request.resource_spans);
            let spans = of_requests.flat_map(|of| of.scope_spans).flat_map(|of| of.spans);
            let spans: Vec<Span> = spans.filter(|span| hex(&span.trace_id) == trace).collect();
            spans.iter().any(|span| span.parent_span_id.is_empty()).then_some(spans)
        })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The span of this name; of several, the first.
#[track_caller]
pub(super) fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| {
        panic!("no {name} in {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>())
    })
}

/// An attribute as a text.
pub(super) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|one| one.key == key)?;
    said(found.value.as_ref()?)
}

fn said(value: &AnyValue) -> Option<String> {
    Some(match value.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        Value::ArrayValue(all) => all.values.iter().filter_map(said).collect::<Vec<_>>().join(","),
        _ => return None,
    })
}

fn serve(stream: TcpStream, taken: &Mutex<Vec<Sent>>, statuses: &Mutex<VecDeque<u16>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
    let mut stream = stream;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&lower);
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let status = statuses.lock().expect("no test panics here").pop_front();
        if status.is_none() {
            taken.lock().expect("no test panics here").push(Sent { head, body });
        }
        let status = status.unwrap_or(200);
        if write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}
