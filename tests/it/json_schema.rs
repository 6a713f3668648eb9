//! As much of JSON Schema as `schemas/` uses; a word that it does not know is a panic, not a pass.

use serde_json::Value;

/// Everything in `value` that breaks the schema, a line each, with its place.
pub fn broken(value: &Value, root: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    check(value, root, root, "", &mut wrong);
    wrong
}

fn check(value: &Value, schema: &Value, root: &Value, place: &str, wrong: &mut Vec<String>) {
    for (word, rule) in schema.as_object().unwrap() {
        let right = match word.as_str() {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(value, root.pointer(pointer).unwrap(), root, place, wrong);
                true
            }
            "type" => match rule {
                Value::Array(names) => names.iter().any(|name| is(value, name)),
                name => is(value, name),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "pattern" => matches(value.as_str().unwrap_or_default(), rule.as_str().unwrap()),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            "required" => {
                rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "items" => {
                for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(item, rule, root, &format!("{place}/{at}"), wrong);
                }
                true
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(part) = value.get(name) {
                        check(part, rule, root, &format!("{place}/{name}"), wrong);
                    }
                }
                true
            }
            "propertyNames" => {
                for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
                    check(&name.as_str().into(), rule, root, &format!("{place}/{name}"), wrong);
                }
                true
            }
            "additionalProperties" => {
                let known = |name: &String| schema["properties"].get(name).is_some();
                for (name, part) in value.as_object().into_iter().flatten().filter(|(name, _)| !known(name)) {
                    match rule {
                        Value::Bool(allowed) if *allowed => {}
                        Value::Bool(_) => wrong.push(format!("{place}/{name}: additionalProperties")),
                        rule => check(part, rule, root, &format!("{place}/{name}"), wrong),
                    }
                }
                true
            }
            other => panic!("`{other}` is not known here"),
        };
        if !right {
            wrong.push(format!("{place}: {word}"));
        }
    }
}

fn is(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("`{other}` is no type"),
    }
}

/// A regular expression is a crate; the schemas have these.
fn matches(text: &str, pattern: &str) -> bool {
    match pattern {
        "^[0-9a-f]{64}$" => {
            text.len() == 64 && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
        }
        "^pairmill " => text.starts_with("pairmill "),
        other => panic!("`{other}` is not known here"),
    }
}
