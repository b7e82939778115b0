//! The few shapes a drawing is made of, written as SVG.

use std::fmt::Write;

/// Where a text ends or begins.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// At its left end.
    Start,
    /// In its middle.
    Middle,
}

/// A drawing under construction. Lengths are pixels, from the upper left corner.
#[derive(Default)]
pub struct Drawing {
    shapes: String,
}

impl Drawing {
    /// A filled box; one of less than nothing is not drawn.
    pub fn bar(&mut self, [x, y, width, height]: [f64; 4], fill: &str) {
        if width > 0.0 && height > 0.0 {
            self.put(format_args!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
            ));
        }
    }

    /// A thin upright line.
    pub fn rule(&mut self, x: f64, [from, to]: [f64; 2], stroke: &str) {
        self.put(format_args!(
            "<line x1=\"{x:.1}\" y1=\"{from:.1}\" x2=\"{x:.1}\" y2=\"{to:.1}\" stroke=\"{stroke}\"/>"
        ));
    }

    /// A line of text; `class` is one of those [`Drawing::finish`] defines.
    pub fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
        };
        let text = escape(text);
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"
        ));
    }

    /// The whole drawing. Classes: `title`, `case`, `note`, `value`.
    pub fn finish(self, width: f64, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" font-family=\"sans-serif\" fill=\"#222\">\n\
             <style>.title{{font-size:20px;font-weight:bold}}.case{{font-size:12px;font-weight:bold}}\
             .note{{font-size:12px;fill:#555}}.value{{font-size:11px}}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{}</svg>\n",
            self.shapes
        )
    }

    fn put(&mut self, shape: std::fmt::Arguments<'_>) {
        // Writing into a string does not fail.
        let _ = self.shapes.write_fmt(shape);
        self.shapes.push('\n');
    }
}

/// Text that may hold anything, as XML may hold it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ if letter.is_control() => escaped.push(' '),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_written_as_text() {
        let mut drawing = Drawing::default();
        drawing.text([1.0, 2.0], Anchor::Middle, "note", "a<b> & \"c\"\u{0}\n");
        let expected = "<text x=\"1.0\" y=\"2.0\" text-anchor=\"middle\" class=\"note\">a&lt;b&gt; &amp; &quot;c&quot;  </text>";
        assert!(drawing.finish(10.0, 20.0).contains(expected));
    }

    #[test]
    fn a_bar_of_nothing_is_not_drawn() {
        let mut drawing = Drawing::default();
        for width in [0.0, -1.0, f64::NAN] {
            drawing.bar([0.0, 0.0, width, 5.0], "#000");
        }
        assert!(!drawing.shapes.contains("rect"));
        drawing.bar([0.0, 0.0, 1.0, 5.0], "#000");
        assert!(drawing.shapes.contains("width=\"1.0\""));
    }
}
