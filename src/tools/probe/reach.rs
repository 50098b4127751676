//! Checks of other machines: HTTP addresses and TCP ports.
use super::level::Thresholds;
use super::spec::{Statuses, host_and_port, shown};
use super::{Measured, plain};
use crate::domain::Level;
use crate::net::{self, Redirects};
use crate::tools::system_metrics::tenth;
use reqwest::Url;
use std::time::Instant;
use tokio::net::TcpStream;

/// So much of an answer is read.
const MAX_BODY: usize = 1 << 20;

pub(super) async fn http(
    url: &Url,
    status: &Statuses,
    contains: Option<&str>,
    thresholds: &Thresholds,
) -> Measured {
    let name = shown(url);
    // Whoever asks for a redirect wants to see it.
    let redirects = match status {
        Statuses::Of(list) if list.iter().any(|status| (300..400).contains(status)) => Redirects::Refuse,
        _ => Redirects::Follow,
    };
    let client = match net::client(url, redirects) {
        Ok(client) => client,
        Err(error) => return Measured::failed(format!("{name} can't be asked: {error}")),
    };
    let started = Instant::now();
    let mut answer = match client.get(url.clone()).send().await {
        Ok(answer) => answer,
        Err(error) => return Measured::failed(format!("{name}: {}", net::describe(&error))),
    };
    let got = answer.status().as_u16();
    if !is_right(status, got) {
        let wanted = match status {
            Statuses::Usual => "200 to 399".to_owned(),
            Statuses::Of(list) => list.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
        };
        return Measured::failed(format!("{name} answered {got}, not {wanted}"));
    }
    let mut body = Vec::new();
    while body.len() < MAX_BODY {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY - body.len())]),
            Ok(None) => break,
            Err(error) => return Measured::failed(format!("{name}: {}", net::describe(&error))),
        }
    }
    let ms = started.elapsed().as_secs_f64() * 1000.0;
    if let Some(wanted) = contains
        && !has(&body, wanted.as_bytes())
    {
        let wanted: String = wanted.chars().filter(|c| !c.is_control()).take(60).collect();
        let within = if body.len() >= MAX_BODY { " in its first 1 MiB" } else { "" };
        let title = format!("{name} answered {got} without \"{wanted}\"{within}");
        return Measured { level: Level::Crit, value: Some(ms), unit: Some("ms"), title };
    }
    Measured::judged(thresholds, ms, "ms", format!("{name} answered {got} in {} ms", plain(tenth(ms))))
}

pub(super) async fn tcp(host: &str, port: u16, thresholds: &Thresholds) -> Measured {
    let name = host_and_port(host, port);
    let started = Instant::now();
    match TcpStream::connect((host, port)).await {
        Ok(_) => {
            let ms = started.elapsed().as_secs_f64() * 1000.0;
            Measured::judged(
                thresholds,
                ms,
                "ms",
                format!("{name} accepted a connection in {} ms", plain(tenth(ms))),
            )
        }
        Err(cause) => Measured::failed(format!("{name} can't be reached: {cause}")),
    }
}

fn is_right(status: &Statuses, got: u16) -> bool {
    match status {
        Statuses::Usual => (200..400).contains(&got),
        Statuses::Of(list) => list.contains(&got),
    }
}

fn has(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|window| window == wanted)
}
