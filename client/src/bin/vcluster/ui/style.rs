//! Colours by meaning, and the same lines without any.

use crate::failure::Line;

/// The colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    colour: bool,
}

const RED_BOLD: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const CYAN: &str = "\x1b[36m";
const FAINT: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

impl Palette {
    pub(crate) fn new(colour: bool) -> Self {
        Self { colour }
    }

    fn paint(self, style: &str, text: &str) -> String {
        if self.colour {
            format!("{style}{text}{RESET}")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn success(self, text: &str) -> String {
        // A word of its own stands where there is no colour to tell.
        if self.colour {
            format!("{} {text}", self.paint(GREEN, "✓"))
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn hint(self, text: &str) -> String {
        format!("{} {text}", self.paint(CYAN, "hint:"))
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.paint(FAINT, text)
    }

    pub(crate) fn failure(self, line: &Line) -> String {
        match line {
            Line::Error(text) => format!("{} {}", self.paint(RED_BOLD, "error:"), safe(text)),
            Line::Violation(text) => format!("  {}", safe(text)),
            Line::Cause(text) => format!("{} {}", self.paint(FAINT, "caused by:"), safe(text)),
            Line::Hint(text) => self.hint(&safe(text)),
        }
    }
}

/// Without control characters: what a peer says must not command the terminal.
pub(crate) fn safe(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The lines of a failure without colour.
#[cfg(test)]
pub(crate) fn plain(lines: &[Line]) -> String {
    let palette = Palette::new(false);
    let lines: Vec<_> = lines.iter().map(|line| palette.failure(line)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_command_the_terminal() {
        assert_eq!(safe("a\x1b[2Jb"), "a\u{fffd}[2Jb");
    }

    #[test]
    fn without_colour_there_are_no_escapes() {
        let palette = Palette::new(false);
        for text in [
            palette.success("x"),
            palette.hint("x"),
            palette.failure(&Line::Error("x".to_owned())),
        ] {
            assert!(!text.contains('\x1b'), "{text:?}");
        }
    }
}
