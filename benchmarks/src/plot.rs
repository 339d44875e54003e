//! Small plots as SVG, made by hand: two shapes are not worth a library. Pure.

use std::fmt::Write as _;

use crate::figures;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Lines across, with their values.
const STEPS: u32 = 4;

/// Bars of medians, with a line from the least to the most measured.
pub(crate) fn bars(title: &str, unit: &str, bars: &[(&str, &[f64])]) -> String {
    let most = bars
        .iter()
        .flat_map(|(_, all)| all.iter().copied())
        .fold(0.0, f64::max);
    let mut svg = frame(title, most);
    text(&mut svg, 12.0, TOP - 8.0, "start", unit);
    let slot = (WIDTH - LEFT - RIGHT) / figures::number(bars.len().max(1));
    for (number, (name, all)) in bars.iter().enumerate() {
        let middle = LEFT + slot * (figures::number(number) + 0.5);
        let [least, median, most_of_it] =
            [0.0, 0.5, 1.0].map(|share| height(figures::quantile(all, share), most));
        let _ = writeln!(
            svg,
            r##"<rect x="{:.1}" y="{median:.1}" width="{:.1}" height="{:.1}" fill="#4878a8"/>"##,
            middle - slot * 0.3,
            slot * 0.6,
            HEIGHT - BOTTOM - median,
        );
        let _ = writeln!(
            svg,
            r##"<path d="M{middle:.1} {least:.1} V{most_of_it:.1}" stroke="#222" stroke-width="2"/>"##,
        );
        text(&mut svg, middle, HEIGHT - BOTTOM + 18.0, "middle", name);
        let value = format!("{:.2}", figures::median(all));
        text(&mut svg, middle, median - 6.0, "middle", &value);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Points joined by a line.
pub(crate) fn line(title: &str, axes: (&str, &str), points: &[(f64, f64)]) -> String {
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let right = points
        .iter()
        .map(|point| point.0)
        .fold(0.0, f64::max)
        .max(f64::MIN_POSITIVE);
    let mut svg = frame(title, most);
    text(&mut svg, 12.0, TOP - 8.0, "start", axes.1);
    text(&mut svg, WIDTH - RIGHT, HEIGHT - 12.0, "end", axes.0);
    let place = |point: &(f64, f64)| {
        (
            LEFT + point.0 / right * (WIDTH - LEFT - RIGHT),
            height(point.1, most),
        )
    };
    let mut path = String::new();
    for (number, point) in points.iter().enumerate() {
        let (x, y) = place(point);
        let _ = write!(
            path,
            "{}{x:.1} {y:.1} ",
            if number == 0 { 'M' } else { 'L' }
        );
        let _ = writeln!(
            svg,
            r##"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="#4878a8"/>"##
        );
        text(
            &mut svg,
            x,
            HEIGHT - BOTTOM + 18.0,
            "middle",
            &short(point.0),
        );
    }
    let _ = writeln!(
        svg,
        r##"<path d="{path}" fill="none" stroke="#4878a8" stroke-width="2"/>"##
    );
    svg.push_str("</svg>\n");
    svg
}

/// The empty plot with its title and scale.
fn frame(title: &str, most: f64) -> String {
    let mut svg = format!(
        concat!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" font-family="sans-serif" font-size="12">"##,
            "\n",
            r##"<rect width="{0}" height="{1}" fill="#fff"/>"##,
            "\n"
        ),
        WIDTH, HEIGHT
    );
    text(&mut svg, WIDTH / 2.0, 18.0, "middle", title);
    for step in 0..=STEPS {
        let value = most * f64::from(step) / f64::from(STEPS);
        let y = height(value, most);
        let _ = writeln!(
            svg,
            r##"<path d="M{LEFT} {y:.1} H{:.1}" stroke="#ddd"/>"##,
            WIDTH - RIGHT
        );
        text(&mut svg, LEFT - 6.0, y + 4.0, "end", &short(value));
    }
    svg
}

fn height(value: f64, most: f64) -> f64 {
    let share = if most > 0.0 { value / most } else { 0.0 };
    HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
    );
}

fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tallest_measurement_touches_the_top() {
        let svg = bars("a < b", "s", &[("one", &[1.0, 2.0, 4.0]), ("two", &[1.0])]);
        assert!(
            svg.contains("a &lt; b") && svg.contains(&format!("V{TOP:.1}")),
            "{svg}"
        );
        assert_eq!(svg.matches("<rect").count(), 3);
    }

    #[test]
    fn a_line_goes_through_every_point() {
        let svg = line("x", ("n", "MiB"), &[(0.0, 1.0), (10.0, 2.0)]);
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
