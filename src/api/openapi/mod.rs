//! OpenAPI 3.1 documents, from a surface's table of routes and from the types of its bodies and answers.
//!
//! Words: a *shape* is a type that has a JSON Schema; an *operation* is all the document says of a row; a
//! *failing* is a way a request can be refused. D1: a property is required of an answer if it is always
//! there, of a body if it must be sent. D2: schemas are made from the types the handlers use, never by hand
//! beside them. D3: the same tables give the same bytes.
//!
//! Knows no surface. `admin::document` is an example of use. For tests: `check` says whether a document is
//! one, `page` writes the page for operators.

#[cfg(test)]
pub mod check;
#[cfg(test)]
pub mod page;

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// A type that has a JSON Schema.
#[derive(Clone, Copy)]
pub struct Shape {
    name: fn() -> &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Shape {
    /// Of this type.
    pub const fn of<T: JsonSchema>() -> Self {
        Self { name: std::any::type_name::<T>, schema: SchemaGenerator::subschema_for::<T> }
    }

    /// Whether it is of this type.
    pub fn is<T>(self) -> bool {
        self.is_named(std::any::type_name::<T>())
    }

    /// Whether it is of the type of this name.
    pub fn is_named(self, name: &str) -> bool {
        (self.name)() == name
    }
}

/// What is said of a surface as a whole.
pub struct Surface {
    /// Its name.
    pub title: &'static str,
    /// What one has to know of it.
    pub description: &'static str,
    /// Where it is: URL and description.
    pub server: (&'static str, &'static str),
    /// Groups of operations: name and description.
    pub tags: Vec<(&'static str, &'static str)>,
    /// The body of every refusal.
    pub failure: Shape,
    /// A refusal's schema beside `failure`, which lets through these codes alone.
    pub only: fn(&[&str]) -> Value,
}

/// What is in the place of a `{parameter}` of a path.
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it names.
    pub description: &'static str,
    /// Its form.
    pub shape: Shape,
}

/// A way a request can be refused.
pub struct Failing {
    /// HTTP's.
    pub status: u16,
    /// What scripts act on.
    pub code: &'static str,
    /// What people read; `{}` stands for a fact.
    pub message: &'static str,
}

/// What the document says of a row.
pub struct Operation {
    /// Unique.
    pub id: &'static str,
    /// HTTP's.
    pub method: String,
    /// With `{parameters}`.
    pub path: &'static str,
    /// The group it is of.
    pub tag: &'static str,
    /// One line.
    pub summary: &'static str,
    /// What the caller must be allowed to do.
    pub action: &'static str,
    /// Those of the path, in its order.
    pub parameters: Vec<Parameter>,
    /// A type with a field for each parameter of the query.
    pub query: Option<Shape>,
    /// Its JSON body; it must be sent.
    pub body: Option<Shape>,
    /// Status where it was done, and body if it has one.
    pub answer: (u16, Option<Shape>),
    /// Every other answer.
    pub fails: Vec<Failing>,
}

/// Schemas of bodies and of answers; what both have is of one form.
struct Schemas {
    sent: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        Self {
            sent: settings().for_deserialize().into_generator(),
            answered: settings().for_serialize().into_generator(),
        }
    }

    fn sent(&mut self, shape: Shape) -> Value {
        (shape.schema)(&mut self.sent).to_value()
    }

    fn answered(&mut self, shape: Shape) -> Value {
        (shape.schema)(&mut self.answered).to_value()
    }

    /// By name. A type that is sent and answered is the same schema both ways, or the tests say so.
    fn finish(mut self) -> Map<String, Value> {
        let mut all = self.answered.take_definitions(true);
        for (name, schema) in self.sent.take_definitions(true) {
            let other = all.insert(name.clone(), schema.clone());
            debug_assert!(other.is_none_or(|other| other == schema), "{name} is two things");
        }
        all.into_iter().collect()
    }
}

/// The document.
pub fn document(surface: &Surface, operations: impl Iterator<Item = Operation>) -> Value {
    let mut schemas = Schemas::new();
    let failure = schemas.answered(surface.failure);
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let (path, method) = (operation.path.to_owned(), operation.method.to_ascii_lowercase());
        let at = paths.entry(path).or_insert_with(|| json!({}));
        at[method] = described(surface, operation, &failure, &mut schemas);
    }
    let tags: Vec<Value> = surface
        .tags
        .iter()
        .map(|(name, description)| json!({"name": name, "description": description}))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": surface.title,
            "version": crate::version::VERSION,
            "description": surface.description,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": surface.server.0, "description": surface.server.1}],
        "tags": tags,
        "paths": paths,
        "components": {"schemas": schemas.finish()},
    })
}

fn described(surface: &Surface, operation: Operation, failure: &Value, schemas: &mut Schemas) -> Value {
    let mut parameters: Vec<Value> = operation
        .parameters
        .iter()
        .map(|parameter| {
            let (name, description) = (parameter.name, parameter.description);
            let mut schema = schemas.sent(parameter.shape);
            take(&mut schema, "description");
            json!({"name": name, "in": "path", "required": true, "description": description, "schema": schema})
        })
        .collect();
    parameters.extend(operation.query.into_iter().flat_map(|query| in_query(schemas, query)));
    let mut answers = refusals(surface, &operation.fails, failure);
    let (status, shape) = operation.answer;
    let done = match shape {
        Some(shape) => answer("It was done.".to_owned(), schemas.answered(shape)),
        None => json!({"description": "It was done."}),
    };
    answers.insert(status.to_string(), done);
    let mut said = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "x-action": operation.action,
        "parameters": parameters,
        "responses": answers,
    });
    if let Some(body) = operation.body {
        let content = json!({"application/json": {"schema": schemas.sent(body)}});
        said["requestBody"] = json!({"required": true, "content": content});
    }
    said
}

fn take(schema: &mut Value, key: &str) -> Option<Value> {
    schema.as_object_mut()?.remove(key)
}

/// The parameters of a query, from its type, whose schema is used up. None of them is ever `null`.
fn in_query(schemas: &mut Schemas, query: Shape) -> Vec<Value> {
    let mut whole = schemas.sent.clone();
    let reference = (query.schema)(&mut whole).to_value();
    let name = reference["$ref"].as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
    let mut schema = whole.take_definitions(true).remove(name).unwrap_or(reference);
    let required = take(&mut schema, "required").unwrap_or_default();
    let Some(Value::Object(properties)) = take(&mut schema, "properties") else { return Vec::new() };
    let one = |(name, mut schema): (String, Value)| {
        let description = take(&mut schema, "description");
        if let Value::Object(schema) = &mut schema {
            schema.retain(|_, value| !value.is_null());
        }
        if let Some([word, null]) = schema["type"].as_array().map(Vec::as_slice)
            && null == "null"
        {
            schema["type"] = word.clone();
        }
        let is_required = required.as_array().is_some_and(|all| all.iter().any(|one| *one == name));
        json!({"name": name, "in": "query", "required": is_required, "description": description, "schema": schema})
    };
    properties.into_iter().map(one).collect()
}

/// The answers by status, each with its codes.
fn refusals(surface: &Surface, fails: &[Failing], failure: &Value) -> Map<String, Value> {
    let mut statuses: BTreeMap<u16, Vec<(&str, &str)>> = BTreeMap::new();
    for failing in fails {
        let codes = statuses.entry(failing.status).or_default();
        if !codes.contains(&(failing.code, failing.message)) {
            codes.push((failing.code, failing.message));
        }
    }
    let one = |(status, mut codes): (u16, Vec<(&str, &str)>)| {
        codes.sort_unstable();
        let lines: Vec<String> =
            codes.iter().map(|(code, message)| format!("`{code}`: {}", message.replace("{}", "…"))).collect();
        let mut names: Vec<&str> = codes.iter().map(|(code, _)| *code).collect();
        names.dedup();
        let mut schema = failure.clone();
        if let (Value::Object(schema), Value::Object(only)) = (&mut schema, (surface.only)(&names)) {
            schema.extend(only);
        }
        (status.to_string(), answer(lines.join("\n\n"), schema))
    };
    statuses.into_iter().map(one).collect()
}

fn answer(description: String, schema: Value) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}
