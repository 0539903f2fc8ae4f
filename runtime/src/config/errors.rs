//! What becomes of rows that can't be used: `errors.tolerance`, `errors.log.enable` and `dead.letters.*`.

use tidegate_api::Registry;
use tidegate_api::config::normalised;
use tidegate_engine::{ErrorOptions, LetterSink};
use tidegate_epoch::{DEAD_LETTERS, Tolerance};

use super::parts::{class, hand_on, without_key};
use super::sections::{Entry, Findings, Section};

/// Keys of the dead letter sink that are not its connector's.
const LETTER_KEYS: [&str; 1] = ["connector.class"];

/// Takes these keys out of the query's.
pub(super) fn read(section: &mut Section, registry: &Registry, findings: &mut Findings) -> ErrorOptions {
    let tolerance = section.parsed("errors.tolerance", findings, |text| match text.to_ascii_lowercase().as_str() {
        "none" => Ok(Tolerance::None),
        "all" => Ok(Tolerance::All),
        _ => Err(format!("found '{text}', expected none or all")),
    });
    let log = section.value("errors.log.enable", findings).unwrap_or_default();
    let letters = letters(section).and_then(|it| letter_sink(it, registry, findings));
    ErrorOptions { tolerance: tolerance.unwrap_or_default(), log, letters }
}

/// The keys below `dead.letters`, as a section of their own; nothing if there are none.
fn letters(section: &mut Section) -> Option<Section> {
    let mut letters =
        Section { prefix: format!("{DEAD_LETTERS}."), name: DEAD_LETTERS.to_owned(), entries: Vec::new() };
    for entry in std::mem::take(&mut section.entries) {
        match below(&entry.key) {
            Some(key) => letters.entries.push(Entry { key: key.to_owned(), ..entry }),
            None => section.entries.push(entry),
        }
    }
    (!letters.entries.is_empty()).then_some(letters)
}

/// What follows `dead.letters.` in any of its spellings.
fn below(key: &str) -> Option<&str> {
    let ends = key.match_indices('.').map(|it| it.0);
    let found = ends.filter_map(|at| key.split_at_checked(at)).find(|it| normalised(it.0) == normalised(DEAD_LETTERS));
    found.and_then(|(_, rest)| rest.strip_prefix('.'))
}

fn letter_sink(mut section: Section, registry: &Registry, findings: &mut Findings) -> Option<LetterSink> {
    let connector = class(&mut section, findings)?;
    let found = match registry.find_sink(&connector.value) {
        _ if connector.open => return None,
        Ok(found) => found,
        Err(e) => {
            findings.add(&connector.written, without_key(&e.to_string()));
            return None;
        }
    };
    let settings = hand_on(&mut section, found.keys(), &LETTER_KEYS, findings);
    Some(LetterSink { connector: connector.value, settings })
}
