//! Files in circles: who reads one has to read all. Their number only falls.
use super::graph::{circles, graph};
use super::read;

/// Files in circles. Lower it with each circle that is opened.
const MOST_IN_CIRCLES: usize = 12;

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
}
