//! Paths with wildcards, as Hadoop reads them: `*`, `?`, `[a-z]`, `[^a]`, `{a,b}` and `\` before a literal.

use std::path::{Component, Path, PathBuf};

/// A path whose names may have wildcards.
#[derive(Clone, Debug)]
pub(crate) struct PathPattern {
    /// One for each choice in braces.
    choices: Vec<Choice>,
    text: String,
}

/// A path without braces.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// What comes before the first wildcard.
    pub(crate) base: PathBuf,
    /// The names from the first wildcard on.
    pub(crate) names: Vec<String>,
}

impl PathPattern {
    /// Reads `text`, a path below `folder` unless it is absolute; `file:` URLs are understood.
    pub(crate) fn new(folder: &Path, text: &str) -> Self {
        let text = text.trim();
        let plain = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(text);
        let choices = braces(plain).iter().map(|choice| Choice::new(folder, choice)).collect();
        let text = normal(&folder.join(plain)).display().to_string();
        Self { choices, text }
    }

    pub(crate) fn choices(&self) -> &[Choice] {
        &self.choices
    }
}

impl std::fmt::Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Choice {
    fn new(folder: &Path, text: &str) -> Self {
        let path = normal(&folder.join(text));
        let mut base = PathBuf::new();
        let mut names: Vec<String> = Vec::new();
        for part in path.components() {
            let name = part.as_os_str().to_string_lossy();
            if names.is_empty() && !name.contains(['*', '?', '[', '\\']) {
                base.push(part);
            } else {
                names.push(name.into_owned());
            }
        }
        Self { base, names }
    }
}

/// `path` without `.` and `..`, by its text alone: the name of a file must not depend on where a link leads.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            _ => out.push(part),
        }
    }
    out
}

/// All texts that a text with `{a,b}` stands for.
fn braces(text: &str) -> Vec<String> {
    let Some((before, inner, after)) = first_braces(text) else { return vec![text.to_owned()] };
    let choices = inner.iter().flat_map(|choice| braces(&format!("{before}{choice}{after}")));
    choices.collect()
}

/// What stands before, in and after the first pair of braces.
fn first_braces(text: &str) -> Option<(&str, Vec<&str>, &str)> {
    let (mut open, mut depth, mut from, mut escaped) = (None, 0, 0, false);
    let mut choices = Vec::new();
    for (at, c) in text.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match c {
            '\\' => escaped = true,
            '{' => {
                if depth == 0 {
                    open = Some(at);
                    from = at + 1;
                }
                depth += 1;
            }
            ',' if depth == 1 => {
                choices.push(text.get(from..at)?);
                from = at + 1;
            }
            '}' if depth == 1 => {
                choices.push(text.get(from..at)?);
                return Some((text.get(..open?)?, choices, text.get(at + 1..)?));
            }
            '}' if depth > 1 => depth -= 1,
            _ => {}
        }
    }
    None
}

/// True if `name` is one that `pattern` stands for.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    matches_chars(&pattern, &name)
}

fn matches_chars(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        '*' => (0..=name.len()).any(|skip| matches_chars(rest, name.get(skip..).unwrap_or_default())),
        '?' => name.split_first().is_some_and(|(_, tail)| matches_chars(rest, tail)),
        '[' => match (rest.iter().skip(1).position(|c| *c == ']'), name.split_first()) {
            (Some(end), Some((c, tail))) => {
                let (class, after) = rest.split_at(end + 1);
                in_class(class, *c) && matches_chars(after.get(1..).unwrap_or_default(), tail)
            }
            _ => false,
        },
        _ => {
            let literal = if *first == '\\' { rest.split_first().unwrap_or((first, rest)) } else { (first, rest) };
            name.split_first().is_some_and(|(c, tail)| c == literal.0 && matches_chars(literal.1, tail))
        }
    }
}

/// `a-z`, `abc`, `^a`: what stands between square brackets.
fn in_class(class: &[char], c: char) -> bool {
    let (mut class, negated) = match class.split_first() {
        Some(('^' | '!', rest)) => (rest, true),
        _ => (class, false),
    };
    let mut found = false;
    loop {
        match class {
            [] => return found != negated,
            [low, '-', high, rest @ ..] => {
                found |= (*low..=*high).contains(&c);
                class = rest;
            }
            [one, rest @ ..] => {
                found |= *one == c;
                class = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests;
