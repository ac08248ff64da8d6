//! What is selected, open and searched for after some keys.

use fleetctl::render::top::keys::{Effect, Key};
use fleetctl::render::top::model::{Focus, Model, News, Page};
use serde_json::{Value, json};

use super::fleets::{NOW, great, model, stopped};

/// `q` and `?` are letters; the rest as people call them.
fn key(word: &str) -> Key {
    match word {
        "up" => Key::Up,
        "down" => Key::Down,
        "left" => Key::Left,
        "right" => Key::Right,
        "enter" => Key::Enter,
        "esc" => Key::Escape,
        "tab" => Key::Tab,
        "home" => Key::Home,
        "end" => Key::End,
        "page-down" => Key::PageDown,
        "backspace" => Key::Backspace,
        "ctrl-c" => Key::Interrupt,
        "ctrl-l" => Key::Redraw,
        _ => Key::Char(word.chars().next().unwrap()),
    }
}

fn after(status: &Value, words: &str) -> (Model, Effect) {
    let mut model = model(status, (80, 24));
    let mut effect = Effect::None;
    for word in words.split_whitespace() {
        effect = model.on_key(key(word));
    }
    (model, effect)
}

/// The selected node's name.
fn selected(model: &Model) -> Option<String> {
    let fleet = model.fleet.as_ref()?;
    Some(fleet.status.nodes[model.selected_node()?].node.to_string())
}

#[test]
fn rollouts_are_selected_and_opened() {
    for (words, chosen) in [
        ("", 4),
        ("down", 3),
        ("j", 3),
        ("down down", 3),
        ("down up", 4),
        ("j k k", 4),
        ("end", 3),
        ("end home", 4),
    ] {
        let (model, _) = after(&stopped(), words);
        assert_eq!(model.chosen().unwrap().number.0, chosen, "{words}");
        let (model, _) = after(&stopped(), &format!("{words} enter"));
        assert!(
            matches!(model.page, Page::Rollout(number) if number.0 == chosen),
            "{words}: {:?}",
            model.page
        );
        let (model, _) = after(&stopped(), &format!("{words} enter esc"));
        assert_eq!(
            (&model.page, model.chosen().unwrap().number.0),
            (&Page::Fleet, chosen)
        );
    }
}

#[test]
fn nodes_are_selected_as_they_lie() {
    // By zone: a has n03 n06 n09, b has n01 n04 n07 n10, c has n02 n05 n08.
    for (words, name) in [
        ("tab", "n03"),
        ("tab right", "n06"),
        ("tab l l l", "n01"),
        ("tab right h h", "n03"),
        ("tab down", "n01"),
        ("tab down end home j", "n01"),
        ("tab down right right right down", "n08"),
        ("tab down right right right down up", "n07"),
        ("tab page-down", "n02"),
        ("tab end", "n08"),
        ("tab end right", "n08"),
    ] {
        let (model, _) = after(&stopped(), &format!("g {words}"));
        assert_eq!(selected(&model).as_deref(), Some(name), "{words}");
        let (model, effect) = after(&stopped(), &format!("g {words} enter"));
        assert!(matches!(&model.page, Page::Node(node) if node.as_str() == name));
        assert_eq!(effect, Effect::AskNode);
    }
}

#[test]
fn a_search_narrows_what_is_shown() {
    for (words, shown) in [
        ("/ n 0 enter", 9),
        ("/ z o n e = a enter", 3),
        ("/ f a i l e d enter", 0),
        ("/ r o l l i n g enter", 1),
        ("/ z o n e = a enter esc", 10),
        ("/ n 1 backspace", 10),
        ("/ n 1 esc", 10),
        // Letters of a search are no commands.
        ("/ q", 0),
    ] {
        let (model, effect) = after(&stopped(), words);
        let count: usize = model.groups.iter().map(|group| group.nodes.len()).sum();
        assert_eq!((count, effect), (shown, Effect::None), "{words}");
    }
}

#[test]
fn who_quits_quits_from_everywhere_but_a_search() {
    for (words, expected) in [
        ("q", Effect::Quit),
        ("ctrl-c", Effect::Quit),
        ("enter q", Effect::Quit),
        ("? q", Effect::Quit),
        ("/ q", Effect::None),
        ("/ q ctrl-c", Effect::Quit),
        ("ctrl-l", Effect::Redraw),
        ("x", Effect::None),
    ] {
        assert_eq!(after(&stopped(), words).1, expected, "{words}");
    }
    assert_eq!(after(&stopped(), "?").0.page, Page::Keys);
    assert_eq!(after(&stopped(), "? ?").0.page, Page::Fleet);
}

#[test]
fn ten_thousand_nodes_are_walked_through() {
    let (model, _) = after(&great(), "tab end up");
    assert_eq!(model.focus, Focus::Nodes);
    let name = selected(&model).unwrap();
    assert!(("n09800".."n10000").contains(&name.as_str()), "{name}");
}

/// What a person selected stays selected, whatever comes in; what has gone is not.
#[test]
fn news_do_not_move_what_is_selected() {
    let (mut model, _) = after(&stopped(), "down tab right");
    let mut news = stopped();
    news["rollouts"][0]["state"] = json!("succeeded");
    model.take(
        News::Status(Box::new(serde_json::from_value(news.clone()).unwrap())),
        NOW,
    );
    assert_eq!(model.chosen().unwrap().number.0, 3);
    assert_eq!(selected(&model).as_deref(), Some("n06"));
    news["nodes"].as_array_mut().unwrap().remove(5);
    model.take(News::Status(Box::new(serde_json::from_value(news).unwrap())), NOW);
    assert_eq!(selected(&model), None);
}
