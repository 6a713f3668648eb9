//! The config's keys as `train --help` lists them, out of the schema that editors read.

use std::fmt::Write;

use serde_json::Value;

const SCHEMA: &str = include_str!("../../../schemas/train.v1.json");

/// Every key with its default and what it means.
pub fn help() -> String {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let mut text = "Keys of the config, in TOML or by --set, with their defaults:\n".to_owned();
    for (table, described) in schema["properties"].as_object().into_iter().flatten() {
        let (name, keys) = match described.get("items") {
            Some(item) => (format!("[[{table}]]"), &item["properties"]),
            None => (table.clone(), &described["properties"]),
        };
        for (key, described) in keys.as_object().into_iter().flatten() {
            let _ = write!(text, "\n  {name}.{key}");
            if let Some(default) = described.get("default") {
                let _ = write!(text, " = {default}");
            }
            let _ = writeln!(text, "\n          {}", described["description"].as_str().unwrap_or_default());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_listed_with_its_default_and_what_it_means() {
        let text = help();
        assert!(text.contains("\n  data.batch = 64\n          Pairs a step\n"), "{text}");
        assert!(text.contains("\n  [[stage]].train\n"), "{text}");
        assert!(!text.contains("          \n"), "a key without a description: {text}");
    }
}
