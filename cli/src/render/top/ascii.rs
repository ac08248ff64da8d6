//! For a terminal that was not said to understand UTF-8: the same picture in ASCII.

use ratatui::buffer::Buffer;

/// By the locale, as other programs tell it.
pub fn is_wanted() -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG"));
    let locale = locale.unwrap_or_default().to_lowercase();
    !locale.contains("utf-8") && !locale.contains("utf8")
}

pub fn translate(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            cell.set_symbol(match cell.symbol() {
                "─" => "-",
                "█" => "#",
                "▓" => "=",
                "▒" => "+",
                "░" => ".",
                "▸" | "▹" | "→" => ">",
                "←" => "<",
                "↑" => "^",
                "↓" => "v",
                "…" => "~",
                _ => "?",
            });
        }
    }
}
