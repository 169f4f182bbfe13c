//! Reports the measurements as a table and as JSON.

use serde_json::json;
use std::path::Path;

/// A measured figure and its budget.
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) budget: Option<Budget>,
}

/// The limit of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

impl Figure {
    fn is_met(&self) -> Option<bool> {
        self.budget.map(|budget| match budget {
            Budget::AtMost(most) => self.value <= most,
            Budget::AtLeast(least) => self.value >= least,
        })
    }

    fn row(&self) -> String {
        let digits = match self.value {
            value if value >= 1000.0 => 0,
            value if value < 10.0 => 2,
            _ => 1,
        };
        let budget = match self.budget {
            None => String::new(),
            Some(Budget::AtMost(most)) => format!("at most {most} {}", self.unit),
            Some(Budget::AtLeast(least)) => format!("at least {least} {}", self.unit),
        };
        let met = match self.is_met() {
            None => "",
            Some(true) => "yes",
            Some(false) => "no",
        };
        format!(
            "| {} | {:.digits$} {} | {} | {met} |",
            self.what,
            self.value,
            self.unit,
            budget.trim_end()
        )
    }
}

/// Prints the reason why nothing is measured.
#[expect(clippy::print_stderr, reason = "errors go to standard error")]
pub(crate) fn complain(message: &str) {
    eprintln!("error: {message}");
}

/// Prints the table, and writes the figures as JSON to the target folder.
#[expect(clippy::print_stdout, reason = "the table is the result")]
pub(crate) fn tell(figures: &[Figure], file: &Path) {
    println!("\n| what | median | budget | met |\n| --- | --- | --- | --- |");
    figures.iter().for_each(|figure| println!("{}", figure.row()));
    let all: Vec<_> = figures
        .iter()
        .map(|figure| {
            let (most, least) = match figure.budget {
                None => (None, None),
                Some(Budget::AtMost(most)) => (Some(most), None),
                Some(Budget::AtLeast(least)) => (None, Some(least)),
            };
            json!({
                "what": figure.what, "median": figure.value, "unit": figure.unit.trim(),
                "at_most": most, "at_least": least, "met": figure.is_met(),
            })
        })
        .collect();
    std::fs::write(file, format!("{:#}\n", json!({ "figures": all })))
        .expect("the file is written");
    println!("\nThe same as JSON: {}", file.display());
    if figures.iter().any(|figure| figure.is_met() == Some(false)) {
        println!("BENCHMARKS.md explains budgets that are not met");
    }
}
