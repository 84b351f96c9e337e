//! `/docs`: the OpenAPI description as one page of plain HTML, made when the server starts. No script, nothing from
//! outside, readable without either.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::openapi::OpenApi;

const STYLE: &str = include_str!("page/docs.css");

/// The finished page.
pub(super) struct Page {
    pub(super) html: String,
    pub(super) policy: String,
}

impl Page {
    /// Writes a description as a page.
    pub(super) fn of(description: &OpenApi) -> Self {
        let document = serde_json::to_value(description).unwrap_or_default();
        let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { html: html(&document), policy }
    }
}

fn html(document: &Value) -> String {
    let info = &document["info"];
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} {version}</title><style>{STYLE}</style><h1>{title} {version}</h1><p>{about}</p>\
         <p><a href=\"openapi.json\">openapi.json</a> is the same for programs.</p>",
        title = text(&info["title"]),
        version = text(&info["version"]),
        about = text(&info["description"]),
    );
    out.push_str("<h2>Routes</h2>");
    for (path, methods) in entries(&document["paths"]) {
        for (method, operation) in entries(methods) {
            write_operation(&mut out, path, method, operation);
        }
    }
    out.push_str("<h2>Types</h2>");
    for (name, schema) in document.pointer("/components/schemas").into_iter().flat_map(entries) {
        let _ = write!(
            out,
            "<section id=\"{0}\"><h3>{0}</h3><p>{1}</p>",
            escape(name),
            text(&schema["description"])
        );
        write_schema(&mut out, schema);
        out.push_str("</section>");
    }
    out
}

fn write_operation(out: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        out,
        "<section><h3><b>{}</b> <code>{}</code></h3><p>{}</p><p>{}</p>",
        escape(&method.to_uppercase()),
        escape(path),
        text(&operation["summary"]),
        text(&operation["description"])
    );
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    if !parameters.is_empty() {
        out.push_str("<h4>Parameters</h4><table>");
        for parameter in parameters {
            let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
            row(out, &format!("{name} ({place})"), &kind(&parameter["schema"]), &parameter["description"]);
        }
        out.push_str("</table>");
    }
    for (media, content) in operation.pointer("/requestBody/content").into_iter().flat_map(entries) {
        let _ =
            write!(out, "<h4>Body</h4><p>{}, <code>{}</code></p>", kind(&content["schema"]), escape(media));
    }
    out.push_str("<h4>Answers</h4><table>");
    for (status, answer) in entries(&operation["responses"]) {
        let kinds: Vec<String> = entries(&answer["content"]).map(|(_, c)| kind(&c["schema"])).collect();
        row(out, &escape(status), &kinds.join(", "), &answer["description"]);
    }
    out.push_str("</table></section>");
}

/// The fields of an object, the values of an enumeration, or what else a type is.
fn write_schema(out: &mut String, schema: &Value) {
    if schema["properties"].is_object() {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        out.push_str("<table>");
        for (name, field) in entries(&schema["properties"]) {
            let mark = if required.contains(&name) { "" } else { " <i>optional</i>" };
            row(out, &format!("<code>{}</code>{mark}", escape(name)), &kind(field), &field["description"]);
        }
        out.push_str("</table>");
    } else if let Some(parts) = ["oneOf", "anyOf", "allOf"].iter().find_map(|k| schema.get(*k)?.as_array()) {
        for part in parts {
            let _ = write!(out, "<p>{} {}</p>", kind(part), text(&part["description"]));
            if part["properties"].is_object() || part["allOf"].is_array() {
                write_schema(out, part);
            }
        }
    } else {
        let _ = write!(out, "<p>{}</p>", kind(schema));
    }
}

fn row(out: &mut String, name: &str, kind: &str, description: &Value) {
    let _ = write!(out, "<tr><th>{name}<td>{kind}<td>{}", text(description));
}

/// A type in a few words, with a link where it has a name.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        return format!("<a href=\"#{0}\">{0}</a>", escape(name));
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<String> = values.iter().map(|v| format!("<code>{}</code>", text(v))).collect();
        return values.join(" | ");
    }
    if let Some(parts) = ["oneOf", "anyOf", "allOf"].iter().find_map(|k| schema.get(*k)?.as_array()) {
        return parts.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if schema["items"].is_object() {
        return format!("list of {}", kind(&schema["items"]));
    }
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" or "),
        kind => text(kind),
    }
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// A string of the document, ready for HTML; empty for anything else.
fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_type_and_field_is_on_the_page_and_nothing_comes_from_outside() {
        let description = crate::http::openapi();
        let page = Page::of(&description);
        let document = serde_json::to_value(&description).unwrap();
        for (path, _) in entries(&document["paths"]) {
            assert!(page.html.contains(&format!("<code>{}</code>", escape(path))), "{path}");
        }
        for (name, schema) in document.pointer("/components/schemas").into_iter().flat_map(entries) {
            assert!(page.html.contains(&format!("id=\"{name}\"")), "{name}");
            for (field, _) in entries(&schema["properties"]) {
                assert!(page.html.contains(&format!("<code>{field}</code>")), "{name}.{field}");
            }
        }
        for link in page.html.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page.html.contains(&format!("id=\"{link}\"")), "{link} leads nowhere");
        }
        assert!(
            !page.html.contains("http://")
                && !page.html.contains("https://")
                && !page.html.contains("<script")
        );
    }

    #[test]
    fn text_can_not_become_markup() {
        assert_eq!(escape("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
    }
}
