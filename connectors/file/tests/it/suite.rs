//! The conformance suite.

use tidegate_testkit::suite::{SourceSuite, pass, source_suite};

use crate::support::World;

#[test]
fn files_pass_the_suite() {
    for format in ["text", "json"] {
        let world = World::new();
        let line =
            |it: u64| format!("{{\"n\": {it}, \"pad\": \"{}\"}}\n", "x".repeat(usize::try_from(it % 200).unwrap()));
        // Big enough to be cut into pieces; the later file comes first by its path.
        world.write("b", 0, (0..30_000).map(line).collect::<String>());
        world.write("a", 1, (0..10).map(line).collect::<String>());
        // A file is never cut by a limit, and the first plan has put both into one entry.
        let suite = SourceSuite { slack_rows: 30_010 };
        let settings = [("format", format)];
        pass(source_suite(suite, || world.build("in", &settings)));
    }
}
