//! Which source of a file goes on from which source of Spark's.

use std::collections::BTreeMap;

use tidegate_api::config::nearest;

/// The word for a source that Spark did not have.
const NEW: &str = "new";

/// Pairs the sources of a file with those of Spark, by what was said, or because there is no choice. Each of Spark's has
/// to be taken, or its rows would be read by nobody.
pub(super) fn pair(
    ours: &[&str],
    theirs: &BTreeMap<String, Option<String>>,
    said: &[(String, String)],
) -> Result<Vec<(String, Option<String>)>, Vec<String>> {
    let only = theirs.keys().next().filter(|_| theirs.len() == 1 && ours.len() == 1);
    if let (true, Some(only)) = (said.is_empty(), only) {
        return Ok(ours.iter().map(|it| ((*it).to_owned(), Some(only.clone()))).collect());
    }
    if said.is_empty() && theirs.len() == ours.len() && ours.iter().all(|it| theirs.contains_key(*it)) {
        return Ok(ours.iter().map(|it| ((*it).to_owned(), Some((*it).to_owned()))).collect());
    }
    let mut problems = Vec::new();
    let mut pairs: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for (name, key) in said {
        let Some(ours) = ours.iter().find(|it| **it == name.as_str()) else {
            let hint = nearest(name, ours.iter().copied()).map(|it| format!("; did you mean '{it}'?"));
            problems.push(format!("'{name}' is no stream of the file{}", hint.unwrap_or_default()));
            continue;
        };
        let key = (key != NEW || theirs.contains_key(NEW)).then(|| key.clone());
        if let Some(key) = &key {
            if !theirs.contains_key(key) {
                problems.push(format!("{name}={key}: Spark has no source '{key}', only {}", list(theirs)));
            } else if pairs.values().flatten().any(|it| it == key) {
                problems.push(format!("{name}={key}: source '{key}' of Spark's is taken already"));
            }
        }
        if pairs.insert(ours, key).is_some() {
            problems.push(format!("'{name}' is there twice"));
        }
    }
    let open: Vec<&str> = ours.iter().copied().filter(|it| !pairs.contains_key(it)).collect();
    let left: Vec<_> = theirs.iter().filter(|(key, _)| !pairs.values().flatten().any(|it| it == *key)).collect();
    if problems.is_empty() && !(open.is_empty() && left.is_empty()) {
        let left = left.into_iter().map(|(key, at)| (key.clone(), at.clone())).collect();
        let (none, said) = ("none", |it: &str| format!("--source {it}=<number>"));
        let asked: Vec<_> = open.iter().map(|it| said(it)).collect();
        let open = if open.is_empty() { none.to_owned() } else { open.join(", ") };
        let asked = if asked.is_empty() { "each source of Spark's in the file".to_owned() } else { asked.join(" ") };
        let left = if left == BTreeMap::new() { none.to_owned() } else { list(&left) };
        problems.push(format!(
            "is not settled: streams of the file without a source of Spark's: {open}; sources of Spark's that no stream goes \
             on from: {left}; expected {asked} ('{NEW}' for one that Spark did not have)"
        ));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(ours.iter().map(|it| ((*it).to_owned(), pairs.remove(it).flatten())).collect())
}

fn list(theirs: &BTreeMap<String, Option<String>>) -> String {
    let shown = theirs.iter().map(|(key, at)| format!("{key} at {}", at.as_deref().unwrap_or("-")));
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
