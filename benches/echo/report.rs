//! Turns, medians, and tables in Markdown.

use crate::peers::Peer;

/// Each peer's figures: of each round, all its columns.
pub type Rounds = Vec<Vec<Vec<f64>>>;

/// Lets the peers take turns, and begins each round with another one.
pub fn take_turns(peers: &[&Peer], rounds: usize, measure: impl Fn(&Peer) -> Vec<f64>) -> Rounds {
    let mut figures = vec![Vec::new(); peers.len()];
    for round in 0..rounds {
        for turn in 0..peers.len() {
            let n = (round + turn) % peers.len();
            figures[n].push(measure(peers[n]));
        }
    }
    figures
}

/// A column: its place among a round's figures, what it is of, and its unit.
pub type Column<'a> = (usize, &'a str, &'a str);

/// Prints a table: each peer's figures, and before each its ratio to the reference.
pub fn print(title: &str, says: &str, peers: &[&Peer], figures: &Rounds, columns: &[Column]) {
    let named = |name| peers.iter().position(|peer| peer.name == name);
    let reference = named("plain C").or(named("floor")).unwrap_or(0);

    println!("### {title}\n\n{says}\n");
    if peers.is_empty() {
        return println!("There is nothing to compare.\n");
    }
    let all = |peer: usize, column: usize| figures[peer].iter().map(move |round| round[column]);
    print!("| |");
    for (_, of, unit) in columns {
        let comma = if of.is_empty() { "" } else { ", " };
        print!(" ratio to {}{comma}{of} | {unit} |", peers[reference].name);
    }
    println!("\n|---|{}", "---:|---:|".repeat(columns.len()));
    let mut spread = 0.0_f64;
    for (n, peer) in peers.iter().enumerate() {
        print!("| {} |", peer.name);
        for &(column, ..) in columns {
            let figure = median(all(n, column));
            if figure.is_nan() {
                print!(" – | – |");
                continue;
            }
            let ratio = figure / median(all(reference, column));
            print!(" {ratio:.2} | {} |", number(figure));
            spread = spread.max(median(all(n, column).map(|one| (one / figure - 1.0).abs())));
        }
        println!();
    }
    let (rounds, percent) = (figures[0].len(), spread * 100.0);
    println!(
        "\nMedians of {rounds} rounds, half of which are at most {percent:.0} % off their median.\n"
    );
}

pub fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let (low, high) = ((figures.len() - 1) / 2, figures.len() / 2);
    f64::midpoint(figures[low], figures[high])
}

/// To three digits or more, if it has as many, with a comma for thousands.
fn number(figure: f64) -> String {
    match figure {
        1000.0.. => thousands(figure.round() as usize),
        100.0.. => format!("{figure:.0}"),
        _ if figure.fract() == 0.0 => format!("{figure}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

pub fn thousands(n: usize) -> String {
    match n {
        0..1000 => n.to_string(),
        _ => format!("{},{:03}", thousands(n / 1000), n % 1000),
    }
}
