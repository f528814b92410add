//! What was measured, as a table or as one line of JSON.

/// One thing that was measured on both sides.
pub struct Row {
    pub what: String,
    pub ours: f64,
    pub peer: f64,
    pub unit: &'static str,
    pub more_is_better: bool,
    pub wanted: f64,
}

impl Row {
    fn ratio(&self) -> f64 {
        if self.more_is_better { self.ours / self.peer } else { self.peer / self.ours }
    }
}

/// The value in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints a table.
pub fn print(rows: &[Row]) {
    println!("{:<48} {:>12} {:>12} {:>5} {:>7} {:>7}", "what", "ours", "peer", "unit", "ratio", "wanted");
    for row in rows {
        println!(
            "{:<48} {:>12.2} {:>12.2} {:>5} {:>7.2} {:>7.2}",
            row.what,
            row.ours,
            row.peer,
            row.unit,
            row.ratio(),
            row.wanted
        );
    }
    println!("A row without a peer shows its target there. A ratio above 1 means that ours is better.");
}

/// One line of JSON.
pub fn json(rows: &[Row]) -> String {
    let number = |value: f64| if value.is_finite() { format!("{value:.4}") } else { "null".to_owned() };
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            format!(
                r#"{{"what":"{}","ours":{},"peer":{},"unit":"{}","ratio":{},"wanted":{}}}"#,
                row.what,
                number(row.ours),
                number(row.peer),
                row.unit,
                number(row.ratio()),
                number(row.wanted)
            )
        })
        .collect();
    format!(r#"{{"data":{{"rows":[{}]}}}}"#, rows.join(","))
}
