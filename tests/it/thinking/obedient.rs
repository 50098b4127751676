//! A model that follows every order that it reads, wherever it reads it: what keeps it from doing harm is
//! the configuration of its agent, and nothing else. Each order has a witness that would know if it was
//! carried out, and a twin that is allowed to and is, so that the witness is known to see.
mod channels;
mod orders;
mod outward;
mod reports;

use super::*;

/// An order in the words that the model follows: the tool by the name that a provider knows, and its
/// arguments. As digits it stays what it is in a web page, in JSON and in a path.
fn order(tool: &str, args: &Value) -> String {
    let bytes = json!([tool, args]).to_string().into_bytes();
    format!("@@{}@@", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// The orders in a text.
fn orders_in(text: &str) -> Vec<(String, String)> {
    text.split("@@").filter_map(order_of).collect()
}

fn order_of(digits: &str) -> Option<(String, String)> {
    let digits = Some(digits).filter(|digits| digits.len() % 2 == 0 && digits.is_ascii())?;
    let bytes = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok());
    let order: Value = serde_json::from_slice(&bytes.collect::<Option<Vec<u8>>>()?).ok()?;
    Some((order[0].as_str()?.to_owned(), order[1].to_string()))
}

/// An order as it comes back in a later request: providers know names of few characters only.
fn plain((tool, args): &(String, String)) -> (String, String) {
    (tool.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_"), args.clone())
}

/// Calls that the model has made in a conversation: tool and arguments, as [`plain`] has them.
fn made(request: &Request) -> Vec<(String, String)> {
    let messages = request.json["messages"].as_array().expect("messages");
    let calls = messages.iter().filter_map(|message| message["tool_calls"].as_array()).flatten();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    calls
        .map(|call| plain(&(text(&call["function"]["name"]), text(&call["function"]["arguments"]))))
        .collect()
}

/// A model that does what anybody tells it, one order after the other, and repeats all of them in its
/// answer.
fn obedient() -> Endpoint {
    Endpoint::answering(|request| {
        let messages = request.json["messages"].as_array().expect("messages");
        let others = messages.iter().filter(|message| message["role"] != "system");
        let texts: Vec<&str> = others.filter_map(|message| message["content"].as_str()).collect();
        let tools = request.json["tools"].as_array().into_iter().flatten();
        let described = tools.filter_map(|tool| tool["function"]["description"].as_str());
        let texts: Vec<&str> = texts.into_iter().chain(described).collect();
        let (orders, made) = (orders_in(&texts.join("\n")), made(request));
        let Some((tool, args)) = orders.iter().find(|order| !made.contains(&plain(order))) else {
            // without the way to where they came from: who reads this has read nothing else
            let others = orders.iter().filter(|(tool, _)| tool != "page");
            let others: Vec<String> =
                others.map(|(tool, args)| order(tool, &args.parse().expect("JSON"))).collect();
            return Reply::text(&format!("I was told: {}", others.join(" ")));
        };
        // a valid call beside it: three answers in a row without one would end the run
        let offered = request.json["tools"].to_string().contains("\"recall\"");
        let key = json!({"key": made.len().to_string()}).to_string();
        let mut calls = vec![(tool.as_str(), args.as_str())];
        calls.extend(offered.then_some(("recall", key.as_str())));
        Reply::calls(&calls)
    })
}

/// Where orders are found in the world: pages by their path, and an echo of the request's headers.
fn web(pages: impl Fn(&str) -> String + Send + Sync + 'static, redirect_to: &Endpoint) -> Endpoint {
    let elsewhere = redirect_to.url();
    Endpoint::answering(move |request| match request.path.as_str() {
        "/redirect" => Reply::redirect(&format!("{elsewhere}/redirected")).with_status(302),
        "/echo" => Reply::body(format!("{:?}", request.headers)).with("content-type", "text/plain"),
        path => Reply::body(format!("<html><body><p>News of the day. {}</p></body></html>", pages(path)))
            .with("content-type", "text/html"),
    })
}

/// Host and port of an endpoint.
fn host(endpoint: &Endpoint) -> String {
    endpoint.url().trim_start_matches("http://").to_owned()
}

/// Limits that are not in the way.
const ROOM: &str =
    "request_limit = 200\nmax_steps = 400\ntotal_tokens_limit = 100000000\nretry = { max = 0 }\n";
