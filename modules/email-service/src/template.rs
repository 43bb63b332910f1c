//! Templates: a subject, a text and perhaps HTML with placeholders in double braces, such as `{{ name }}`.
//!
//! The language is minijinja's: values, their fields, conditions, loops and the filters that mail needs; no including of
//! other templates. What is rendered has a bound in steps and in bytes: a template is a tenant's own text, run on a thread
//! that all tenants share.

use std::{collections::BTreeSet, io};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, filters, tests as is};
use module_api::{prelude::*, rest::Problems};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::message::{MAX_PART_CHARS, MAX_SUBJECT_CHARS, rfc3339};

/// Instructions for one part: a loop over some thousands of lines. A guess.
const MAX_STEPS: u64 = 50_000;
/// Of one rendered part; as many bytes as characters may have in UTF-8.
const MAX_RENDERED_BYTES: usize = MAX_PART_CHARS * 4;
const MAX_NAME_BYTES: usize = 63;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: Option<String>,
}

/// The body of PUT.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemplateBody {
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
}

/// A template as stored; times in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredTemplate {
    subject: String,
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    html: Option<String>,
    created_at: i64,
    updated_at: i64,
}

/// A template as a client sees it.
#[derive(Debug, Serialize)]
pub(crate) struct TemplateView<'a> {
    name: &'a str,
    subject: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    html: Option<&'a str>,
    /// What `data` has to have.
    placeholders: BTreeSet<String>,
    created_at: String,
    updated_at: String,
    revision: u64,
}

/// Whether a template can have this name: lower-case letters, digits and `-`, a letter first.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

fn language() -> Environment<'static> {
    // Not `new`: it keeps all filters that there are in a static, 16 KiB that stay behind each time the module is unloaded.
    let mut language = Environment::empty();
    language.add_filter("safe", filters::safe);
    language.add_filter("escape", filters::escape);
    language.add_filter("default", filters::default);
    language.add_filter("upper", filters::upper);
    language.add_filter("lower", filters::lower);
    language.add_filter("title", filters::title);
    language.add_filter("capitalize", filters::capitalize);
    language.add_filter("trim", filters::trim);
    language.add_filter("replace", filters::replace);
    language.add_filter("join", filters::join);
    language.add_filter("length", filters::length);
    language.add_filter("first", filters::first);
    language.add_filter("last", filters::last);
    language.add_filter("round", filters::round);
    language.add_test("defined", is::is_defined);
    language.add_test("none", is::is_none);
    language.set_undefined_behavior(UndefinedBehavior::Strict);
    language.set_fuel(Some(MAX_STEPS));
    language.set_auto_escape_callback(|part| if part == "html" { AutoEscape::Html } else { AutoEscape::None });
    language
}

impl TemplateBody {
    /// Checks the fields, and that they can be read as templates.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with all problems.
    pub(crate) fn check(&self, now: i64) -> Result<StoredTemplate> {
        let mut problems = Problems::default();
        let subject = problems.required_line("subject", self.subject.as_deref(), MAX_SUBJECT_CHARS);
        let text = problems.optional_prose("text", self.text.as_deref(), MAX_PART_CHARS);
        if text.is_none() {
            problems.add("text", if self.text.is_none() { "is required" } else { "must not be empty" });
        }
        let text = text.unwrap_or_default();
        let html = problems.optional_prose("html", self.html.as_deref(), MAX_PART_CHARS);
        let language = language();
        for (field, source) in [("subject", Some(&subject)), ("text", Some(&text)), ("html", html.as_ref())] {
            if let Some(source) = source
                && let Err(error) = language.template_from_named_str(field, source)
            {
                problems.add(field, format_args!("can't be read as a template: {error}"));
            }
        }
        problems.settle()?;
        Ok(StoredTemplate { subject, text, html, created_at: now, updated_at: now })
    }
}

impl StoredTemplate {
    /// The same template with other contents.
    pub(crate) fn replaced_by(&self, other: &Self) -> Self {
        Self { created_at: self.created_at, ..other.clone() }
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("subject", Some(&*self.subject)), ("text", Some(&*self.text)), ("html", self.html.as_deref())]
            .into_iter()
            .filter_map(|(part, source)| Some((part, source?)))
    }

    /// The names of what goes into it.
    fn placeholders(&self) -> BTreeSet<String> {
        let language = language();
        self.parts()
            .filter_map(|(part, source)| language.template_from_named_str(part, source).ok())
            .flat_map(|template| template.undeclared_variables(false))
            .filter(|name| !language.globals().any(|(global, _)| global == name))
            .collect()
    }

    /// Puts data into the placeholders; HTML is escaped in `html`, and there only.
    ///
    /// # Errors
    ///
    /// REQUEST_INVALID with all problems: placeholders without data, what can't be rendered, what became too long.
    pub(crate) fn render(&self, data: &Map<String, Value>, is_html_on: bool) -> Result<Rendered> {
        let mut problems = Problems::default();
        let missing: Vec<_> = self.placeholders().into_iter().filter(|name| !data.contains_key(name)).collect();
        if !missing.is_empty() {
            problems.add("data", format_args!("lacks what the template needs: {}", missing.join(", ")));
            problems.settle()?;
            return Err(Error::internal("a problem was settled"));
        }
        let (language, values) = (language(), minijinja::Value::from(minijinja::value::Serde(data)));
        let mut render = |part: &str, source: &str| {
            let mut rendered = Bounded(Vec::new());
            let template = language.template_from_named_str(part, source);
            let done =
                template.and_then(|template| template.render_captured_to(values.clone(), &mut rendered).map(drop));
            if let Err(error) = done {
                problems.add("template", format_args!("can't be rendered in `{part}`: {error}"));
            }
            String::from_utf8(rendered.0).unwrap_or_default()
        };
        let (subject, text) = (render("subject", &self.subject), render("text", &self.text));
        let html = self.html.as_deref().filter(|_| is_html_on).map(|html| render("html", html));
        let rendered = Rendered {
            subject: problems.required_line("subject", Some(&subject), MAX_SUBJECT_CHARS),
            text: problems.optional_prose("text", Some(&text), MAX_PART_CHARS).unwrap_or_default(),
            html: problems.optional_prose("html", html.as_deref(), MAX_PART_CHARS),
        };
        problems.settle()?;
        Ok(rendered)
    }
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_RENDERED_BYTES {
            return Err(io::Error::other(format!("more than {MAX_RENDERED_BYTES} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a client sees of a stored template.
pub(crate) fn view<'a>(name: &'a str, revision: u64, stored: &'a StoredTemplate) -> TemplateView<'a> {
    TemplateView {
        name,
        subject: &stored.subject,
        text: &stored.text,
        html: stored.html.as_deref(),
        placeholders: stored.placeholders(),
        created_at: rfc3339(stored.created_at),
        updated_at: rfc3339(stored.updated_at),
        revision,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn template(body: Value) -> Result<StoredTemplate, String> {
        from_value::<TemplateBody>(body).unwrap().check(0).map_err(|error| error.to_string())
    }

    fn rendered(body: Value, data: Value) -> Result<Rendered, String> {
        let Value::Object(data) = data else { unreachable!("tests give objects") };
        template(body)?.render(&data, true).map_err(|error| error.to_string())
    }

    #[test]
    fn placeholders_are_filled_and_html_is_escaped_in_html_only() {
        let body = json!({"subject": "For {{ name }}", "text": "{{name}} at {{at.hour}}", "html": "<b>{{ name }}</b>"});
        let made = rendered(body, json!({"name": "A <i> & B", "at": {"hour": 9}, "more": true})).unwrap();
        assert_eq!((&*made.subject, &*made.text), ("For A <i> & B", "A <i> & B at 9"));
        assert_eq!(made.html.as_deref(), Some("<b>A &lt;i&gt; &amp; B</b>"));
    }

    #[test]
    fn all_that_is_missing_is_told() {
        let body = json!({"subject": "{{ a }}", "text": "{{ b }} {{ a }}", "html": "{{ c }}"});
        assert_eq!(rendered(body, json!({"b": 1})).unwrap_err(), "`data` lacks what the template needs: a, c");
        let inner = rendered(json!({"subject": "s", "text": "{{ a.b }}"}), json!({"a": {}})).unwrap_err();
        assert!(inner.starts_with("`template` can't be rendered in `text`: undefined value"), "{inner}");
    }

    #[test]
    fn what_can_not_be_read_is_refused_when_it_is_put() {
        let error = template(json!({"subject": "{{ a", "text": "{% if %}", "html": "{% include 'x' %}"})).unwrap_err();
        for part in ["`subject` can't be read", "`text` can't be read", "`html` can't be read"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(template(json!({})).unwrap_err(), "`subject` is required; `text` is required");
    }

    #[test]
    fn data_can_not_put_a_header_into_a_subject() {
        let body = json!({"subject": "Hi {{ name }}", "text": "t"});
        let error = rendered(body, json!({"name": "x\r\nBcc: b@c.d"})).unwrap_err();
        assert_eq!(error, "`subject` must be one line without control characters");
    }

    #[test]
    fn a_template_that_would_not_end_is_ended() {
        let many: Vec<u32> = (0..2_000).collect();
        let body = |text: &str| json!({"subject": "s", "text": text});
        let steps = rendered(
            body("{% for a in many %}{% for b in many %}{{ b }}{% endfor %}{% endfor %}"),
            json!({"many": many}),
        );
        assert!(steps.unwrap_err().contains("out of fuel"));
        let bytes = rendered(
            body("{% for a in many %}{{ long }}{% endfor %}"),
            json!({"many": many, "long": "x".repeat(1000)}),
        );
        assert!(bytes.unwrap_err().contains("can't be rendered in `text`"));
        let repeated = rendered(body("{{ 'x' * 1000000000 }}"), json!({}));
        assert!(repeated.unwrap_err().contains("can't be rendered in `text`"));
        assert!(rendered(body("{% for a in range(9) %}x{% endfor %}"), json!({})).is_err());
    }

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "appointment-confirmed", "a1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "1a", "a b", "a/b", "ä", &"a".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
