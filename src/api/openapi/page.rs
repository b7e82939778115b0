//! A page for operators from a document: a section a group, an entry an operation. It is written by a
//! test, never by hand.

use serde_json::{Map, Value};

/// The page: `head`, then everything the document has.
pub fn page(head: &str, document: &Value) -> String {
    let mut text = head.to_owned();
    for tag in list(&document["tags"]) {
        text.push_str(&format!("\n## {}\n\n{}\n", word(&tag["name"]), word(&tag["description"])));
        for (path, methods) in map(&document["paths"]) {
            for (method, operation) in map(methods) {
                if operation["tags"][0] == tag["name"] {
                    text.push_str(&entry(document, &method.to_ascii_uppercase(), path, operation));
                }
            }
        }
    }
    text
}

fn entry(document: &Value, method: &str, path: &str, operation: &Value) -> String {
    let (summary, action) = (word(&operation["summary"]), word(&operation["x-action"]));
    let mut text = format!("\n### `{method} {path}`\n\n{} (`{action}`).\n", capital(summary));
    let parameters: Vec<&Value> = list(&operation["parameters"]).collect();
    if !parameters.is_empty() {
        text.push_str("\n| parameter | in | what |\n| --- | --- | --- |\n");
    }
    for parameter in parameters {
        let (name, place) = (word(&parameter["name"]), word(&parameter["in"]));
        text.push_str(&format!("| `{name}` | {place} | {} |\n", cell(&parameter["description"])));
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        text.push_str("\n| body | form | what |\n| --- | --- | --- |\n");
        text.push_str(&fields(document, body, "", &mut Vec::new()));
    }
    text.push_str(&answers(document, &operation["responses"]));
    text
}

fn answers(document: &Value, responses: &Value) -> String {
    let schema = |answer: &Value| answer["content"]["application/json"]["schema"].clone();
    let is_done = |status: &str| status.starts_with('2');
    let mut text = String::new();
    for (_, done) in map(responses).iter().filter(|(status, _)| is_done(status)) {
        let fields = fields(document, &schema(done), "", &mut Vec::new());
        let head = if fields.is_empty() { "" } else { "\n| answer | form | what |\n| --- | --- | --- |\n" };
        text.push_str(&format!("{head}{fields}"));
    }
    let refusals: Vec<String> = map(responses)
        .iter()
        .filter(|(status, _)| !is_done(status) && !EVERYWHERE.contains(&status.as_str()))
        .map(|(status, answer)| format!("{status} {}", codes(&schema(answer)).join(", ")))
        .collect();
    text.push_str(&format!("\nRefused: {}.\n", refusals.join("; ")));
    text
}

/// The codes a refusal's schema lets through, wherever in the body they are.
fn codes(schema: &Value) -> Vec<String> {
    let within = |value: &Value| match value {
        Value::Object(fields) => fields.values().flat_map(codes).collect(),
        Value::Array(values) => values.iter().flat_map(codes).collect(),
        _ => Vec::new(),
    };
    let here = list(&schema["enum"]).map(|code| format!("`{}`", word(code)));
    here.chain(within(schema)).collect()
}

/// Statuses that any operation may answer, and that the page's head explains.
const EVERYWHERE: [&str; 5] = ["403", "408", "413", "500", "503"];

/// A line for each property, those of objects within indented by name.
fn fields(document: &Value, schema: &Value, within: &str, seen: &mut Vec<String>) -> String {
    let schema = resolved(document, schema);
    let mut text = String::new();
    for (name, property) in map(&schema["properties"]) {
        let must = list(&schema["required"]).any(|one| word(one) == name);
        let mut form = form(document, property);
        if !must {
            form.insert_str(0, "optional: ");
        }
        text.push_str(&format!("| `{within}{name}` | {form} | {} |\n", cell(&property["description"])));
        let (inner, mark) = match property["items"].is_null() {
            true => (property, "."),
            false => (&property["items"], "[]."),
        };
        let key = word(&inner["$ref"]).to_owned();
        if !key.is_empty() && !seen.contains(&key) {
            seen.push(key);
            text.push_str(&fields(document, inner, &format!("{within}{name}{mark}"), seen));
            seen.pop();
        }
    }
    text
}

/// The form of a value in a few words.
fn form(document: &Value, schema: &Value) -> String {
    let schema = resolved(document, schema);
    if let Some(choice) = schema["anyOf"].as_array().and_then(|choices| choices.first()) {
        return format!("{} or null", form(document, choice));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(word).collect(),
        kind => vec![word(kind)],
    };
    let mut words: Vec<String> = kinds.into_iter().map(|kind| simple(document, schema, kind)).collect();
    words.retain(|word| !word.is_empty());
    words.join(" or ")
}

fn simple(document: &Value, schema: &Value, kind: &str) -> String {
    let choices: Vec<String> = list(&schema["enum"])
        .filter(|choice| !choice.is_null())
        .map(|choice| format!("`{}`", word(choice)))
        .collect();
    match kind {
        "array" => format!("list: {}", form(document, &schema["items"])),
        "string" if !choices.is_empty() => format!("one of {}", choices.join(", ")),
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        "string" => "text".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" => "number".to_owned(),
        kind => kind.to_owned(),
    }
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    schema["$ref"].as_str().and_then(|name| document.pointer(name.strip_prefix('#')?)).unwrap_or(schema)
}

fn cell(value: &Value) -> String {
    word(value).replace('|', "\\|").replace('\n', " ")
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn map(value: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE)
}
