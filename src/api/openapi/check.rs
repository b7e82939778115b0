//! Whether a document is one: OpenAPI 3.1 as far as what is used of it goes, for the tests of surfaces.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const KEYWORDS: [&str; 20] = [
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "enum",
    "examples",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
];
const TYPES: [&str; 6] = ["array", "boolean", "integer", "null", "object", "string"];

/// Method, path, operation id, action and summary of every operation; panics at what is not OpenAPI 3.1.
pub fn operations(document: &Value) -> Vec<[String; 5]> {
    assert_eq!(document["openapi"], "3.1.0");
    for text in ["title", "version", "description"] {
        assert!(!document["info"][text].as_str().expect(text).is_empty(), "{text}");
    }
    let mut found = Vec::new();
    for (path, methods) in object(&document["paths"]) {
        assert!(path.starts_with('/'), "{path}");
        for (method, operation) in object(methods) {
            assert!(["get", "put", "post", "delete", "patch"].contains(&method.as_str()), "{method} {path}");
            check(document, path, operation);
            let said = |key: &str| operation[key].as_str().expect(key).to_owned();
            let (id, action, summary) = (said("operationId"), said("x-action"), said("summary"));
            found.push([method.to_ascii_uppercase(), path.clone(), id, action, summary]);
        }
    }
    let ids: BTreeSet<&String> = found.iter().map(|[_, _, id, _, _]| id).collect();
    assert_eq!(ids.len(), found.len(), "an id is of one operation");
    components(document);
    found
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("an object, not {value}"))
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("a list, not {value}"))
}

fn check(document: &Value, path: &str, operation: &Value) {
    for tag in list(&operation["tags"]) {
        assert!(list(&document["tags"]).iter().any(|known| known["name"] == *tag), "{tag}");
    }
    let parameters = list(&operation["parameters"]);
    let in_path = |parameter: &&Value| parameter["in"] == "path";
    let named: Vec<String> = parameters
        .iter()
        .filter(in_path)
        .map(|one| format!("{{{}}}", one["name"].as_str().expect("a name")))
        .collect();
    let wanted: Vec<&str> = path.split('/').filter(|part| part.starts_with('{')).collect();
    assert_eq!(named, wanted, "{path}");
    let mut names = BTreeSet::new();
    for parameter in parameters {
        assert!(["path", "query"].iter().any(|place| parameter["in"] == *place), "{parameter}");
        assert!(parameter["in"] != "path" || parameter["required"] == true, "{parameter}");
        assert!(parameter["description"].is_string(), "{parameter}");
        assert!(names.insert(parameter["name"].as_str()), "{path}: {parameter}");
        schema(document, &parameter["schema"], path);
    }
    if let Some(body) = operation.get("requestBody") {
        schema(document, &body["content"]["application/json"]["schema"], path);
    }
    for (status, answer) in object(&operation["responses"]) {
        let number: u16 = status.parse().expect("a status");
        assert!(
            (100..600).contains(&number) && answer["description"].as_str().is_some_and(|d| !d.is_empty())
        );
        // An answer may have no body, such as 204.
        if let Some(content) = answer.get("content") {
            schema(document, &content["application/json"]["schema"], path);
        }
    }
    assert!(object(&operation["responses"]).keys().any(|status| status.starts_with('2')), "{path}");
}

/// Each is a schema, and somebody refers to it.
fn components(document: &Value) {
    let text = document.to_string();
    for (name, component) in object(&document["components"]["schemas"]) {
        schema(document, component, name);
        assert!(text.contains(&format!("\"#/components/schemas/{name}\"")), "nobody uses {name}");
    }
}

fn schema(document: &Value, value: &Value, at: &str) {
    for (keyword, value) in object(value) {
        assert!(KEYWORDS.contains(&keyword.as_str()), "{at}: {keyword}");
        match (keyword.as_str(), value) {
            ("$ref", Value::String(name)) => {
                let target = name.strip_prefix('#').and_then(|name| document.pointer(name));
                assert!(target.is_some(), "{at}: {name} is nowhere");
            }
            ("type", Value::String(kind)) => assert!(TYPES.contains(&kind.as_str()), "{at}: {kind}"),
            ("type", kinds) => {
                assert!(list(kinds).iter().all(|kind| TYPES.iter().any(|known| kind == known)))
            }
            ("properties", properties) => {
                object(properties)
                    .iter()
                    .for_each(|(name, value)| schema(document, value, &format!("{at}.{name}")));
            }
            ("items", items) => schema(document, items, at),
            ("anyOf", choices) => {
                list(choices).iter().filter(|one| **one != serde_json::json!({"type": "null"})).for_each(
                    |one| {
                        schema(document, one, at);
                    },
                );
            }
            ("enum" | "required" | "examples", values) => {
                assert!(!list(values).is_empty(), "{at}: {keyword}")
            }
            ("pattern", pattern) => {
                let pattern = pattern.as_str().expect("a pattern");
                assert!(
                    proptest::string::string_regex(pattern.trim_matches(['^', '$'])).is_ok(),
                    "{at}: {pattern}"
                );
            }
            _ => {}
        }
    }
    // What people read: every property of a component says what it is.
    if !at.starts_with('/') {
        for (name, property) in value["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{at}.{name} has no description");
        }
    }
}
