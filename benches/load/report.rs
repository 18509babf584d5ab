//! The report: one HTML file without script or outside resource, for a browser, a phone, a printer.
//!
//! Every figure of a plot is also in a table. Invariant: whatever a user typed passes [`Escaped`],
//! and no credential is in a [`Summary`].

use std::fmt;
use std::time::Duration;

use super::plot;
use super::quantity::{bytes, count, latency, rate};
use super::summary::{Second, Summary};

pub(crate) fn html(summary: &Summary) -> String {
    let request = summary.options.get("request").map_or("", String::as_str);
    let (request, style) = (Escaped(request), STYLE);
    let sections = [
        figures(summary),
        percentiles(summary),
        time(summary),
        answers(summary),
        options(summary),
        machine(summary),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>Load report: {request}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n\
         <h1>Load report</h1>\n<p class=\"request\">{request}</p>\n{}</main>\n</body>\n</html>\n",
        sections.concat()
    )
}

/// The figures that people look for first.
fn figures(summary: &Summary) -> String {
    let mut figures = vec![("requests/s", rate(summary.throughput_per_second))];
    figures.extend(summary.latency_us.named());
    let figures = figures
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"));
    let figures: String = figures.collect();
    let warning = match summary.warning() {
        "" => String::new(),
        _ => {
            "<p role=\"note\">The generator was busy nearly all the time: it, and not the gateway, \
              may be what limits these figures.</p>\n"
                .into()
        }
    };
    format!("<dl class=\"figures\">\n{figures}</dl>\n{warning}")
}

fn percentiles(summary: &Summary) -> String {
    let plot = plot::latency_by_percentile(&summary.histogram, "Latency by percentile");
    let shares = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.999_99, 1.0];
    let rows = shares.map(|share: f64| {
        let name = match share >= 1.0 {
            true => "slowest".into(),
            false => format!("{}", (share * 1e7).round() / 1e5),
        };
        [name, latency(summary.histogram.at(share))]
    });
    let table = table(&["percentile", "latency"], &rows);
    let from = match summary
        .options
        .get("loop")
        .is_some_and(|pace| pace == "closed loop")
    {
        true => "from when a request was sent",
        false => "from when a request was due, sent or not",
    };
    section(
        "Latency",
        &format!(
            "<figure>\n{plot}\n<figcaption>Latency by percentile, counted {from}; both axes are \
             logarithmic. A point at 99 says: 99 % of the requests took no longer.</figcaption>\n\
             </figure>\n<details><summary>As a table</summary>\n{table}</details>\n"
        ),
    )
}

fn time(summary: &Summary) -> String {
    let seconds = &summary.seconds;
    let throughput = plot::over_time(
        seconds
            .iter()
            .map(|second| (second.at, second.throughput_per_second)),
        rate,
        "Requests a second over time",
    );
    let p99 = plot::over_time(
        seconds.iter().map(|second| (second.at, second.p99_us)),
        micros,
        "p99 latency over time",
    );
    let rows = seconds.iter().map(row).collect::<Vec<_>>();
    let table = table(&["second", "requests/s", "p50", "p99", "errors"], &rows);
    section(
        "Over time",
        &format!(
            "<figure>\n{throughput}\n<figcaption>Requests answered in each second.</figcaption>\n</figure>\n\
             <figure>\n{p99}\n<figcaption>p99 of the latencies of each second.</figcaption>\n</figure>\n\
             <details><summary>As a table</summary>\n{table}</details>\n"
        ),
    )
}

fn row(second: &Second) -> [String; 5] {
    [
        format!("{:.1}", second.at),
        rate(second.throughput_per_second),
        micros(second.p50_us),
        micros(second.p99_us),
        count(second.errors),
    ]
}

fn answers(summary: &Summary) -> String {
    let statuses = summary.statuses.iter();
    let statuses = statuses.map(|(status, times)| [status.to_string(), count(*times)]);
    let errors = summary.errors.iter();
    let errors = errors.map(|(kind, times)| [kind.clone(), count(*times)]);
    let missed =
        (summary.missed > 0).then(|| ["due and not sent".to_owned(), count(summary.missed)]);
    let rows: Vec<_> = statuses.chain(errors).chain(missed).collect();
    let table = table(&["status or error", "requests"], &rows);
    section("Answers", &table)
}

fn options(summary: &Summary) -> String {
    let received = bytes(summary.received_body_bytes as f64);
    let more = [
        ["address".into(), summary.address.clone()],
        ["TLS".into(), summary.tls.into()],
        [
            "time asked".into(),
            format!("{:.1} s", summary.elapsed_seconds),
        ],
        ["reconnected".into(), count(summary.reconnected)],
        ["received, bodies".into(), received],
        [
            "generator".into(),
            format!(
                "{:.0} % of a core for each thread",
                summary.generator_load * 100.0
            ),
        ],
    ];
    let options = summary.options.iter();
    let options = options.map(|(name, value)| [(*name).to_owned(), value.clone()]);
    let rows: Vec<_> = options.chain(more).collect();
    section("What was asked", &table(&["option", "value"], &rows))
}

fn machine(summary: &Summary) -> String {
    let machine = &summary.machine;
    let rows = [
        ["cores".into(), machine.cores.to_string()],
        ["processor".into(), machine.processor.clone()],
        ["kernel".into(), machine.kernel.clone()],
        ["date".into(), machine.date.clone()],
    ];
    section("The machine that asked", &table(&["what", "value"], &rows))
}

fn section(title: &str, content: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{content}</section>\n")
}

fn table<const N: usize>(head: &[&str; N], rows: &[[String; N]]) -> String {
    let head: String = head
        .iter()
        .map(|name| format!("<th scope=\"col\">{name}</th>"))
        .collect();
    let rows: String = rows
        .iter()
        .map(|cells| {
            let [first, rest @ ..] = cells.as_slice() else {
                return String::new();
            };
            let first = format!("<th scope=\"row\">{}</th>", Escaped(first));
            let rest = rest
                .iter()
                .map(|cell| format!("<td>{}</td>", Escaped(cell)));
            format!("<tr>{first}{}</tr>\n", rest.collect::<String>())
        })
        .collect();
    format!("<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n")
}

fn micros(micros: f64) -> String {
    latency(Duration::from_secs_f64(micros / 1e6))
}

/// Text that cannot become markup.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #d5d9de; --line: #0b62a3 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --paper: #14171a; --faint: #3a4048; --line: #6cb6ff }
}
body { margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 44rem; margin: auto; padding: 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.request { margin: .25rem 0 1rem; overflow-wrap: anywhere }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(6.5rem, 1fr)); gap: .75rem; margin: 0 }
.figures div { border: 1px solid var(--faint); border-radius: .4rem; padding: .5rem .75rem }
dt { font-size: .85rem } dd { margin: 0; font-size: 1.15rem; font-weight: 600; white-space: nowrap }
figure { margin: 0 0 1.25rem } figcaption { font-size: .9rem }
svg { display: block; width: 100%; height: auto }
svg text { font: 13px system-ui, sans-serif; fill: currentColor }
.grid { stroke: var(--faint); stroke-width: 1 }
.line { fill: none; stroke: var(--line); stroke-width: 2.5; stroke-linejoin: round }
.dot { fill: var(--line) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--faint);
  overflow-wrap: anywhere; vertical-align: top }
tbody th { font-weight: 400 }
";
