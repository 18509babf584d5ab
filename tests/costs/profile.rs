//! What dhat saw: how much was allocated, and the places that did it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

/// dhat's counts over a number of requests.
pub(crate) struct Profile {
    sites: Vec<Site>,
    requests: u32,
}

/// One place that allocates, by its call stack, innermost frame first.
struct Site {
    blocks: u64,
    bytes: u64,
    stack: Vec<Frame>,
}

/// One function on the way to an allocation.
#[derive(Clone)]
struct Frame {
    function: String,
    /// The last parts of its path.
    file: String,
    line: String,
}

/// What is made less often than by every hundredth request belongs to no request.
const RARE: f64 = 0.01;
/// Frames of our own that are shown of each place.
const OWN_FRAMES: usize = 2;

impl Profile {
    pub(crate) fn read(path: &Path, requests: u32) -> Profile {
        let text = std::fs::read(path).expect("dhat wrote it");
        let all: Value = serde_json::from_slice(&text).expect("JSON");
        let frames: Vec<Frame> = array(&all["ftbl"])
            .filter_map(|frame| Some(Frame::parse(frame.as_str()?)))
            .collect();
        let site = |point: &Value| Site {
            blocks: point["tbk"].as_u64().expect("a count"),
            bytes: point["tb"].as_u64().expect("a count"),
            stack: array(&point["fs"])
                .filter_map(|at| frames.get(usize::try_from(at.as_u64()?).ok()?).cloned())
                .collect(),
        };
        Profile {
            sites: array(&all["pps"]).map(site).collect(),
            requests,
        }
    }

    /// Allocations per request.
    pub(crate) fn blocks(&self) -> f64 {
        self.per_request(self.sites.iter().map(|site| site.blocks).sum())
    }

    /// Bytes allocated per request.
    pub(crate) fn bytes(&self) -> f64 {
        self.per_request(self.sites.iter().map(|site| site.bytes).sum())
    }

    fn per_request(&self, count: u64) -> f64 {
        count as f64 / f64::from(self.requests)
    }

    /// The places, busiest first.
    pub(crate) fn print(&self) {
        let mut places: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for site in &self.sites {
            let place = places.entry(site.place()).or_default();
            place.0 += site.blocks;
            place.1 += site.bytes;
        }
        let mut places: Vec<_> = places.into_iter().collect();
        places.sort_by_key(|(_, counts)| std::cmp::Reverse(*counts));
        println!("allocations and bytes per request, by place:");
        for (place, (blocks, bytes)) in places {
            let (blocks, bytes) = (self.per_request(blocks), self.per_request(bytes));
            if blocks >= RARE {
                println!("{blocks:6.2} {bytes:6.0}  {place}");
            }
        }
    }
}

impl Site {
    /// The first frame outside the standard library, and the first of our own behind it.
    fn place(&self) -> String {
        let mut outside = self.stack.iter().skip_while(|frame| frame.is_of_std());
        let first = outside.next();
        let own = outside.filter(|frame| frame.is_own()).take(OWN_FRAMES);
        let shown: Vec<String> = first.into_iter().chain(own).map(Frame::shown).collect();
        shown.join(" < ")
    }
}

impl Frame {
    /// dhat writes `0xaddress: function (the/last/four/parts.rs:line:column)`.
    fn parse(text: &str) -> Frame {
        let text = text.split_once(": ").map_or(text, |(_, text)| text);
        let (function, place) = text.rsplit_once(" (").unwrap_or((text, ""));
        let mut place = place.split(':');
        Frame {
            function: without_generics(function),
            file: place.next().unwrap_or_default().into(),
            line: place.next().unwrap_or_default().into(),
        }
    }

    fn shown(&self) -> String {
        format!("{} ({}:{})", self.function, self.file, self.line)
    }

    /// Whether it is a file of this package: only the last four parts of a path are known.
    fn is_own(&self) -> bool {
        let here = Path::new(&self.file).is_file() || Path::new("src").join(&self.file).is_file();
        here && !self.file.starts_with("tests/")
    }

    fn is_of_std(&self) -> bool {
        const ROOTS: [&str; 12] = [
            "alloc/src/",
            "core/src/",
            "dhat-",
            "iter/traits/",
            "src/alloc/",
            "src/boxed.rs",
            "src/raw_vec/",
            "src/slice.rs",
            "src/string.rs",
            "src/vec/",
            "std/src/",
            "tests/costs/",
        ];
        !self.is_own() && ROOTS.iter().any(|root| self.file.starts_with(root))
    }
}

/// `poll<a::B<C>>` is `poll`; arrows are no brackets.
fn without_generics(function: &str) -> String {
    let (mut depth, mut last) = (0_usize, ' ');
    let mut kept = String::new();
    for letter in function.chars() {
        match letter {
            '<' => depth += 1,
            '>' if last != '-' => depth = depth.saturating_sub(1),
            other if depth == 0 => kept.push(other),
            _ => {}
        }
        last = letter;
    }
    kept
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
