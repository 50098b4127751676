//! Files in circles: who reads one has to read all. Their number only falls, and those that remain have a reason.
use super::graph::{Circle, circles, graph};
use super::read;

/// Files in circles. Lower it with each circle that is opened.
const MOST_IN_CIRCLES: usize = 8;

/// The circles that remain, and why.
const REMAIN: &[(&[&str], &str)] = &[(
    &[
        "engine/agent.rs",
        "engine/ask.rs",
        "engine/budget.rs",
        "engine/clock.rs",
        "engine/mod.rs",
        "engine/queue.rs",
        "engine/restore.rs",
        "engine/slots.rs",
    ],
    "one machine over one state: `Engine` holds what its parts define, and each part is methods of it",
)];

#[test]
fn files_in_circles_only_become_fewer() {
    let graph = graph(&read("src"));
    let circles = circles(&graph);
    let files: usize = circles.iter().map(|circle| circle.len()).sum();
    for circle in &circles {
        println!("a circle of {}:", circle.len());
        for file in circle {
            let used: Vec<_> = graph[file].intersection(circle).map(String::as_str).collect();
            println!("    {file} -> {}", used.join(" "));
        }
    }
    println!("{files} files in {} circles", circles.len());
    assert!(
        files <= MOST_IN_CIRCLES,
        "{files} files import each other in circles, {MOST_IN_CIRCLES} did: put the words that both sides need \
         into a file below them"
    );
    let problems = unlike(&circles, REMAIN);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// Circles that nobody has given a reason for, and reasons that no circle needs any more.
fn unlike(circles: &[Circle], remain: &[(&[&str], &str)]) -> Vec<String> {
    let is_same =
        |circle: &Circle, members: &[&str]| circle.iter().map(String::as_str).eq(members.iter().copied());
    let unnamed = circles.iter().filter(|circle| !remain.iter().any(|(members, _)| is_same(circle, members)));
    let opened = remain.iter().filter(|(members, _)| !circles.iter().any(|circle| is_same(circle, members)));
    unnamed
        .map(|circle| format!("a circle without a reason: {circle:?}"))
        .chain(opened.map(|(members, why)| format!("no circle any more, strike it out: {members:?} ({why})")))
        .collect()
}

#[test]
fn a_circle_needs_a_reason_and_a_reason_a_circle() {
    let circle = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect::<Circle>();
    let circles = [circle(&["a.rs", "b.rs"]), circle(&["c.rs", "d.rs"])];
    assert_eq!(
        unlike(&circles, &[(&["a.rs", "b.rs"], "x"), (&["c.rs", "d.rs", "e.rs"], "y")]),
        [
            "a circle without a reason: {\"c.rs\", \"d.rs\"}",
            "no circle any more, strike it out: [\"c.rs\", \"d.rs\", \"e.rs\"] (y)"
        ]
    );
}
