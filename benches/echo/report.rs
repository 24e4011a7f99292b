//! A table in Markdown.

use crate::peers::Peer;
use std::panic::{AssertUnwindSafe, catch_unwind};

const ROUNDS: usize = 7;

/// Measures each peer once per round, and prints the medians, each with its ratio to the median of
/// the peer's reference.
///
/// The peers take turns, and each round starts with a different one. A peer that fails
/// (by panicking, as a failing test does) is not measured again.
pub fn table<'a>(
    title: &str,
    says: &str,
    columns: &[&str],
    peers: impl IntoIterator<Item = &'a Peer>,
    measure: impl Fn(&Peer) -> Vec<f64>,
) {
    let mut table: Vec<_> = peers.into_iter().map(|peer| (peer, Some(vec![]))).collect();
    for _ in 0..ROUNDS {
        for (peer, figures) in &mut table {
            let Some(rows) = figures else { continue };
            match catch_unwind(AssertUnwindSafe(|| measure(peer))) {
                Ok(row) => rows.push(row),
                Err(_) => *figures = None,
            }
        }
        table.rotate_left(1);
    }
    let turned = ROUNDS % table.len();
    table.rotate_right(turned);

    println!("### {title}\n\n{says}\n");
    println!("| | {} | ratio |", columns.join(" | ratio | "));
    println!("|---|{}", "---:|---:|".repeat(columns.len()));
    let figures = |name, column: usize| -> Vec<f64> {
        let rows = table.iter().find(|(peer, _)| peer.name == name);
        let rows = rows.and_then(|(_, rows)| rows.as_ref());
        rows.map_or(vec![], |rows| rows.iter().map(|row| row[column]).collect())
    };
    let mut spread = 0.0_f64;
    for (peer, _) in &table {
        print!("| {} |", peer.name);
        for column in 0..columns.len() {
            let own = figures(peer.name, column);
            let figure = median(own.iter().copied());
            let reference = median(figures(peer.reference, column).into_iter());
            print!(" {} | {} |", number(figure), number(figure / reference));
            spread = spread.max(median(own.iter().map(|one| (one / figure - 1.0).abs())));
        }
        println!();
    }
    let percent = spread * 100.0;
    println!(
        "\nMedians of {ROUNDS} rounds. Half of the rounds are within {percent:.0} % of their median.\n"
    );
    for (peer, _) in table.iter().filter(|(_, rows)| rows.is_none()) {
        println!("{} failed; standard error shows why.\n", peer.name);
    }
}

/// The median, or NaN if there are no figures.
pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = |n: usize| figures.get(n).copied().unwrap_or(f64::NAN);
    f64::midpoint(
        middle(figures.len().saturating_sub(1) / 2),
        middle(figures.len() / 2),
    )
}

/// A figure with at least three digits, or a dash if it is unknown.
fn number(figure: f64) -> String {
    match figure {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        0.0.. => format!("{figure:.2}"),
        _ => "–".to_owned(),
    }
}
