//! Two lists beside each other.

/// `left` and `right` as two columns under their titles, with a rule between them.
pub(super) fn side_by_side(left: (&str, &[String]), right: (&str, &[String])) -> String {
    let width = left
        .1
        .iter()
        .map(String::as_str)
        .chain([left.0])
        .map(length)
        .max()
        .unwrap_or(0);
    let other = right
        .1
        .iter()
        .map(String::as_str)
        .chain([right.0])
        .map(length)
        .max()
        .unwrap_or(0);
    let mut lines = vec![
        format!("   {}{} │ {}", left.0, blanks(width, left.0), right.0),
        format!("   {}─┼─{}", "─".repeat(width), "─".repeat(other)),
    ];
    for row in 0..left.1.len().max(right.1.len()) {
        let [one, two] = [left.1, right.1].map(|side| side.get(row).map_or("", String::as_str));
        lines.push(
            format!("   {one}{} │ {two}", blanks(width, one))
                .trim_end()
                .to_owned(),
        );
    }
    lines.join("\n")
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn blanks(width: usize, text: &str) -> String {
    " ".repeat(width.saturating_sub(length(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_side_ends_in_blanks() {
        let left = ["pod/web".to_owned()];
        let right = ["pod/web-x-shop-x-demo".to_owned(), "pod/demo-0".to_owned()];
        let text = side_by_side(("inside", &left), ("host", &right));
        let expected = [
            "   inside  │ host",
            "   ────────┼──────────────────────",
            "   pod/web │ pod/web-x-shop-x-demo",
            "           │ pod/demo-0",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
