//! Text that may hold what a guest wrote, a file's name say, made fit for a log.

/// The most characters of a line.
const LONGEST_LINE: usize = 1000;
/// The most characters of several lines.
const LONGEST_TEXT: usize = 10_000;
/// What each of several lines begins with.
const INDENT: &str = "\n  ";

/// One line of at most 1,000 characters. Whatever a terminal would act on, line ends and changes of direction too, is
/// written as `Debug` writes it.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut line = String::new();
    append(&mut line, text, LONGEST_LINE);
    line
}

/// The lines of `text`, each made [`printable`], and 10,000 characters at most in all. Each is indented, so that none
/// can be taken for a record of its own.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    let mut lines = String::new();
    let mut left = LONGEST_TEXT;
    for line in text.trim_end().split('\n') {
        if left == 0 {
            lines.push_str(INDENT);
            lines.push('…');
            break;
        }
        lines.push_str(INDENT);
        let length = append(&mut lines, line, left.min(LONGEST_LINE));
        left = left.saturating_sub(length.saturating_add(INDENT.len()));
    }
    lines
}

/// Appends `text`, escaped, up to `longest` characters, and an ellipsis if that is not all. Returns how many.
fn append(line: &mut String, text: &str, longest: usize) -> usize {
    let mut length = 0_usize;
    for character in text.chars() {
        let plain = matches!(character, '\'' | '"' | '\\');
        let shown: String = if plain { character.into() } else { character.escape_debug().collect() };
        let longer = length.saturating_add(shown.chars().count());
        if longer > longest {
            line.push('…');
            break;
        }
        length = longer;
        line.push_str(&shown);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_wrote_becomes_one_line_of_bounded_length() {
        assert_eq!(printable("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(printable(&"x".repeat(LONGEST_LINE)).len(), LONGEST_LINE);
        assert_eq!(printable(&"x".repeat(LONGEST_LINE + 1)).chars().count(), LONGEST_LINE + 1);
    }

    #[test]
    fn lines_stay_lines_and_are_bounded_in_length_and_in_number() {
        assert_eq!(printable_lines("a\n\u{1b}b\r\n"), "\n  a\n  \\u{1b}b");
        let shown = printable_lines(&format!("{}\nend\n", "x".repeat(LONGEST_LINE + 1)));
        assert_eq!(shown, format!("\n  {}…\n  end", "x".repeat(LONGEST_LINE)));
        for hostile in ["\n".repeat(1 << 20), "\u{1}".repeat(1 << 20), format!("{}\n", "x".repeat(999)).repeat(2000)] {
            let shown = printable_lines(&hostile);
            assert!(shown.chars().count() <= LONGEST_TEXT + 10);
            assert!(shown.lines().all(|line| line.chars().count() <= LONGEST_LINE + 3));
        }
    }
}
