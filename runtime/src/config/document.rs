//! A file as a tree of values, in the order in which they stand there.
//!
//! The order counts (a view may use earlier ones, a source keeps its index), and a key given twice must not be lost, so
//! the tree is our own.

use std::fmt;
use std::path::Path;

use figment::providers::{Format, Json, Toml, Yaml};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// How the toml crate hands out a date.
const TOML_DATE: &str = "$__toml_private_datetime";

/// One value of a file.
#[derive(Clone, PartialEq)]
pub enum Node {
    /// Nothing: as if the key were not there.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A finite number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values, each key once.
    Map(Vec<(String, Node)>),
}

/// Shows the shape only: any text may be a password.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(entries) => f.debug_map().entries(entries.iter().map(|(key, value)| (key, value))).finish(),
            _ => f.write_str(self.kind()),
        }
    }
}

impl Node {
    /// Reads a file; its extension tells the language.
    ///
    /// # Errors
    /// What is wrong, with the place where the parser names one.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("can't be read: {e}"))?;
        let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default().to_ascii_lowercase();
        Self::parse(&text, &extension)
    }

    /// Reads text in the language that `extension` tells: `yaml`, `yml`, `json` or `toml`.
    ///
    /// # Errors
    /// What is wrong, with the place where the parser names one.
    pub fn parse(text: &str, extension: &str) -> Result<Self, String> {
        match extension {
            "yaml" | "yml" => Yaml::from_str(text).map_err(|e| format!("is not YAML: {e}")),
            "json" => Json::from_str(text).map_err(|e| format!("is not JSON: {e}")),
            // Its messages show the line in a drawing of several lines; the first one says it all.
            "toml" => Toml::from_str(text).map_err(|e| format!("is not TOML: {}", first_and_last_line(&e.to_string()))),
            other => Err(format!("found extension '{other}', expected .yaml, .yml, .json or .toml")),
        }
    }

    /// The entries of a map.
    pub fn entries(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value of a key that is written just so.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()?.iter().find(|(it, _)| it == key).map(|(_, value)| value)
    }

    /// The text of a plain value: what `key=value` would say.
    pub fn scalar(&self) -> Option<String> {
        match self {
            Self::Bool(it) => Some(it.to_string()),
            Self::Number(it) => Some(it.to_string()),
            Self::Text(it) => Some(it.clone()),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// The value as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(it) => (*it).into(),
            Self::Number(it) => serde_json::Value::Number(it.clone()),
            Self::Text(it) => it.clone().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
        }
    }
}

fn first_and_last_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    match lines.as_slice() {
        [first, .., last] => format!("{first}: {last}"),
        _ => lines.concat(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value, a list or a map")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        Node::deserialize(from)
    }
    fn visit_bool<E>(self, it: bool) -> Result<Node, E> {
        Ok(Node::Bool(it))
    }
    fn visit_i64<E>(self, it: i64) -> Result<Node, E> {
        Ok(Node::Number(it.into()))
    }
    fn visit_u64<E>(self, it: u64) -> Result<Node, E> {
        Ok(Node::Number(it.into()))
    }
    fn visit_f64<E>(self, it: f64) -> Result<Node, E> {
        Ok(Number::from_f64(it).map_or_else(|| Node::Text(it.to_string()), Node::Number))
    }
    fn visit_str<E>(self, it: &str) -> Result<Node, E> {
        Ok(Node::Text(it.to_owned()))
    }
    fn visit_string<E>(self, it: String) -> Result<Node, E> {
        Ok(Node::Text(it))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        while let Some(key) = from.next_key::<Node>()? {
            let found = key.kind();
            let key = key.scalar().ok_or_else(|| A::Error::custom(format!("found {found} as a key, expected text")))?;
            if entries.iter().any(|(it, _)| *it == key) {
                return Err(A::Error::custom(format!("key '{key}' is given twice")));
            }
            let value = from.next_value()?;
            if key == TOML_DATE {
                return Ok(value);
            }
            entries.push((key, value));
        }
        Ok(Node::Map(entries))
    }
}
