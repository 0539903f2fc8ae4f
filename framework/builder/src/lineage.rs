//! `Lineage`: how a stream comes about, as steps that become the sources and views of a query.
//!
//! A step is SQL over the steps before it, so all that the planner and the checker know of SQL holds for it. Streams share
//! the steps that they have in common; a query counts each once.

use std::sync::Arc;

use tidegate_engine::{DeduplicateSpec, ProcessSpec, SourceSpec, ViewSpec, WatermarkSpec};

/// Stands in the names of views, and can't stand in one that a user gives: the two never meet.
const MARK: char = '#';

/// A source, or a step over others.
#[derive(Debug)]
pub(crate) enum Lineage {
    Source(SourceSpec),
    Step(Step),
}

/// A query over other lineages.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it does, in one word: part of its name.
    pub(crate) does: &'static str,
    pub(crate) sql: Sql,
    pub(crate) watermark: Option<WatermarkSpec>,
    pub(crate) deduplicate: Option<DeduplicateSpec>,
    /// What becomes of the rows of the SQL.
    pub(crate) process: Option<ProcessSpec>,
}

impl Step {
    /// A step that is its SQL and no more.
    pub(crate) fn new(does: &'static str, sql: Sql) -> Self {
        Self { does, sql, watermark: None, deduplicate: None, process: None }
    }
}

impl Lineage {
    /// The name of the first source.
    fn origin(&self) -> &str {
        match self {
            Self::Source(spec) => &spec.name,
            Self::Step(step) => step.sql.first_table().map_or("rows", |it| it.origin()),
        }
    }
}

/// SQL text in which tables are not yet named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sql(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Table(Arc<Lineage>),
}

impl Sql {
    /// Text without tables.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self(vec![Piece::Text(text.into())])
    }

    /// A table by itself.
    pub(crate) fn table(lineage: &Arc<Lineage>) -> Self {
        Self(vec![Piece::Table(lineage.clone())])
    }

    /// The same, followed by text.
    #[must_use]
    pub(crate) fn then(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Text(text.into()));
        self
    }

    /// The same, followed by other SQL.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn first_table(&self) -> Option<&Lineage> {
        self.0.iter().find_map(|it| match it {
            Piece::Table(lineage) => Some(lineage.as_ref()),
            Piece::Text(_) => None,
        })
    }
}

/// The sources and views of one query. Names depend on the steps alone, so that a restarted program gives the same.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) sources: Vec<SourceSpec>,
    pub(crate) views: Vec<ViewSpec>,
    named: Vec<(Arc<Lineage>, String)>,
}

impl Tables {
    /// Adds a lineage with all that it is made of, each once, and gives its name.
    pub(crate) fn add(&mut self, lineage: &Arc<Lineage>) -> String {
        if let Some((_, name)) = self.named.iter().find(|(it, _)| Arc::ptr_eq(it, lineage)) {
            return name.clone();
        }
        let name = match lineage.as_ref() {
            Lineage::Source(spec) => {
                self.sources.push(spec.clone());
                spec.name.clone()
            }
            Lineage::Step(step) => {
                let sql = self.written(&step.sql);
                let name = self.free(&format!("{}{MARK}{}", lineage.origin(), step.does));
                let (watermark, deduplicate) = (step.watermark.clone(), step.deduplicate.clone());
                self.views.push(ViewSpec {
                    name: name.clone(),
                    sql,
                    watermark,
                    deduplicate,
                    process: step.process.clone(),
                });
                name
            }
        };
        self.named.push((lineage.clone(), name.clone()));
        name
    }

    /// A place in a query as the engine names it, with the SQL of the step.
    pub(crate) fn place(&self, place: &str) -> String {
        let Some(name) = place.strip_prefix("views.") else { return place.to_owned() };
        let view = self.views.iter().find(|it| it.name == name);
        view.map_or_else(|| name.to_owned(), |view| format!("{name} [{}]", view.sql))
    }

    fn written(&mut self, sql: &Sql) -> String {
        let pieces = sql.0.iter().map(|it| match it {
            Piece::Text(text) => text.clone(),
            Piece::Table(lineage) => quoted(&self.add(lineage)),
        });
        pieces.collect()
    }

    /// `name`, or with the first number that makes it new.
    fn free(&self, name: &str) -> String {
        let taken = |name: &str| self.views.iter().any(|it| it.name == name);
        if !taken(name) {
            return name.to_owned();
        }
        (2..).map(|n: u64| format!("{name}-{n}")).find(|it| !taken(it)).unwrap_or_default()
    }
}

/// A name as SQL takes it whatever is in it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// True for what a user may call a source or a stream: letters, digits, `_` and `-`, a letter or `_` in front.
pub(crate) fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|it| it.is_ascii_alphabetic() || it == '_');
    first && name.chars().all(|it| it.is_ascii_alphanumeric() || matches!(it, '_' | '-'))
}
