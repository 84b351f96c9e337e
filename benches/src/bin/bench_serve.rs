//! Servers side by side in one run: receipts per second, p50, p99 and memory at 1, 4 and 16 clients.
//!
//! `bench_serve --recipes recipes.json --receipts test.jsonl`; the servers take turns, so that a machine whose clock
//! moves treats them alike. Prints a table, and one JSON object per line with `--json`.
#![allow(clippy::print_stdout)] // The table is the product.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;
use layoutlm_benches::peer::median;
use layoutlm_benches::serve::load::{Target, closed};
use layoutlm_benches::serve::process::{Recipe, Server};
use serde_json::json;

/// Measure servers side by side
#[derive(Debug, Parser)]
struct Arguments {
    /// JSON list of {"name", "command": […]}; "{port}" in a command becomes the port
    #[arg(long)]
    recipes: PathBuf,
    /// Receipts to ask for, one JSON object per line
    #[arg(long)]
    receipts: PathBuf,
    /// Receipts used of them, spread evenly
    #[arg(long, default_value_t = 64)]
    count: usize,
    /// Clients
    #[arg(long, value_delimiter = ',', default_value = "1,4,16")]
    clients: Vec<usize>,
    /// Seconds of each stretch
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Stretches of each server and number of clients
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// JSON lines instead of a table
    #[arg(long)]
    json: bool,
    /// Folder for the servers' logs
    #[arg(long, default_value = "target/bench-serve")]
    logs: PathBuf,
}

#[derive(Debug, Default)]
struct Row {
    per_second: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    cpu_ms: Vec<f64>,
    peak_mib: f64,
    ready_ms: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let text = std::fs::read_to_string(&arguments.recipes).context("reading --recipes")?;
    let recipes: Vec<Recipe> = serde_json::from_str(&text).context("reading --recipes")?;
    let bodies = bodies(&arguments)?;
    std::fs::create_dir_all(&arguments.logs)?;
    let mut rows = BTreeMap::<(usize, usize), Row>::new();
    for round in 0..arguments.rounds {
        for (place, recipe) in recipes.iter().enumerate() {
            // Each server alone: one that only waits still holds memory and may spin.
            let server = Server::start(recipe, &arguments.logs.join(format!("{}.log", recipe.name)))?;
            let target = Target { address: server.address(), bodies: &bodies };
            closed(target, 2, 1.0);
            for &clients in &arguments.clients {
                let cpu = server.cpu_seconds();
                let summary = closed(target, clients, arguments.seconds);
                if !summary.all_accepted() {
                    bail!("{} answered {:?} {:?}", recipe.name, summary.statuses, summary.failures);
                }
                let row = rows.entry((place, clients)).or_default();
                let answers = summary.count(200).max(1) as f64;
                row.per_second.push(summary.per_second);
                row.p50_ms.push(summary.p50_ms);
                row.p99_ms.push(summary.p99_ms);
                row.cpu_ms.push((server.cpu_seconds() - cpu) * 1e3 / answers);
                row.peak_mib = row.peak_mib.max(server.memory_mib().1);
                row.ready_ms.push(server.ready_in().as_secs_f64() * 1e3);
                eprintln!(
                    "round {} {} {clients} clients: {:.1}/s",
                    round + 1,
                    recipe.name,
                    summary.per_second
                );
            }
        }
    }
    show(&arguments, &recipes, &rows);
    Ok(())
}

/// Receipts spread over the file, as they are.
fn bodies(arguments: &Arguments) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(&arguments.receipts).context("reading --receipts")?;
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    if lines.is_empty() {
        bail!("{} holds no receipt", arguments.receipts.display());
    }
    let step = (lines.len() / arguments.count.max(1)).max(1);
    Ok(lines.into_iter().step_by(step).take(arguments.count).map(String::from).collect())
}

fn show(arguments: &Arguments, recipes: &[Recipe], rows: &BTreeMap<(usize, usize), Row>) {
    if !arguments.json {
        println!(
            "| server | clients | receipts/s | p50 ms | p99 ms | CPU ms per receipt | peak MiB | ready ms |"
        );
        println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    }
    for ((place, clients), row) in rows {
        let name = recipes.get(*place).map_or("", |r| r.name.as_str());
        let (per_second, p50, p99) = (median(&row.per_second), median(&row.p50_ms), median(&row.p99_ms));
        let (cpu, peak, ready) = (median(&row.cpu_ms), row.peak_mib, median(&row.ready_ms));
        if arguments.json {
            let line = json!({"server": name, "clients": clients, "per_second": per_second, "p50_ms": p50, "p99_ms": p99,
                "cpu_ms": cpu, "peak_mib": peak, "ready_ms": ready});
            println!("{line}");
        } else {
            println!(
                "| {name} | {clients} | {per_second:.1} | {p50:.1} | {p99:.1} | {cpu:.1} | {peak:.0} | {ready:.0} |"
            );
        }
    }
}
