//! `tidegate plugins`: what can be named in `connector.class`, with all keys.

use serde_json::{Value, json};
use tidegate_api::config::ConfigKey;
use tidegate_api::{Importance, Registry};

use super::DONE;
use crate::screen::Screen;

type Plugin = (&'static str, &'static str, &'static [ConfigKey]);

pub(super) fn plugins(registry: &Registry, as_json: bool, screen: &Screen) -> u8 {
    let sources = registry.sources().map(|it| ("source", it.name(), it.keys()));
    let all: Vec<Plugin> = sources.chain(registry.sinks().map(|it| ("sink", it.name(), it.keys()))).collect();
    let text = if as_json { Value::from_iter(all.iter().map(plugin_json)).to_string() } else { listing(&all) };
    screen.result(text.trim_end());
    DONE
}

fn listing(all: &[Plugin]) -> String {
    let mut text = String::new();
    for (role, name, keys) in all {
        text.push_str(&format!("{role} {name}\n"));
        for key in *keys {
            text.push_str(&format!("  {} ({}): {}\n", shown_name(key), facts(key).join(", "), first_line(key.doc)));
        }
        text.push('\n');
    }
    text
}

fn shown_name(key: &ConfigKey) -> String {
    if key.prefix { format!("{}*", key.name) } else { key.name.to_owned() }
}

fn facts(key: &ConfigKey) -> Vec<String> {
    let mut facts = vec![key.kind.to_owned()];
    match key.default {
        Some(default) => facts.push(format!("default {default}")),
        None if key.optional || key.prefix => facts.push("optional".to_owned()),
        None => facts.push("required".to_owned()),
    }
    if !key.synonyms.is_empty() {
        facts.push(format!("also {}", key.synonyms.join(", ")));
    }
    facts
}

fn first_line(doc: &str) -> &str {
    doc.trim().lines().next().unwrap_or_default()
}

fn plugin_json((role, name, keys): &Plugin) -> Value {
    let keys = keys.iter().map(|key| {
        json!({
            "name": key.name, "synonyms": key.synonyms, "type": key.kind, "default": key.default,
            "required": key.default.is_none() && !key.optional && !key.prefix, "prefix": key.prefix,
            "secret": key.secret, "documentation": key.doc.trim(),
            "importance": match key.importance {
                Importance::High => "high",
                Importance::Medium => "medium",
                Importance::Low => "low",
            },
        })
    });
    json!({ "class": name, "type": role, "keys": Value::from_iter(keys) })
}
