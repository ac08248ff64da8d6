//! Sixteen colours, which every terminal has and its owner chose, for light and for dark.
//!
//! Good and bad are blue and yellow or red, never green and red: one man in twelve does not
//! tell those apart. What needs eyes has a background of its own with a foreground that is
//! readable on it, whatever the terminal's is. Nothing is said by colour alone.

use ratatui::style::{Color, Modifier, Style};

/// What a piece of text is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Plain,
    Strong,
    /// It is where it shall be.
    Good,
    /// It moves.
    Busy,
    /// A person may want to look.
    Warn,
    /// A person has to look.
    Bad,
    /// There for those who search for it.
    Quiet,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Colours {
    #[default]
    Sixteen,
    /// As `NO_COLOR` asks: weight and reversal remain.
    None,
}

impl Colours {
    pub fn of_this_process() -> Self {
        match std::env::var_os("NO_COLOR") {
            Some(value) if !value.is_empty() => Self::None,
            _ => Self::Sixteen,
        }
    }

    pub fn style(self, mood: Mood) -> Style {
        let plain = Style::new();
        match (self, mood) {
            (_, Mood::Plain) | (Self::None, Mood::Good) => plain,
            (_, Mood::Strong) | (Self::None, Mood::Busy) => plain.add_modifier(Modifier::BOLD),
            (_, Mood::Quiet) => plain.add_modifier(Modifier::DIM),
            (Self::None, Mood::Warn) => plain.add_modifier(Modifier::UNDERLINED),
            (Self::None, Mood::Bad) => plain.add_modifier(Modifier::REVERSED),
            (Self::Sixteen, Mood::Good) => plain.fg(Color::LightBlue),
            (Self::Sixteen, Mood::Busy) => plain.fg(Color::Cyan),
            (Self::Sixteen, Mood::Warn) => plain.fg(Color::Black).bg(Color::Yellow),
            (Self::Sixteen, Mood::Bad) => plain.fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_there_is_none_and_moods_differ_still() {
        let moods = [Mood::Good, Mood::Busy, Mood::Warn, Mood::Bad, Mood::Quiet];
        for (i, mood) in moods.into_iter().enumerate() {
            let style = Colours::None.style(mood);
            assert_eq!((style.fg, style.bg), (None, None), "{mood:?}");
            for other in &moods[i + 1..] {
                assert_ne!(style, Colours::None.style(*other), "{mood:?} and {other:?}");
            }
        }
    }
}
