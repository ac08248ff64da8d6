//! Words that have to fit: cleaned, clipped, wrapped.

/// Lines of a log may hold anything; a terminal would obey some of it.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

pub fn width(text: &str) -> usize {
    text.chars().count()
}

/// As much as fits, and a sign that there was more.
pub fn clip(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(room.saturating_sub(1)).collect();
    if room > 0 {
        clipped.push('…');
    }
    clipped
}

/// Whole words in lines of this width; what follows the first is indented.
pub fn wrap(text: &str, room: usize, indent: usize) -> Vec<String> {
    let room = room.max(indent + 8);
    let mut lines = Vec::new();
    let mut line = String::new();
    let begin = |lines: &Vec<String>| {
        if lines.is_empty() {
            String::new()
        } else {
            " ".repeat(indent)
        }
    };
    for word in text.split(' ') {
        let mut word = word;
        loop {
            let is_bare = line.trim().is_empty();
            let space = usize::from(!is_bare);
            if width(&line) + space + width(word) <= room {
                if !is_bare {
                    line.push(' ');
                }
                line.push_str(word);
                break;
            }
            if is_bare {
                // Longer than a line: a path or a digest, which is cut where it has to be.
                let fits = room - width(&line);
                let cut = word.char_indices().nth(fits).map_or(word.len(), |(at, _)| at);
                line.push_str(&word[..cut]);
                word = &word[cut..];
            }
            lines.push(std::mem::take(&mut line));
            line = begin(&lines);
        }
    }
    if !line.trim().is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// The first that fits; of the last one, as much as does.
pub fn fitting<const N: usize>(candidates: [String; N], room: usize) -> String {
    let fits = candidates.iter().position(|candidate| width(candidate) <= room);
    let chosen = fits.unwrap_or(N.saturating_sub(1));
    clip(&candidates.into_iter().nth(chosen).unwrap_or_default(), room)
}

/// `12,345`: at a glance.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_whole() {
        for (text, room, expected) in [
            ("one two three", 9, &["one two", "  three"][..]),
            ("one", 9, &["one"]),
            ("", 9, &[""]),
            ("0123456789abcdef", 12, &["0123456789ab", "  cdef"]),
            ("see 0123456789abcdef", 12, &["see", "  0123456789", "  abcdef"]),
        ] {
            assert_eq!(wrap(text, room, 2), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_says_so() {
        assert_eq!(clip("fleet", 5), "fleet");
        assert_eq!(clip("fleets", 5), "flee…");
        assert_eq!(clip("fleets", 0), "");
        assert_eq!(clean("a\x1b[31mb\tc"), "a [31mb c");
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), expected);
        }
    }
}
