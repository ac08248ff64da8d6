//! How the cells of many nodes are laid into a given room: with their names as long as there
//! are few, one letter each as long as they fit, and one letter for several beyond that.

use super::groups::Group;

/// Beyond so many, names are not worth measuring.
const NAMED_MAX: usize = 200;
const NAME_MAX: usize = 24;
const LABEL_MAX: usize = 14;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `o web-01`, so wide.
    Named(usize),
    Spaced,
    Dense,
}

impl Shape {
    const fn width(self) -> usize {
        match self {
            Self::Named(width) => width,
            Self::Spaced => 2,
            Self::Dense => 1,
        }
    }
}

/// Some nodes of one group, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub group: usize,
    /// Among the group's nodes.
    pub from: usize,
    pub to: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    pub shape: Shape,
    /// Nodes that one cell stands for.
    pub each: usize,
    pub columns: usize,
    /// Columns of the screen before the cells.
    pub label: usize,
    pub rows: Vec<Row>,
}

/// What has to be seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All of it at once, however coarse.
    Whole,
    /// Each node, for one is selected; the rest is scrolled to.
    Each,
}

/// `longest` is the length of the longest name among them.
pub fn sheet(groups: &[Group], longest: usize, (width, height): (usize, usize), sight: Sight) -> Sheet {
    let names = groups.iter().map(|group| group.name.chars().count());
    let label = names.max().unwrap_or(0).min(LABEL_MAX) + 2;
    let lay = |shape: Shape, each: usize| {
        let columns = (width.saturating_sub(label) / shape.width()).max(1);
        Sheet {
            shape,
            each,
            columns,
            label,
            rows: rows(groups, columns * each),
        }
    };
    // Each group has a line of its own, whatever each of its letters stands for.
    let room = height.max(groups.len());
    let count: usize = groups.iter().map(|group| group.nodes.len()).sum();
    if count <= NAMED_MAX {
        let named = lay(Shape::Named(longest.min(NAME_MAX) + 4), 1);
        if named.rows.len() <= room {
            return named;
        }
    }
    for shape in [Shape::Spaced, Shape::Dense] {
        let sheet = lay(shape, 1);
        if sheet.rows.len() <= room || (shape == Shape::Dense && sight == Sight::Each) {
            return sheet;
        }
    }
    // More nodes a cell until it fits, or until each group is one line.
    let mut each = 2;
    loop {
        let sheet = lay(Shape::Dense, each);
        if sheet.rows.len() <= room {
            return sheet;
        }
        each += 1;
    }
}

fn rows(groups: &[Group], nodes_a_row: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        let count = group.nodes.len();
        for from in (0..count).step_by(nodes_a_row) {
            rows.push(Row {
                group: at,
                from,
                to: (from + nodes_a_row).min(count),
            });
        }
    }
    rows
}

impl Sheet {
    /// The row and the cell in it of the node at this place among those shown.
    pub fn find(&self, place: usize) -> Option<(usize, usize)> {
        let mut before = 0;
        for (at, row) in self.rows.iter().enumerate() {
            let nodes = row.to - row.from;
            if place < before + nodes {
                return Some((at, (place - before) / self.each));
            }
            before += nodes;
        }
        None
    }

    /// The other way round; a cell beyond the row's end is its last one.
    pub fn place(&self, row: usize, cell: usize) -> Option<usize> {
        let wanted = self.rows.get(row)?;
        let before: usize = self.rows[..row].iter().map(|row| row.to - row.from).sum();
        let last = (wanted.to - wanted.from).saturating_sub(1);
        Some(before + (cell * self.each).min(last))
    }

    /// The first row to show, so that the given one is among so many.
    pub fn top(&self, row: usize, height: usize) -> usize {
        let last = self.rows.len().saturating_sub(height);
        row.saturating_sub(height / 2).min(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sizes: &[usize]) -> Vec<Group> {
        let group = |(at, size): (usize, &usize)| Group {
            name: format!("wave {at}"),
            nodes: (0..*size).collect(),
        };
        sizes.iter().enumerate().map(group).collect()
    }

    #[test]
    fn the_finest_that_fits_is_taken() {
        for (sizes, room, sight, shape, each) in [
            (&[1, 9][..], (78, 4), Sight::Whole, Shape::Named(7), 1),
            (&[1, 40], (78, 3), Sight::Whole, Shape::Spaced, 1),
            (&[1, 60], (78, 2), Sight::Whole, Shape::Dense, 1),
            (&[1000, 9000], (78, 8), Sight::Whole, Shape::Dense, 19),
            (&[1000, 9000], (78, 8), Sight::Each, Shape::Dense, 1),
            (&[1, 1, 1, 1], (78, 2), Sight::Whole, Shape::Named(7), 1),
            (&[], (78, 2), Sight::Whole, Shape::Named(7), 1),
        ] {
            let sheet = sheet(&of(sizes), 3, room, sight);
            assert_eq!((sheet.shape, sheet.each), (shape, each), "{sizes:?}");
        }
    }

    #[test]
    fn every_place_is_found_again() {
        let groups = of(&[1, 40, 161, 7]);
        for sight in [Sight::Whole, Sight::Each] {
            let sheet = sheet(&groups, 9, (40, 5), sight);
            for place in 0..209 {
                let found = sheet.find(place);
                let back = found.and_then(|(row, cell)| sheet.place(row, cell));
                assert_eq!(back.and_then(|back| sheet.find(back)), found, "{place}");
                if sheet.each == 1 {
                    assert_eq!(back, Some(place));
                }
            }
            assert_eq!(sheet.find(209), None);
        }
    }
}
