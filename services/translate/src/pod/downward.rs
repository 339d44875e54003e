//! The downward API: what a pod may ask about itself.
//!
//! kubelet answers from the host pod. Every path that would tell the host's value is redirected to
//! an annotation or label of the host pod that holds the virtual one.

use std::fmt::Write as _;

use serde_json::Value;
use vcluster_resources::label::{VIRTUAL_NAME, VIRTUAL_NAMESPACE, VIRTUAL_UID};

use super::scope::Scope;
use crate::{Refusal, json::strings, label};

/// Annotation of a host pod: the name of its virtual service account.
const SERVICE_ACCOUNT: &str = "vcluster.dev/service-account";
/// Annotation of a host pod: its virtual labels, as kubelet writes them into a file.
const LABELS: &str = "vcluster.dev/labels";
/// Annotation of a host pod: its virtual annotations, as kubelet writes them into a file.
const ANNOTATIONS: &str = "vcluster.dev/annotations";

/// Redirects a `fieldRef` at `field`.
pub(super) fn redirect(field_ref: &mut Value, field: &str, scope: &mut Scope<'_>) {
    let Some(Value::String(path)) = field_ref.get_mut("fieldPath") else {
        return;
    };
    let annotation = |key: &str| format!("metadata.annotations['{key}']");
    let redirected = match path.as_str() {
        "metadata.name" => annotation(VIRTUAL_NAME),
        "metadata.namespace" => annotation(VIRTUAL_NAMESPACE),
        "metadata.uid" => annotation(VIRTUAL_UID),
        "metadata.labels" => {
            let rendered = render(strings(scope.pod, "/metadata/labels"));
            scope.annotations.insert(LABELS.to_owned(), rendered.into());
            annotation(LABELS)
        }
        "metadata.annotations" => {
            let rendered = render(strings(scope.pod, "/metadata/annotations"));
            scope
                .annotations
                .insert(ANNOTATIONS.to_owned(), rendered.into());
            annotation(ANNOTATIONS)
        }
        "spec.serviceAccountName" => {
            scope
                .annotations
                .insert(SERVICE_ACCOUNT.to_owned(), scope.service_account().into());
            annotation(SERVICE_ACCOUNT)
        }
        other => {
            if let Some(key) = subscript(other, "metadata.labels") {
                format!("metadata.labels['{}']", label::host_key(key))
            } else if let Some(key) = subscript(other, "metadata.annotations") {
                annotation(&scope.carry_annotation(key))
            } else if other.starts_with("metadata.") {
                return scope.refuse(Refusal::not_supported(
                    format!("{field}.fieldPath"),
                    format!(
                        "{other:?} is not known here, and the host would answer it with a value \
                         of its own; use metadata.name, namespace, uid, labels or annotations"
                    ),
                ));
            } else {
                // spec.nodeName and status.*: inside as on the host.
                return;
            }
        }
    };
    *path = redirected;
}

/// `key` of `path['key']`.
fn subscript<'a>(path: &'a str, field: &str) -> Option<&'a str> {
    path.strip_prefix(field)?
        .strip_prefix("['")?
        .strip_suffix("']")
}

/// A map as kubelet writes it into a file of a downward-API volume (`fieldpath.FormatMap`): one
/// `key="value"` a line, sorted by key, values quoted as Go does, no newline at the end.
fn render<'a>(map: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut pairs: Vec<_> = map.collect();
    pairs.sort_unstable();
    let lines: Vec<_> = pairs
        .into_iter()
        .map(|(key, value)| format!("{key}={}", quote(value)))
        .collect();
    lines.join("\n")
}

/// Go's `strconv.Quote`.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        // Writing to a String does not fail.
        let _ = match c {
            '"' | '\\' => write!(out, "\\{c}"),
            '\u{7}' => write!(out, "\\a"),
            '\u{8}' => write!(out, "\\b"),
            '\u{c}' => write!(out, "\\f"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            '\u{b}' => write!(out, "\\v"),
            c if printable(c) => write!(out, "{c}"),
            c if u32::from(c) < 0x80 => write!(out, "\\x{:02x}", u32::from(c)),
            c if u32::from(c) < 0x1_0000 => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "\\U{:08x}", u32::from(c)),
        };
    }
    out.push('"');
    out
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space. Rust
/// knows the same classes behind `escape_debug`, except that it escapes a leading combining mark.
fn printable(c: char) -> bool {
    c.is_ascii_graphic()
        || c == ' '
        || (!c.is_ascii() && !format!("a{c}").escape_debug().any(|c| c == '\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_written_as_kubelet_does() {
        // The expected text is that of fieldpath.FormatMap for the same map.
        let map = [("b", "two\nlines"), ("a/x", r#"a "quoted" \ text"#)];
        assert_eq!(
            render(map.into_iter()),
            "a/x=\"a \\\"quoted\\\" \\\\ text\"\nb=\"two\\nlines\""
        );
        assert_eq!(render([].into_iter()), "");
    }

    #[test]
    fn text_is_quoted_as_go_does() {
        let cases = [
            ("it's", "\"it's\""),
            ("ü漢🦀", "\"ü漢🦀\""),
            ("\u{301}", "\"\u{301}\""),
            ("\0\u{7f}\u{1b}", "\"\\x00\\x7f\\x1b\""),
            ("\u{85}\u{200b}\u{feff}", "\"\\u0085\\u200b\\ufeff\""),
            ("\u{a0}", "\"\\u00a0\""),
            ("\u{e0001}", "\"\\U000e0001\""),
            ("\u{7}\u{8}\u{c}\r\t\u{b}", r#""\a\b\f\r\t\v""#),
        ];
        for (text, quoted) in cases {
            assert_eq!(quote(text), quoted, "{text:?}");
        }
    }
}
