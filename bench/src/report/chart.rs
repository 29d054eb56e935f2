//! The ratios as a bar chart in SVG.

use std::fmt::Write as _;

use super::Report;

/// Pixels of one bar, with its gap.
const ROW: usize = 22;
/// Pixels left of the bars.
const LEFT: usize = 250;
/// Pixels of a bar that reaches the limit.
const WIDTH: f64 = 420.0;
/// Above this ratio a bar is cut off.
const LONGEST: f64 = 1.1;
const COLORS: [&str; 4] = ["#2f6fab", "#c7772b", "#4a8f4a", "#8a5aa8"];

impl Report {
    /// A chart of each scenario's requests per second, as a fraction of the limit.
    pub(super) fn chart(&self) -> String {
        let served = self.served();
        let rows: Vec<_> = (0..self.scenarios.len())
            .filter(|row| served.iter().any(|column| self.ratio(*row, *column).is_some()))
            .collect();
        let height = (rows.len() * served.len().max(1) + 3) * ROW;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"760\" height=\"{height}\" fill=\"#fff\"/>\n\
             <text x=\"10\" y=\"18\" font-weight=\"bold\">Requests per second, as a fraction of the limit</text>\n"
        );
        axis(&mut svg, height);
        let mut y = 36;
        for row in rows {
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                LEFT - 8,
                y + ROW * served.len() / 2 + 4,
                self.scenarios[row].name
            )
            .ok();
            for (position, column) in served.iter().enumerate() {
                let ratio = self.ratio(row, *column).unwrap_or_default();
                bar(
                    &mut svg,
                    y,
                    ratio,
                    COLORS[position % COLORS.len()],
                    &self.columns[*column].name,
                );
                y += ROW;
            }
        }
        svg + "</svg>\n"
    }
}

fn axis(svg: &mut String, height: usize) {
    for tenths in [0, 2, 4, 6, 8, 10] {
        let x = LEFT as f64 + WIDTH * f64::from(tenths) / 10.0;
        writeln!(
            svg,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"30\" y2=\"{}\" stroke=\"#ddd\"/><text x=\"{x}\" y=\"{}\" \
             text-anchor=\"middle\" fill=\"#555\">{:.1}</text>",
            height - ROW - 10,
            height - 10,
            f64::from(tenths) / 10.0
        )
        .ok();
    }
}

fn bar(svg: &mut String, y: usize, ratio: f64, color: &str, name: &str) {
    let width = WIDTH * ratio.min(LONGEST);
    writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{color}\"><title>{name}</title></rect>\
         <text x=\"{:.1}\" y=\"{}\" fill=\"#333\">{ratio:.2}</text>",
        y + 3,
        ROW - 6,
        LEFT as f64 + width + 5.0,
        y + ROW / 2 + 5,
    )
    .ok();
}
