//! The page in Chromium.
use super::webdriver::Browser;
use super::*;
use crate::endpoint::{Endpoint, Reply};
use crate::thinking::{agent, results};

/// Widths that are tried, with heights.
const SIZES: [(u32, u32); 4] = [(320, 700), (390, 844), (768, 900), (1280, 800)];

/// A browser that entered by the link, under the page's own host name, and the beginning of its addresses.
fn enter(ui: &Ui) -> Option<(Browser, String)> {
    let browser = Browser::start()?;
    browser.go(&ui.own);
    browser
        .until("the first page", "return location.pathname === '/' && document.querySelector('h1') !== null");
    Some((browser, ui.own.split("/open").next().expect("a link").to_owned()))
}

/// Controls without a name, headings, and whether something is wider than the window.
const LOOK: &str = "
    const name = (e) => (e.getAttribute('aria-label') || e.textContent || e.placeholder || e.title || (e.labels && e.labels.length ? e.labels[0].textContent : '')).trim();
    return {
      nameless: [...document.querySelectorAll('a, button, input:not([type=hidden]), select')].filter((e) => e.checkVisibility() && !name(e)).map((e) => e.outerHTML),
      h1: document.querySelectorAll('h1').length,
      main: document.querySelectorAll('main').length,
      wide: document.documentElement.scrollWidth > window.innerWidth,
      styled: document.querySelectorAll('[style]').length,
      title: document.title,
    };";

#[test]
fn each_page_fits_each_width_and_every_control_has_a_name() {
    let daemon = busy();
    let run = daemon.call("list_runs", json!({"agent_id": "hostile"}))[0]["run_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let ui = Ui::start(&daemon, &["--control"]);
    let Some((browser, base)) = enter(&ui) else { return };
    let of_run = format!("/runs/{run}");
    for (width, height) in SIZES {
        browser.size(width, height);
        for path in [
            "/",
            "/timeline",
            "/timeline/bad",
            "/agents",
            "/agents/bad",
            "/runs",
            &of_run,
            "/incidents",
            "/approvals",
            "/spending",
            "/log",
        ] {
            browser.go(&format!("{base}{path}"));
            let seen = browser.script(LOOK);
            assert_eq!(seen["nameless"], json!([]), "{path}");
            assert_eq!(
                (&seen["h1"], &seen["main"], &seen["styled"]),
                (&json!(1), &json!(1), &json!(0)),
                "{path}"
            );
            assert_eq!(seen["wide"], false, "{path} at {width}");
            assert!(
                !seen["title"].as_str().unwrap_or("taken").contains("taken"),
                "a script of an agent ran on {path}"
            );
        }
    }
}

#[test]
fn a_phone_reaches_every_page() {
    let daemon = busy();
    let ui = Ui::start(&daemon, &[]);
    let Some((browser, base)) = enter(&ui) else { return };
    browser.size(420, 800);
    for page in ["/timeline", "/runs", "/approvals"] {
        browser.go(&format!("{base}/"));
        browser.click(&format!(".tabbar a[href='{page}']"));
        browser.until(page, &format!("return location.pathname === '{page}'"));
    }
    for page in ["/agents", "/incidents", "/spending", "/log"] {
        browser.go(&format!("{base}/"));
        browser.click(".tabbar summary");
        browser.click(&format!(".tabbar .rest a[href='{page}']"));
        browser.until(page, &format!("return location.pathname === '{page}'"));
    }
    // a name does not give way to the words beside it
    browser.size(1280, 800);
    browser.go(&format!("{base}/timeline"));
    let cut = "return [...document.querySelectorAll('.row .name b')].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent)";
    assert_eq!(browser.script(cut), json!([]));
}

#[test]
fn the_page_follows_the_fleet_and_keys_work() {
    let daemon = busy();
    let ui = Ui::start(&daemon, &[]);
    let Some((browser, base)) = enter(&ui) else { return };
    browser.go(&format!("{base}/agents"));
    browser.until("a live page", "return document.querySelector('.live.on') !== null");
    daemon.call("pause_agent", json!({"agent_id": "good", "reason": "somebody looks"}));
    browser.until(
        "the pause",
        "return document.querySelector('[data-key=\"agent:good\"]').textContent.includes('somebody looks')",
    );
    let press = |key: &str| {
        browser.script(&format!(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}', bubbles: true}}))"
        ));
    };
    press("j");
    browser.until("the focus on a row", "return document.activeElement.closest('[data-row]') !== null");
    press("t");
    browser.until("the timeline", "return location.pathname === '/timeline'");
}

/// Real buttons, pressed with the mouse, in a real browser: what it says of where a form comes from is its own affair.
#[test]
fn buttons_do_what_they_say() {
    let endpoint = Endpoint::answering(|request| match results(request).first() {
        None => Reply::calls(&[("remember", r#"{"key": "k", "text": "v"}"#)]),
        Some(_) => Reply::text("done"),
    });
    let asks = agent(&endpoint, "tools = [\"remember\"]\napprove = [\"remember\"]\napproval = \"wait\"");
    let daemon = Daemon::start(&format!("{asks}\n[agents.good]\ncommand = [\"true\"]\n"));
    let ui = Ui::start(&daemon, &["--control"]);
    let Some((browser, base)) = enter(&ui) else { return };
    let state = || daemon.call("list_agents", json!({"agents": ["good"]}))[0].clone();
    let press = |page: &str, button: &str| {
        browser.go(&format!("{base}{page}"));
        browser.click(&format!("button[name=act][value={button}]"));
    };
    press("/agents/good", "pause");
    assert_eq!(browser.accept(), "Pause good?");
    browser.until("the agent's page", "return document.querySelector('button[value=resume]') !== null");
    assert_eq!(state()["state"], "paused");
    press("/agents/good", "resume");
    browser.until("the agent's page", "return document.querySelector('button[value=pause]') !== null");
    assert_eq!(state()["state"], "active");
    press("/agents/good", "run");
    assert_eq!(browser.accept(), "Run good now?");
    wait_for("its run", || (state()["success_count"] == 1).then_some(()));
    let run = daemon.call("run_agent", json!({"agent_id": "a"}))["run_id"].clone();
    daemon.until("approval_requested", "a");
    // on the page of the run, where a person looks at what it did before
    press(&format!("/runs/{}", run.as_str().expect("an id")), "approve");
    assert_eq!(daemon.finished(&run)["status"], "completed");
    let decided = daemon.call("list_approvals", json!({"all": true}));
    assert_eq!(decided[0]["approved"], true, "{decided:#}");
}

#[test]
fn no_other_page_can_read_frame_or_order() {
    let daemon = busy();
    let ui = Ui::start(&daemon, &["--control"]);
    let evil = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = evil.local_addr().expect("its address");
    let page = format!(
        "<!doctype html><title>evil</title><iframe id=f src=\"{0}/\"></iframe><script>\
         window.seen = 'nothing'; fetch('{0}/', {{credentials: 'include'}}).then(r => r.text()).then(t => {{ window.seen = t }}).catch(() => {{ window.seen = 'refused' }});\
         </script><form id=p method=post action=\"{0}/act\"><input name=act value=pause><input name=on value=good></form>",
        ui.own.split("/open").next().expect("a link")
    );
    std::thread::spawn(move || {
        for mut stream in evil.incoming().flatten() {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let Some((browser, _)) = enter(&ui) else { return };
    browser.go(&format!("http://{address}/"));
    browser.until("the end of the fetch", "return window.seen !== 'nothing'");
    assert_eq!(browser.script("return window.seen"), "refused");
    assert_eq!(browser.script("return document.getElementById('f').contentDocument"), Value::Null);
    browser.script("document.getElementById('p').submit()");
    browser.until("the answer to the form", "return location.pathname === '/act'");
    assert_eq!(daemon.call("list_agents", json!({"agents": ["good"]}))[0]["state"], "active");
}
